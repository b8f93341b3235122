// Everything at random, one after the other and beside each other, for a time: what it holds in memory does not grow.

import { readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { evaluate, fit, gradCam, imageFolder, loadModel, preprocess, ResNetError, Trainer } from "resnet-native";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";
import { images, spots, tinyModel } from "./subjects.mjs";

const { seed, seconds, folder, control, fixtures } = given;
const random = new Random(seed);
const data = spots(32);
const pictures = join(fixtures, "pictures");
const file = (i) => join(folder, `${i}.safetensors`);
await tinyModel().save(file(0));
/** Bytes that V8 and malloc have given out: what a process has of the system also grows by the highest mark that there ever was. */
const inUse = () => process.memoryUsage().heapUsed + Number(readFileSync(control).readBigUInt64LE());
let runs = 0;
const works = [
  (model) => fit(model, data, { epochs: 1 + random.below(3), batchSize: 1 + random.below(16), signal: AbortSignal.timeout(random.chance(0.3) ? 5 : 10_000) }),
  async (model) => {
    const dir = join(folder, `run-${runs++}`);
    try {
      await fit(model, data, { epochs: 2, batchSize: 8, checkpoint: { dir, keep: 1 }, signal: AbortSignal.timeout(random.chance(0.3) ? 3 : 10_000) });
    } finally {
      // A folder with more and more in it would slow down the rest.
      await rm(dir, { recursive: true, force: true });
    }
  },
  (model) => model.predict(images(1 + random.below(8))),
  (model) => evaluate(model, data),
  (model) => new Trainer(model).step(images(4), [0, 1, 2, 3]),
  (model) => model.save(file(random.below(3))),
  (model) => model.loadWeights(file(random.below(3))),
  async () => (await loadModel(file(random.below(3)))).dispose(),
  (model) => gradCam(model, images(2)),
  (model) => model.stateDict(),
  async () => { for await (const _ of data.batches({ batchSize: 4 })) if (random.chance(0.3)) break; },
  () => preprocess(join(pictures, "rgb.jpg"), { size: [32, 32], fit: "crop", channels: 3, background: [0, 0, 0] }),
  () => imageFolder(join(fixtures, "none"), {}),
  (model) => model.predict(images(1, { channels: 3 })),
];
const PLANNED = new Set(["ERR_IO", "ERR_BUSY", "ERR_DATA_NOT_FOUND", "ERR_SHAPE", "ERR_DISPOSED", "ERR_INVALID_ARGUMENT"]);
const failures = [];
const samples = [];
let done = 0;
const start = performance.now();
const end = start + seconds * 1000;
while (performance.now() < end) {
  const model = tinyModel();
  await Promise.all(Array.from({ length: 1 + random.below(4) }, async () => {
    for (let i = random.below(6); i >= 0; i--) {
      const error = await Promise.resolve().then(() => random.pick(works)(model)).then(() => undefined, (error) => error);
      done++;
      if (error && !(error instanceof ResNetError ? PLANNED.has(error.code) : error.name === "TimeoutError")) failures.push(String(error.stack ?? error));
    }
  }));
  if (random.chance(0.7)) model.dispose();
  if (samples.length === 0 || performance.now() - samples.at(-1).time > seconds * 10) {
    for (let i = 0; i < 3; i++) {
      globalThis.gc();
      await sleep(2);
    }
    // Until that is told anew.
    await sleep(20);
    samples.push({ time: performance.now(), mebibytes: inUse() / 2 ** 20 });
  }
}
const threads = readdirSync("/proc/self/task").length;
// The first third is warming up.
const later = samples.slice(Math.floor(samples.length / 3));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const [time, size] = [mean(later.map(({ time }) => time)), mean(later.map(({ mebibytes }) => mebibytes))];
const slope = later.reduce((sum, sample) => sum + (sample.time - time) * (sample.mebibytes - size), 0) / later.reduce((sum, sample) => sum + (sample.time - time) ** 2, 0);
tell({ done, failures: failures.slice(0, 5), slope: slope * 3_600_000, grown: slope * (later.at(-1).time - later[0].time), threads });
process.exit();
