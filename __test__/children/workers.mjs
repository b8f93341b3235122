// Runs fits in worker threads and ends the workers in each way there is; the main thread loads the addon at the end.
import { once } from "node:events";
import { Worker } from "node:worker_threads";

const start = (env) => new Worker(new URL("fit.mjs", import.meta.url), { env: { ...process.env, ...env } });

for (let round = 0; round < 5; round++) {
  const workers = [start({}), start({})];
  await Promise.all(workers.map((worker) => once(worker, "message")));
  await Promise.all(workers.map((worker) => worker.terminate()));
}

const worker = start({ EPOCHS: "3" });
const messages = [];
worker.on("message", (message) => messages.push(message));
const [code] = await once(worker, "exit");

const { tensor, Residual } = await import("../../dist/index.js");
const { shape } = await new Residual(3).forward(tensor(new Float32Array(108), [1, 3, 6, 6]));
process.stdout.write(JSON.stringify({ messages, code, shape }));
