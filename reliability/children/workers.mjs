// Worker threads that load, train, predict and save are ended at random moments, some beside each other; in the end the main thread, which may load the addon
// only then, does right.

import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";

if (isMainThread) await lead();
else await work();

async function lead() {
  const { seed, rounds, beside, isFirst, folder } = given;
  const random = new Random(seed);
  const main = async () => {
    const { images, tinyModel } = await import("./subjects.mjs");
    const model = tinyModel();
    const found = `${(await model.predict(images(2))).data}`;
    model.dispose();
    return found;
  };
  const before = isFirst ? await main() : undefined;
  const failures = [];
  for (let round = 0; round < rounds; round++) {
    const workers = Array.from({ length: beside }, (_, i) => new Worker(new URL(import.meta.url), { workerData: { busy: random.pick(["fit", "predict", "save", "batches", "exit", "throw"]), folder, i } }));
    const ends = workers.map(async (worker) => {
      const errors = [];
      worker.on("error", (error) => errors.push(error));
      // Not once(), which an error of the worker's would reject.
      const heard = (event) => new Promise((resolve) => { worker.on(event, resolve); });
      const exit = heard("exit");
      if (random.chance(0.7)) await Promise.race([heard("message"), exit]);
      await sleep(random.between(0, 40));
      await worker.terminate();
      await exit;
      failures.push(...errors.filter(({ message }) => message !== "the worker's own").map((error) => error.stack));
    });
    await Promise.all(ends);
  }
  const after = await main();
  if (before !== undefined && after !== before) failures.push("the main thread has other results afterwards");
  tell({ tried: rounds * beside, failures });
}

async function work() {
  const [{ fit }, { images, spots, tinyModel }, { join }] = [await import("resnet-native"), await import("./subjects.mjs"), await import("node:path")];
  const { busy, folder, i } = workerData;
  const [model, data] = [tinyModel(), spots(32)];
  parentPort.postMessage("running");
  if (busy === "exit") setTimeout(() => process.exit(3), 20);
  if (busy === "throw") setTimeout(() => { throw new Error("the worker's own"); }, 20);
  for (;;) {
    if (busy === "predict") await model.predict(images(8));
    else if (busy === "save") await model.save(join(folder, `${i}.safetensors`));
    else if (busy === "batches") for await (const _ of data.batches({ batchSize: 4 })) break;
    else await fit(model, data, { epochs: 3, batchSize: 4 });
  }
}
