// A long run; tells its parent, or its thread's parent, when it is under way.
import { parentPort } from "node:worker_threads";
import { fit, fromArrays, ResNet } from "../../dist/index.js";

const images = new Uint8Array(64 * 256).map((_, i) => (i * 31) % 256);
const labels = Array.from({ length: 64 }, (_, i) => i % 4);
const data = fromArrays({ images, shape: [64, 1, 16, 16], labels });
const epochs = Number(process.env.EPOCHS ?? 1e6);
const run = fit(new ResNet([[1, 8]], { numClasses: 4 }), data, { epochs, batchSize: 8 });
await run[Symbol.asyncIterator]().next();
if (parentPort) parentPort.postMessage("running");
else process.stdout.write("running\n");
const { rows } = await run;
if (parentPort) parentPort.postMessage(rows.length);
else process.stdout.write(`${rows.length} epochs\n`);
