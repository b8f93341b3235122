// A rank of this package's network for `npm run bench -- machines`: one epoch of --steps steps, of which the first three do not count. Writes a line of
// JSON: the seconds of each other step, and the bytes that this machine sent in one. Batches are of all ranks.
import { readFileSync } from "node:fs";
import { fit, ranks, sgd } from "../../dist/index.js";
import { build } from "../networks.mjs";
import { dataset, options } from "./side.mjs";

const WARM_UP = 3;
const settings = options("steps", "sync", "interface");
const { network, threads, batchSize, channels } = settings;
const steps = Number(settings.steps) + WARM_UP;
const data = await dataset(settings);
const model = build(network, { inChannels: channels, seed: 42, threads });
/** Bytes that have left by the interface. */
const sent = () => Number(new RegExp(`^\\s*${settings.interface}:(.*)$`, "m").exec(readFileSync("/proc/self/net/dev", "utf8"))[1].trim().split(/\s+/)[8]);

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
await fit(model, data.take(steps * batchSize), { batchSize, optimizer: sgd({ lr: 0.01 }), seed: 42, distributed: "auto", syncBatchNorm: settings.sync === "true", onStep });
const norms = [...(await model.stateDict()).keys()].filter((name) => name.endsWith("running_mean")).length;
const bytes = sent() / seconds.length - before;
process.stdout.write(`${JSON.stringify({ rank: ranks()?.rank ?? 0, seconds, bytes, parameters: model.numParameters, norms })}\n`);
model.dispose();
