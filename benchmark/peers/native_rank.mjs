// This package's network for `npm run bench -- ranks` and `-- machines`, alone or as one of the processes of mpirun: one epoch of --steps steps behind some
// that do not count. The first rank writes a line of JSON: the seconds of each step; with --interface all do, and tell the bytes that this machine
// sent by it in one. Batches are of all ranks.
import { readFileSync } from "node:fs";
import { fit, ranks, sgd } from "../../dist/index.js";
import { build } from "../networks.mjs";
import { dataset, options } from "./side.mjs";

const WARM_UP = 3;
const settings = options("steps", "shards", "sync", "interface");
const { network, threads, batchSize, channels } = settings;
const steps = Number(settings.steps) + WARM_UP;
const shards = settings.shards === undefined ? {} : { shards: Number(settings.shards) };
const data = await dataset(settings);
const model = build(network, { inChannels: channels, seed: 42, threads });
/** Bytes that have left by the interface; 0 without. */
function sent() {
  if (settings.interface === undefined) return 0;
  return Number(new RegExp(`^\\s*${settings.interface}:(.*)$`, "m").exec(readFileSync("/proc/self/net/dev", "utf8"))[1].trim().split(/\s+/)[8]);
}

const seconds = [];
let [time, step, before] = [0, 0, 0];
const onStep = (event) => {
  const now = performance.now();
  // Events coalesce if the event loop is late: the time is then that of several steps.
  const since = event.step - step;
  if (step >= WARM_UP) seconds.push(...Array.from({ length: since }, () => (now - time) / 1000 / since));
  else if (event.step >= WARM_UP) before = sent() / (steps - event.step);
  [time, step] = [now, event.step];
};
const syncBatchNorm = settings.sync !== "false";
await fit(model, data.take(steps * batchSize), { batchSize, optimizer: sgd({ lr: 0.01 }), seed: 42, distributed: "auto", syncBatchNorm, onStep, ...shards });
const norms = [...(await model.stateDict()).keys()].filter((name) => name.endsWith("running_mean")).length;
const bytes = sent() / seconds.length - before;
const rank = ranks()?.rank ?? 0;
if (rank === 0 || settings.interface !== undefined) process.stdout.write(`${JSON.stringify({ rank, seconds, bytes, parameters: model.numParameters, norms })}\n`);
model.dispose();
