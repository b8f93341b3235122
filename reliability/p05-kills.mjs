// P5. A kill at any moment, a call on files that fails and a power cut lose nothing that was acknowledged: a reader finds the old or the new, and a run
// goes on to the weights that it would have had.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KILL, KILL_HALF, SHORT } from "./children/control.mjs";
import { hold, promise } from "./harness.mjs";
import { acknowledgements, afterCut, lay, recorded } from "./power-cut.mjs";
import { missingShims, watched } from "./shims.mjs";

const [ENOSPC, EIO, EDQUOT, EROFS] = [28, 5, 122, 30];
const WHOLE = ["save", "save of megabytes", "saveFolder", "exportOnnx", "report", "previewBatch"];
const LOGS = ["csvLog", "jsonlLog", "TensorBoard"];
const EPOCHS = 6;

export default promise("P5", "kill -9 at any moment, writes that fail and power cuts lose nothing that was acknowledged; a killed run ends with the weights it would have had", [
  {
    name: "kill -9 while something is written",
    trials: { tenth: 6, usual: 60, full: 400 },
    run: async (trial) => killWriter(trial, {}, async (writer) => {
      await writer.line();
      await sleep(trial.random.between(0, 80));
      writer.kill("SIGKILL");
    }),
  },
  {
    name: "kill -9 at each call on files of a write",
    missing: missingShims,
    trials: { tenth: 6, usual: 60, full: 300 },
    async run(trial) {
      const control = join(await trial.folder(), "control");
      const kill = { control, at: 1 + trial.random.below(40), what: trial.random.pick([KILL, KILL_HALF]) };
      await killWriter(trial, { kill }, async () => {}, control);
    },
  },
  {
    name: "kill -9 of a run with checkpoints, which then goes on",
    trials: { tenth: 4, usual: 30, full: 200 },
    run: killRun,
  },
  {
    name: "kill -9 of such a run at each call on files",
    missing: missingShims,
    trials: { tenth: 4, usual: 30, full: 200 },
    run: async (trial) => killRun(trial, trial.random.pick([KILL, KILL_HALF])),
  },
  {
    name: "each call on files fails",
    missing: missingShims,
    trials: [...WHOLE, ...LOGS].flatMap((kind) => [ENOSPC, EIO, SHORT, EDQUOT, EROFS].flatMap((what) => [false, true].map((isLasting) => ({ kind, what, isLasting })))),
    async run(trial) {
      // All are few enough; a tenth of them is enough between two changes.
      if (trial.size === "tenth" && trial.index % 10 !== trial.random.below(10)) return trial.skip();
      const [folder, elsewhere] = [await trial.folder(), await trial.folder()];
      const control = join(elsewhere, "control");
      const { result } = await trial.run("failing", { folder, elsewhere, control, ...trial.item }, { environment: watched(folder, control) });
      const { tried, failures } = result;
      trial.count(tried, tried - failures.length);
      hold(failures.length === 0, `${JSON.stringify(trial.item)}: ${failures.join("\n")}`);
    },
  },
  {
    name: "power cut after each call, with any of what was not synced",
    missing: missingShims,
    trials: ["save", "saveFolder", "exportOnnx", "report", "previewBatch", "checkpoints"],
    run: async (trial) => (trial.item === "checkpoints" ? cutRun(trial) : cutWriter(trial)),
  },
]);

/** Kills a writer, and looks at what it has left. */
async function killWriter(trial, data, kill, control) {
  const kind = trial.random.pick(WHOLE);
  const [folder, elsewhere] = [await trial.folder(), await trial.folder()];
  const writer = trial.start("saving", { kind, folder, elsewhere, ...data }, { environment: control && watched(folder, control) });
  await kill(writer);
  const { stdout } = await writer.ended({ signal: "SIGKILL" });
  const said = stdout.trim().split("\n").map((line) => JSON.parse(line));
  const written = said.findLast((line) => line.written)?.written;
  const { begun } = said.findLast((line) => line.begun);
  const { result } = await trial.run("reading", { kind, folder, writesAgain: true });
  const { value, error, left } = result;
  hold(error ? written === undefined : [written, begun].includes(value), `${kind}: ${error ?? value} after ${JSON.stringify(said.slice(-2))}`);
  hold(left.length === 0, `${kind}: the next write leaves ${left}`);
}

let undisturbed;

/** Kills a run with checkpoints up to three times, and lets it go on each time. */
async function killRun(trial, what) {
  undisturbed ??= trial.folder().then(async (folder) => {
    const { result, ms } = await trial.run("training", { folder, epochs: EPOCHS });
    return { digest: result.digest, ms };
  });
  const { digest, ms } = await undisturbed;
  const [folder, aside] = [await trial.folder(), await trial.folder()];
  let acknowledged = 0;
  for (let kills = 0; kills < 3; kills++) {
    const control = join(aside, "control");
    const kill = what && { control, at: 1 + trial.random.below(400), what };
    const run = trial.start("training", { folder, epochs: EPOCHS, kill }, { environment: what && watched(folder, control) });
    if (!what) sleep(trial.random.between(100, 1.2 * ms)).then(() => run.kill("SIGKILL"));
    const end = await run.ended({ signal: "SIGKILL" }).catch(() => run.ended());
    const said = end.stdout.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
    const resumed = said.find(({ type }) => type === "resume");
    hold(!resumed || updatesOf(resumed) >= acknowledged, `goes on from ${resumed?.path}, though step ${acknowledged} was acknowledged`);
    hold(!resumed || resumed.skipped.length === 0, `skips ${JSON.stringify(resumed?.skipped)}`);
    acknowledged = Math.max(acknowledged, ...said.filter(({ type }) => type === "checkpoint").map(updatesOf));
    if (said.at(-1)?.digest) {
      hold(said.at(-1).digest === digest, "the run that was killed ends with other weights");
      return;
    }
  }
  const { result } = await trial.run("training", { folder, epochs: EPOCHS });
  hold(result.digest === digest, "the run that was killed ends with other weights");
}

/** The number of updates that a checkpoint's name tells. */
function updatesOf({ path }) {
  return Number(/step-(\d+)/.exec(path)[1]);
}

/** Writes a few versions, and reads what may be left of them if the power goes. */
async function cutWriter(trial) {
  const kind = trial.item;
  const { states, folders } = await cut(trial, "saving", { kind, versions: 3 });
  const { stdout } = await trial.run("reading", { kind, folders }, { timeout: 600_000 });
  judge(trial, states, stdout, ({ value, error }, said) => {
    const written = said.findLast((line) => line.written)?.written;
    return error ? written === undefined : [written, said.findLast((line) => line.begun)?.begun].includes(value);
  });
}

/** The same of a run with checkpoints, which goes on from what may be left to the weights that it would have had. */
async function cutRun(trial) {
  const epochs = 1;
  const { states, folders } = await cut(trial, "training", { epochs });
  const { result } = await trial.run("training", { folder: await trial.folder(), epochs });
  const { stdout } = await trial.run("training", { folders, epochs }, { timeout: 600_000 });
  const ends = stdout.split("\n").filter((line) => /^\{"(digest|error)"/.test(line)).join("\n");
  judge(trial, states, ends, ({ digest, resumed }, said) => {
    const acknowledged = Math.max(0, ...said.map(updatesOf));
    return digest === result.digest && (acknowledged === 0 || updatesOf({ path: resumed }) >= acknowledged);
  });
}

/** What may be on the disk if the power goes at any moment of a program: numbered folders, and of each what the program had said by then. */
async function cut(trial, program, data) {
  const [folder, elsewhere, cuts] = [await trial.folder(), await trial.folder(), await trial.folder("/dev/shm")];
  const log = join(elsewhere, "log");
  await trial.run(program, { folder, elsewhere, acknowledges: true, ...data }, { environment: watched(folder, join(elsewhere, "control"), log) });
  const calls = recorded(log, folder);
  const said = acknowledgements(calls);
  hold(said.length > 1, "nothing was recorded");
  const lost = { isThere: () => false, upTo: (safe) => safe };
  const all = { isThere: () => true, upTo: (_, end) => end };
  const some = () => {
    const share = trial.random.real();
    return { isThere: () => trial.random.chance(share), upTo: (safe, end) => safe + trial.random.below(end - safe + 1) };
  };
  const states = [];
  for (let length = 1; length <= calls.length; length++) {
    for (const choice of [lost, all, ...Array.from({ length: trial.amount([2, 12, 100]) }, some)]) {
      await lay(afterCut(calls.slice(0, length), choice), join(cuts, String(states.length)));
      const { kind, path } = calls[length - 1];
      states.push({ after: `after call ${length} (${kind} ${path})`, said: said.filter(({ before }) => before < length).map(({ said }) => said) });
    }
  }
  return { states, folders: { within: cuts, count: states.length } };
}

function judge(trial, states, stdout, isRight) {
  const found = stdout.trim().split("\n").map((line) => JSON.parse(line));
  const wrong = states.flatMap(({ after, said }, i) => (isRight(found[i], said) ? [] : [`${trial.item}, ${after}: ${JSON.stringify(found[i])}, though ${JSON.stringify(said.at(-1))}`]));
  trial.count(states.length, states.length - wrong.length);
  hold(wrong.length === 0, wrong.slice(0, 5).join("\n"));
}
