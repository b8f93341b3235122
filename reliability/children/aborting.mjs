// Raises a signal at a random moment of a call, again and again: it rejects with the signal's reason, soon, leaves no listener behind, and the next call
// is as if nothing had been.

import { getEventListeners } from "node:events";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  calibrate, cifar10, cifar100, evaluate, fashionMnist, findLearningRate, fit, fromIterable, gradCam, imageFolder, inspectFolder, loadModel, mistakes, mnist, preprocess,
  previewBatch, quantize, report, ResNet18, Trainer,
} from "resnet-native";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";
import { images, spots } from "./subjects.mjs";

const { call, aborts, seed, folder, fixtures, sample } = given;
const random = new Random(seed);
const model = new ResNet18({ numClasses: 4, inChannels: 1, threads: 1, seed: 3 });
const [side, count] = [32, 384];
const batch = images(count, { side });
const labels = Array.from({ length: count }, (_, i) => i % 4);
const data = spots(count, { side });
const file = join(folder, "m.safetensors");
await fit(model, data, { epochs: 1, batchSize: 48, fastDevRun: 1 });
await model.save(file);
const trainer = new Trainer(model);
const picture = join(fixtures, "pictures/rgb.jpg");
const pictures = join(folder, "pictures");
for (const name of ["a", "b", "c", "d"]) {
  mkdirSync(join(pictures, name), { recursive: true });
  for (let i = 0; i < 30; i++) copyFileSync(picture, join(pictures, name, `${i}.jpg`));
}
// Sets that are nowhere here are downloaded, for ever.
for (const name of ["HOME", "XDG_CACHE_HOME"]) process.env[name] = folder;
delete process.env.RESNET_NATIVE_DATA;
const away = async (_url, { signal }) => {
  await sleep(100_000, undefined, { signal }).catch(() => {});
  throw signal.reason;
};
globalThis.fetch = away;
async function* endless() {
  for (;;) {
    await sleep(1);
    yield { image: picture, label: "a" };
  }
}

/** Every call that takes a signal, by the names of `callables.mjs`. */
const calls = {
  "Dataset.measure": (signal) => data.measure({ signal }),
  "Model.classify #1": (signal) => model.classify(picture, { signal }),
  "Model.classify #2": (signal) => model.classify(batch, { signal }),
  "Model.exportOnnx": (signal) => model.exportOnnx(join(folder, "m.onnx"), { signal, shape: [1, 1, side, side] }),
  "Model.features": (signal) => model.features(batch, { signal }),
  "Model.forward": (signal) => model.forward(batch, { signal }),
  "Model.loadWeights": (signal) => model.loadWeights(file, { signal }),
  "Model.predict": (signal) => model.predict(batch, { signal }),
  "Model.save": (signal) => model.save(file, { signal }),
  "Model.saveFolder": (signal) => model.saveFolder(join(folder, "model"), { signal }),
  "Trainer.step": (signal) => trainer.step(batch, labels, { signal }),
  calibrate: (signal) => calibrate(model, data, { signal }),
  cifar10: (signal) => cifar10({ download: true, signal }),
  cifar100: (signal) => cifar100({ download: true, signal }),
  evaluate: (signal) => evaluate(model, data, { signal }),
  fashionMnist: (signal) => fashionMnist({ root: sample, source: "sample", signal }),
  findLearningRate: (signal) => findLearningRate(model, data, { signal, steps: 20, batchSize: 16 }),
  fit: (signal) => fit(model, data, { signal, epochs: 50, batchSize: 16 }),
  fromIterable: (signal) => fromIterable(endless(), { signal, size: 32 }),
  "gradCam #1": (signal) => gradCam(model, picture, { signal }),
  "gradCam #2": (signal) => gradCam(model, batch, { signal }),
  "imageFolder #1": (signal) => imageFolder(pictures, { signal, verify: true, size: 32, split: 0.5 }),
  "imageFolder #2": (signal) => imageFolder(pictures, { signal, verify: true, size: 32 }),
  inspectFolder: (signal) => inspectFolder(pictures, { signal }),
  loadModel: async (signal) => (await loadModel(file, { signal })).dispose(),
  mistakes: (signal) => mistakes(model, data, { signal, count: 5 }),
  mnist: (signal) => mnist({ download: true, signal }),
  preprocess: (signal) => preprocess(Array.from({ length: 200 }, () => picture), { size: [32, 32], fit: "crop", channels: 3, background: [0, 0, 0] }, { signal }),
  previewBatch: (signal) => previewBatch(data, { path: join(folder, "preview.png"), batchSize: 32, signal }),
  quantize: async (signal) => {
    const copy = await loadModel(file, { threads: 1 });
    await quantize(copy, data, { signal, images: count }).finally(() => copy.dispose());
  },
  report: (signal) => report(model, undefined, data, { file: join(folder, "report.html"), signal }),
};

const run = calls[call];
const failures = [];
/** Milliseconds from the signal to the end: what the process computed, and on the clock. */
const computed = [];
const waited = [];
const processorTime = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const right = async () => `${(await model.predict(images(2, { side }))).data}`;
const changesWeights = ["fit", "Trainer.step", "Model.forward"].includes(call);

// How long it takes, to know where its moments are: the second time, since the first makes room; what never ends by itself is left alone for a while.
let takes;
for (let i = 0; i < 2; i++) {
  const began = performance.now();
  const patience = new AbortController();
  const late = setTimeout(() => patience.abort(), 1500);
  await run(patience.signal).catch(() => {});
  clearTimeout(late);
  takes = performance.now() - began;
}
const before = await right();

let done = 0;
for (let i = 0; i < aborts; i++) {
  const controller = new AbortController();
  const { signal } = controller;
  let isTold = false;
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is this that others must leave alone
  signal.onabort = () => { isTold = true; };
  const reason = new Error(`abort ${i}`);
  let raised;
  let used;
  const after = i % 5 === 0 ? -1 : random.between(0, 0.7 * takes);
  const raise = () => {
    raised = performance.now();
    used = processorTime();
    controller.abort(reason);
  };
  if (after < 0) raise();
  const timer = after < 0 ? undefined : setTimeout(raise, after);
  const start = performance.now();
  const end = await run(signal).then(() => "done", (error) => error);
  const now = performance.now();
  clearTimeout(timer);
  if (raised === undefined || end === "done") {
    done++;
    if (after < 0) failures.push("a signal that was raised before is not heard");
    // A call that ends in the very turn of the loop in which the signal comes is done.
    else if (raised !== undefined && processorTime() - used > 100) failures.push(`resolves after ${(processorTime() - used).toFixed(0)} ms of work that comes after the signal`);
  } else {
    if (end !== reason) failures.push(`rejects with ${end?.stack ?? end}, not with the signal's reason`);
    waited.push(now - Math.max(raised, start));
    computed.push(processorTime() - used);
  }
  if (raised !== undefined && !isTold) failures.push("the signal's own onabort is not called");
  if (getEventListeners(signal, "abort").length > 1) failures.push("a listener stays on the signal");
  if (!changesWeights && i % 10 === 9 && (await right()) !== before) failures.push("a right call has another result afterwards");
}
// One signal for many calls, and the same call once more.
const one = new AbortController();
if (takes < 1000 && !/^(mnist|cifar|fit|fromIterable)/.test(call)) await Promise.all(Array.from({ length: 3 }, () => run(one.signal).catch((error) => void (error.code === "ERR_BUSY" || failures.push(`afterwards: ${error}`)))));
tell({ done, computed, waited, failures, takes });
process.exit();
