// Lets the first, second, third … large allocation of a call fail, until the call passes: the error is the package's, the next call has the right result,
// and again and again nothing is lost.

import { join } from "node:path";
import { evaluate, fit, fromArrays, gradCam, loadModel, preprocess, ResNetError, Trainer, tensor } from "resnet-native";
import { Control } from "./control.mjs";
import { given, tell } from "./given.mjs";
import { digest, images, spots, tinyModel } from "./subjects.mjs";

/** Bytes from which on a size comes from data, a network or a file: buffers for files are shorter. */
const LEAST = 2 ** 18 + 1;
const CODES = new Set(["ERR_OUT_OF_MEMORY", "ERR_NO_THREAD"]);

const { call, folder, control: file, most, isLasting, picture } = given;
const control = new Control(file);
const [classes, side] = [64, 64];
const make = () => tinyModel({ numClasses: 16_384 });
const path = join(folder, "m.safetensors");
const model = make();
await model.save(path);
const batch = images(64, { side });
const labels = Array.from({ length: 64 }, (_, i) => i % classes);
const data = spots(128, { side });
const pixels = new Uint8Array(128 * side * side);
const using = async (made, does) => {
  try {
    return await does(made);
  } finally {
    made.dispose();
  }
};
const sum = ({ data }) => data.reduce((sum, value) => sum + value, 0);
/** Each gives something that is the same each time. */
const calls = {
  predict: async () => sum(await model.predict(batch)),
  "a new model's predict": () => using(make(), async (other) => sum(await other.predict(batch))),
  forward: () => using(make(), async (other) => sum(await other.forward(batch, { training: true }))),
  evaluate: async () => (await evaluate(model, data)).loss,
  features: async () => sum(await model.features(batch)),
  step: () => using(make(), async (other) => (await new Trainer(other).step(batch, labels)).loss),
  gradients: () => using(make(), async (other) => {
    const trainer = new Trainer(other);
    await trainer.step(batch, labels);
    return (await trainer.gradients()).size;
  }),
  fit: () => using(make(), async (other) => (await fit(other, data, { epochs: 1, batchSize: 64, seed: 1 })).rows[0].loss),
  "fit with a checkpoint": () => using(make(), async (other) => (await fit(other, data, { epochs: 1, batchSize: 64, seed: 1, checkpoint: { dir: join(folder, `run-${crypto.randomUUID()}`) } })).rows[0].loss),
  stateDict: () => digest(model),
  save: () => model.save(path),
  saveFolder: () => model.saveFolder(join(folder, "model")),
  exportOnnx: async () => (await model.exportOnnx(join(folder, "m.onnx"), { shape: [1, 1, side, side] })).bytes,
  loadModel: async () => using(await loadModel(path), digest),
  loadWeights: () => using(make(), async (other) => {
    await other.loadWeights(path);
    return digest(other);
  }),
  to: () => using(make(), (other) => other.to("cpu", { threads: 2 })),
  fromArrays: () => fromArrays({ images: pixels, shape: [128, 1, side, side], labels: new Uint8Array(128) }).length,
  batches: async () => {
    let count = 0;
    for await (const { labels } of data.batches({ batchSize: 64 })) count += labels.length;
    return count;
  },
  tensor: () => sum(tensor(pixels, [128, 1, side, side])),
  preprocess: async () => sum(await preprocess([picture, picture], { size: [400, 400], fit: "crop", channels: 3, background: [0, 0, 0] })),
  gradCam: async () => (await gradCam(model, batch)).length,
};

const run = calls[call];
const right = await run();
const failures = [];
let tried = 0;
for (let at = 1; at <= most; at++) {
  process.stdout.write(`allocation ${at}\n`);
  control.set({ at, what: LEAST, isLasting });
  const found = await Promise.resolve().then(run).then((value) => ({ value }), (error) => ({ error }));
  const { done } = control.get();
  control.set({ at: 0 });
  if (done === 0) break;
  tried++;
  const { error, value } = found;
  if (error && !(error instanceof ResNetError && CODES.has(error.code))) failures.push(`allocation ${at}: ${error.stack}`);
  if (!error && value !== right) failures.push(`allocation ${at}: passes with ${value}, not with ${right}`);
  const next = await Promise.resolve().then(run).catch((error) => error);
  if (next !== right) failures.push(`after allocation ${at}: the next call gives ${next}, not ${right}`);
}
tell({ tried, failures });
process.exit();
