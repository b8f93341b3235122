// How long the main thread works without a pause while something large is done: the time that it had a processor between two turns of the loop, which no
// other program changes.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { evaluate, fit, fromArrays, loadModel, preprocess, report, ResNet18, Trainer } from "resnet-native";
import { given, tell } from "./given.mjs";
import { images, spots } from "./subjects.mjs";

const { what, folder, scale, picture } = given;
const file = join(folder, "m.safetensors");
const model = new ResNet18({ numClasses: 10, inChannels: 1, seed: 1 });
const side = 32;
const count = 64 * scale;
const data = spots(count, { side, classes: 10 });
const batch = images(count, { side });
await model.save(file);
await model.predict(images(1, { side }));
const labels = Array.from({ length: 64 }, (_, i) => i % 10);
const works = {
  fit: () => fit(model, data, { epochs: 1, batchSize: 32, onStep: () => {}, onEvent: () => {} }),
  "fit with a checkpoint": () => fit(model, data, { epochs: 1, batchSize: 32, checkpoint: { dir: join(folder, "run"), everySteps: 1 } }),
  "a step": () => new Trainer(model).step(images(64, { side }), labels),
  predict: () => model.predict(batch),
  evaluate: () => evaluate(model, data, { byClass: true }),
  stateDict: () => model.stateDict(),
  save: () => model.save(file),
  saveFolder: () => model.saveFolder(join(folder, "model")),
  exportOnnx: () => model.exportOnnx(join(folder, "m.onnx"), { shape: [1, 1, side, side] }),
  loadModel: () => loadModel(file),
  loadWeights: () => model.loadWeights(file),
  preprocess: () => preprocess(Array.from({ length: 20 * scale }, () => picture), { size: [64, 64], fit: "crop", channels: 3, background: [0, 0, 0] }),
  batches: async () => {
    for await (const _ of data.batches({ batchSize: 32 }));
  },
  fromArrays: async () => fromArrays({ images: new Uint8Array(count * side * side), shape: [count, 1, side, side], labels: new Uint8Array(count) }).length,
  report: () => report(model, undefined, data, { file: join(folder, "report.html") }),
};

/** Milliseconds that this thread has had a processor. */
const worked = () => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;

const turns = [];
const progress = { isDone: false };
const watch = (async () => {
  let before = worked();
  while (!progress.isDone) {
    await turn();
    const now = worked();
    turns.push(now - before);
    before = now;
  }
})();
await works[what]();
progress.isDone = true;
await watch;
tell({ longest: turns.reduce((longest, turn) => Math.max(longest, turn), 0), turns: turns.length });
process.exit();
