// Faults of runs that processes of MPI share, as npm run test:mpi has them made: each so often as the first argument says, under the mpirun that
// $RESNET_NATIVE_MPIRUN names. The second one is a seed, by which ranks and moments are drawn; without one it draws and prints its own. The run must end
// everywhere within ten seconds of the limit, say why, leave no process, and of those that had begun the last checkpoint must lead to the bits of a run
// that nothing has happened to. Prints a table.

import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { table } from "../../dist/table.js";
import { Random } from "../../reliability/random.mjs";
import { cleanUpAtExit } from "../clean-up.mjs";
import { root } from "../steps.mjs";
import { allowed, isMpirunNamed, mpirun } from "./mpirun.mjs";

const times = Number(process.argv[2] ?? 1);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 1e9));
if (!(Number.isInteger(times) && times > 0 && Number.isInteger(seed) && isMpirunNamed)) throw new Error("expected how often each fault is made, a seed or none, and the mpirun in RESNET_NATIVE_MPIRUN");
console.log(`seed ${seed}`);
const RANKS = 3;
/** Seconds that a rank waits for the others, and that a run may take to end after that, from the fault on, or from its beginning. */
const [LIMIT, GRACE] = [2, 10];
/** Milliseconds within which something happens, from the first epoch on. */
const WITHIN = 1500;
/** Updates of an epoch of __test__/children/rank.mjs. */
const UPDATES = 3;
const { PATH, HOME } = process.env;
const env = { PATH, HOME, ...allowed };
const scratch = mkdtempSync(join(tmpdir(), "resnet-native-faults-"));
/** What the processes of a run that is under way have among their arguments, and small file systems that are mounted. */
const [marks, mounted] = [new Set(), new Set()];
cleanUpAtExit(() => {
  marks.forEach(end);
  mounted.forEach((folder) => spawnSync("umount", [folder]));
  rmSync(scratch, { recursive: true, force: true });
});
const child = join("__test__", "children", "rank.mjs");
/** Long lines of several ranks get mixed up on their way. */
const common = { shards: RANKS, ema: 0.9, tells: false };

/** Runs the child on so many ranks; what it wrote, how it ended, and what is left of it. */
async function run(ranks, what, programs = [join(root, child)]) {
  const mark = `mark-${randomUUID()}`;
  marks.add(mark);
  const words = (program, count) => ["-n", String(count), process.execPath, program, JSON.stringify({ ...common, ...what }), mark];
  const parts = programs.length === 1 ? [words(programs[0], ranks)] : programs.map((program) => words(program, 1));
  const command = ranks === 1 ? [process.execPath, ...parts[0].slice(3)] : [mpirun, ...parts.flatMap((part, index) => (index === 0 ? part : [":", ...part]))];
  const began = Date.now();
  const started = spawn(command[0], command.slice(1), { env, stdio: ["ignore", "pipe", "pipe"] });
  const patience = setTimeout(() => started.kill("SIGKILL"), 120_000);
  const ended = new Promise((resolve) => started.once("exit", (code, signal) => resolve({ code, signal, at: Date.now() })));
  const [stdout, stderr, ending] = await Promise.all([text(started.stdout), text(started.stderr), ended]);
  clearTimeout(patience);
  const told = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const since = Number(/^acts (\d+)$/m.exec(stderr)?.[1] ?? began);
  for (let tries = 0; tries < 10 && processes(mark).length > 0; tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
  return { ...ending, seconds: (ending.at - since) / 1000, told, said: stdout + stderr, left: end(mark) };
}

/** Ends the processes of a run that are still there; how many. */
function end(mark) {
  const left = processes(mark);
  for (const id of left) {
    try {
      process.kill(Number(id), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
  marks.delete(mark);
  return left.length;
}

function processes(mark) {
  return readdirSync("/proc").filter((id) => /^\d+$/.test(id) && commandOf(id).includes(mark));
}

function commandOf(id) {
  try {
    return readFileSync(`/proc/${id}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** Digests of the weights after each epoch of a run by one process that nothing happens to. */
async function unbroken(epochs) {
  const { told, said } = await run(1, { epochs, digests: true });
  if (told[0]?.digests?.length !== epochs) throw new Error(`the run that nothing happens to ended: ${said}`);
  return told[0].digests;
}

/** A package like this one whose addon says that it is of another version. */
function otherVersion() {
  const folder = join(scratch, "other");
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const other = version.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10));
  for (const part of ["dist", child, "native/mpi", "package.json"]) cpSync(join(root, part), join(folder, part), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const file of readdirSync(join(folder, "native/mpi")).filter((name) => name.endsWith(".node"))) {
    const path = join(folder, "native/mpi", file);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(version); at >= 0; at = bytes.indexOf(version, at + 1)) bytes.write(other, at);
    writeFileSync(path, bytes);
  }
  return join(folder, child);
}

/** A folder that holds so little that checkpoints soon find no room; undefined where it cannot be made. */
function smallFolder() {
  const folder = mkdtempSync(join(scratch, "small-"));
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]);
  if (status === 0) mounted.add(folder);
  return status === 0 ? folder : undefined;
}

const one = (random) => random.below(RANKS);
const another = (random) => 1 + random.below(RANKS - 1);
const delay = (random) => random.below(WITHIN);
const agreed = (what, got, rank) => new RegExp(`distributed: expected every rank to have the ${what} of rank 0, got ${got} on rank ${rank}`);

/** What is done, by name: what the ranks are told, which programs they are, whether the run has begun and so left checkpoints, and what is to be said. */
const FAULTS = {
  "a rank is killed": (random) => ({ what: { kills: one(random), delay: delay(random) }, says: /signal 9|EXIT CODE: 9|KILLED BY|ERR_DISTRIBUTED/i }),
  "a rank stands still": (random) => {
    const rank = one(random);
    return { what: { stops: rank, delay: delay(random) }, says: new RegExp(`expected every rank within ${LIMIT} s, got none of rank ${rank}`) };
  },
  "a rank aborts": (random) => {
    const rank = one(random);
    return { what: { aborts: rank, delay: delay(random) }, says: new RegExp(`rank ${rank}: Error: enough`) };
  },
  "no room for checkpoints": () => ({ folder: smallFolder, what: {}, says: /"rank":0,"code":"ERR_IO".*No space left on device/ }),
  "other data": (random) => {
    const rank = another(random);
    return { refused: true, what: { other: rank }, says: agreed("training data", "[^]* samples 49 instead of 50", rank) };
  },
  "another seed": (random) => {
    const rank = another(random);
    return { refused: true, what: { differs: rank }, says: agreed("model's seed", "8 instead of 7", rank) };
  },
  "another version": (random) => {
    const rank = another(random);
    const programs = Array.from({ length: RANKS }, (_, index) => (index === rank ? other : join(root, child)));
    return { refused: true, programs, what: {}, says: agreed("version", "another", rank) };
  },
};

/** Makes a fault once; what is wrong then, and how long it took to end. */
async function make(fault, random) {
  const { what, programs, folder = () => mkdtempSync(join(scratch, "run-")), refused = false, says } = fault(random);
  const dir = folder();
  if (dir === undefined) return { skipped: "a small file system cannot be mounted" };
  const checkpoint = { dir, everySteps: 2, keep: mounted.has(dir) ? 1000 : 3 };
  const settings = { epochs: 100_000, checkpoint, distributed: { timeout: LIMIT } };
  const { code, signal, seconds, said, left } = await run(RANKS, { ...settings, ...what }, programs);
  const wrong = [];
  if (code === 0) wrong.push("it ended as if nothing had been");
  if (signal !== null || seconds > LIMIT + GRACE) wrong.push(`it ended after ${seconds.toFixed(1)} s, expected ${LIMIT + GRACE}`);
  if (left > 0) wrong.push(`${left} processes were left`);
  if (!says.test(said)) wrong.push(`expected ${says}, got ${said.slice(0, 2000)}`);
  if (!refused) wrong.push(...(await goesOn(dir)));
  else if (readdirSync(dir).some((name) => name.startsWith("step-"))) wrong.push("a checkpoint was written");
  if (mounted.delete(dir)) spawnSync("umount", [dir]);
  return { wrong, seconds };
}

/** What is wrong with a run that goes on from the last checkpoint of a folder to the end of the epoch after it. */
async function goesOn(dir) {
  const last = readdirSync(dir).filter((name) => /^step-\d+\.safetensors$/.test(name)).toSorted().at(-1);
  if (last === undefined) return ["there is no checkpoint"];
  const epochs = Math.ceil(Number(/\d+/.exec(last)[0]) / UPDATES) + 1;
  if (reference.length < epochs) reference = await unbroken(2 * epochs);
  const place = mkdtempSync(join(scratch, "on-"));
  const { told, said, code } = await run(RANKS, { epochs, checkpoint: { dir: place }, resume: dir });
  const same = told.filter(({ digest }) => digest === reference[epochs - 1]).length;
  return code === 0 && same === RANKS ? [] : [`from ${last} on ${same} of ${RANKS} came to the bits of an unbroken run: ${said.slice(0, 2000)}`];
}

let reference = [];
const other = otherVersion();
const rows = [];
let failed = false;
for (const [name, fault] of Object.entries(FAULTS)) {
  const longest = { seconds: 0 };
  let [passed, skipped] = [0, ""];
  for (let index = 0; index < times && skipped === ""; index += 1) {
    const found = await make(fault, new Random(seed, name, index));
    skipped = found.skipped ?? "";
    if (skipped !== "") continue;
    longest.seconds = Math.max(longest.seconds, found.seconds);
    if (found.wrong.length === 0) passed += 1;
    for (const wrong of found.wrong) console.log(`${name}: ${wrong}`);
  }
  failed ||= skipped === "" && passed < times;
  rows.push([name, skipped || `${passed} of ${times}`, skipped ? "" : `${longest.seconds.toFixed(1)} s`]);
}
console.log(table(["fault", "as it should be", "longest"], rows));
process.exitCode = failed ? 1 : 0;
