// A network of this package as a side of `npm run bench`, through the public interface.

import { fit, quantize, sgd } from "../../dist/index.js";
import { build } from "../networks.mjs";
import { dataset, options, predictBatches, serve } from "./side.mjs";

const settings = options("precision");
const { network, threads, batchSize, channels, precision } = settings;
const data = await dataset(settings);
const model = build(network, { inChannels: channels, seed: 42, threads, ...(precision !== "int8" && { precision }) });
if (precision === "int8") await quantize(model, data);

/** Runs training steps, as one epoch of so many batches; the seconds of each. */
async function train(steps, seed) {
  const seconds = [];
  let [time, step, loss] = [performance.now(), 0, 0];
  const onStep = (event) => {
    const now = performance.now();
    // Events coalesce if the event loop is late: the time is then that of several steps.
    const each = (now - time) / 1000 / (event.step - step);
    seconds.push(...Array.from({ length: event.step - step }, () => each));
    [time, step, loss] = [now, event.step, event.loss];
  };
  await fit(model, data.take(steps * batchSize), { batchSize, optimizer: sgd({ lr: 0.01 }), seed, onStep });
  return { seconds, loss };
}

const predict = (steps) => predictBatches(data, batchSize, steps, (images) => model.predict(images));
await serve({ threads, parameters: model.numParameters }, { train, predict });
model.dispose();
