// Ends in the middle of something: by process.exit, by an error that nobody catches, or because all is done.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { evaluate, fit, loadModel, Trainer } from "resnet-native";
import { given } from "./given.mjs";
import { images, spots, tinyModel } from "./subjects.mjs";

const { busy, end, code, after, folder } = given;
const data = spots(64);
const model = tinyModel();
const file = join(folder, "m.safetensors");
const endless = async (call) => {
  for (;;) await call();
};

const busies = {
  fit: () => fit(model, data, { epochs: 1e6, batchSize: 8, onStep: () => {} }),
  "fit with checkpoints": () => fit(model, data, { epochs: 1e6, batchSize: 8, checkpoint: { dir: folder, everySteps: 1 } }),
  "four fits": () => Promise.all([1, 2, 3, 4].map((seed) => fit(tinyModel({ seed }), data, { epochs: 1e6, batchSize: 8 }))),
  iterated: async () => {
    for await (const _ of fit(model, data, { epochs: 1e6, batchSize: 8 }));
  },
  "a paused fit": async () => {
    const run = fit(model, data, { epochs: 1e6, batchSize: 8 });
    run.pause();
    await run;
  },
  "a live page": () => fit(model, data, { epochs: 1e6, batchSize: 8, dashboard: { port: 0 } }),
  predict: () => endless(() => model.predict(images(64))),
  evaluate: () => endless(() => evaluate(model, data)),
  save: () => endless(() => model.save(file)),
  "save and load": () => endless(async () => {
    await model.save(file);
    await loadModel(file);
  }),
  steps: () => {
    const trainer = new Trainer(model);
    return endless(() => trainer.step(images(8), [0, 1, 2, 3, 0, 1, 2, 3]));
  },
  batches: () => endless(async () => {
    for await (const _ of data.batches({ batchSize: 2 })) break;
  }),
  nothing: () => model.predict(images(1)),
};
const ends = {
  exit: () => process.exit(code),
  "exit in a handler of exit": () => {
    process.on("exit", () => void model.predict(images(1)).catch(() => {}));
    process.exit(code);
  },
  throw: () => {
    throw new Error("nobody catches this");
  },
  reject: () => void Promise.reject(new Error("nobody catches this")),
};

const said = (what) => process.stdout.write(`${what}\n`);
busies[busy]().catch(() => {});
if (busy === "nothing") {
  // All is done: the process ends by itself, with models and data at rest.
  await sleep(50);
  said("ending");
} else {
  setTimeout(() => {
    said("ending");
    ends[end]();
  }, after);
}
