// A run of `npm run bench -- ranks` through the public interface: alone, or one of the processes of mpirun. Trains for one epoch of so many batches
// behind some to warm up; the first rank writes the seconds of each.

import { fit, ranks, sgd } from "../../dist/index.js";
import { build } from "../networks.mjs";
import { dataset, options } from "./side.mjs";

const WARM_UP = 3;
const settings = options("steps", "shards");
const { network, threads, batchSize, channels } = settings;
const steps = WARM_UP + Number(settings.steps);
const model = build(network, { inChannels: channels, seed: 42, threads });
const times = [];
const onStep = ({ step }) => times.push([step, performance.now()]);
const shards = settings.shards === undefined ? {} : { shards: Number(settings.shards) };
const data = (await dataset(settings)).take(steps * batchSize);
await fit(model, data, { batchSize, optimizer: sgd({ lr: 0.01 }), seed: 1, distributed: "auto", onStep, ...shards });
model.dispose();
if ((ranks()?.rank ?? 0) === 0) {
  const seconds = [];
  for (const [index, [step, time]] of times.entries()) {
    const [before, since] = times[index - 1] ?? [0, time];
    // Events coalesce if the event loop is late: the time is then that of several steps.
    if (before >= WARM_UP) seconds.push(...Array.from({ length: step - before }, () => (time - since) / 1000 / (step - before)));
  }
  process.stdout.write(`${JSON.stringify({ seconds })}\n`);
}
