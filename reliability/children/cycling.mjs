// Goes through the same thing many times, and tells how much the process has grown: memory, threads, descriptors.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { evaluate, fashionMnist, fit, fromIterable, gradCam, loadModel, preprocess, Trainer } from "resnet-native";
import { given, tell } from "./given.mjs";
import { images, spots, tinyModel } from "./subjects.mjs";

const { kind, cycles, picture, folder } = given;
const data = spots(16);
const image = images(2);
const kept = tinyModel();
const file = join(folder, "m.safetensors");
await kept.save(file);
const rejection = (promise) => promise.then(() => { throw new Error("expected a rejection"); }, () => {});
const using = async (model, does) => {
  try {
    await does(model);
  } finally {
    model.dispose();
  }
};

const kinds = {
  "made, trained, disposed of": () => using(tinyModel(), (model) => fit(model, data, { epochs: 1, batchSize: 8 })),
  "trained by steps, disposed of": () => using(tinyModel(), async (model) => {
    const trainer = new Trainer(model);
    await trainer.step(image, [0, 1]);
    await trainer.gradients();
  }),
  "predicted, evaluated, looked at": () => Promise.all([kept.predict(image), evaluate(kept, data), gradCam(kept, image), kept.stateDict()]),
  "saved and loaded": async () => {
    await kept.save(file);
    await using(await loadModel(file), (model) => model.loadWeights(file));
  },
  "rejected": () => Promise.all([
    rejection(kept.predict(images(1, { channels: 3 }))),
    rejection(loadModel(join(folder, "absent"))),
    rejection(fit(kept, spots(9, { classes: 9 }), { epochs: 1 })),
    rejection(preprocess(Buffer.from("no picture"), { size: [8, 8], fit: "pad", channels: 1, background: [0, 0, 0] })),
    rejection(using(tinyModel(), (model) => fit(model, data, { epochs: 1, onStep: () => { throw new Error("mine"); } }))),
  ]),
  "aborted": async () => {
    const controller = new AbortController();
    const run = using(tinyModel(), (model) => fit(model, data, { epochs: 1e6, batchSize: 4, signal: controller.signal }));
    await sleep(2);
    controller.abort();
    await rejection(run);
  },
  "batches left early": async () => {
    for await (const _ of data.batches({ batchSize: 2, loaderThreads: 2 })) break;
  },
  "batches never asked for": () => void data.batches({ batchSize: 2 }),
  "events left early": () => using(tinyModel(), async (model) => {
    const run = fit(model, data, { epochs: 2, batchSize: 8 });
    for await (const _ of run) break;
    await run.catch(() => {});
  }),
  "pictures decoded": async () => {
    await preprocess([picture, picture], { size: [32, 32], fit: "crop", channels: 3, background: [0, 0, 0] });
    await fromIterable([{ image: picture, label: 1 }], { size: 16 });
  },
  "data sets dropped": () => spots(64).split({ fraction: 0.5 }).train.take(3).length,
  "data sets loaded and dropped": () => fashionMnist({ source: "sample" }),
  "never disposed of": async () => void (await tinyModel().predict(image)),
  "trained, never disposed of": () => fit(tinyModel(), data, { epochs: 1, batchSize: 8 }),
};

/** What is in use, of V8's heap without what it keeps in reserve, which grows and stays. */
const mebibytes = () => {
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  return (rss - heapTotal + heapUsed) / 2 ** 20;
};
const count = (what) => readdirSync(`/proc/self/${what}`).length;
const settle = async () => {
  // Finalisers run in turns of the loop after a collection.
  for (let i = 0; i < 4; i++) {
    globalThis.gc();
    await sleep(5);
  }
};
const cycle = kinds[kind];
const warm = Math.ceil(cycles / 5);
for (let i = 0; i < warm; i++) await cycle();
await settle();
const start = { rss: mebibytes(), threads: count("task"), descriptors: count("fd") };
let least = Infinity;
let most = 0;
let threads = 0;
for (let i = 0; i < cycles; i++) {
  await cycle();
  if (i % 32 === 31) {
    // What is collected goes in turns of the loop, which no program is without for long.
    await sleep(0);
    most = Math.max(most, mebibytes());
    threads = Math.max(threads, count("task"));
  }
}
for (let i = 0; i < 10; i++) {
  await settle();
  least = Math.min(least, mebibytes());
  if (count("task") <= start.threads && count("fd") <= start.descriptors) break;
  await sleep(50);
}
tell({ grown: least - start.rss, peak: most - start.rss, threads: count("task") - start.threads, descriptors: count("fd") - start.descriptors, mostThreads: threads });
