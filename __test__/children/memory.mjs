// Calls for which there is no memory, one after the other in a process that has a hundred megabytes left.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { evaluate, fit, fromArrays, loadModel, preprocess, ResNet, ResNet152, Trainer, tensor } from "../../dist/index.js";

const folder = mkdtempSync(join(tmpdir(), "resnet-native-"));
const file = join(folder, "large.safetensors");
const options = { numClasses: 2, threads: 1 };
const large = new ResNet152({ ...options, inChannels: 3 });
await large.save(file);
const count = 3_000;
const images = tensor(new Float32Array(count * 3 * 64 * 64), [count, 3, 64, 64]);
const labels = new Uint32Array(count);
const data = fromArrays({ images: new Uint8Array(count * 3 * 64 * 64), shape: images.shape, labels });
const small = new ResNet([[1, 8]], { numClasses: 2, inChannels: 1, threads: 1 });
const one = tensor(new Float32Array(64), [1, 1, 8, 8]);
await small.predict(one);
const trainer = new Trainer(large);

const picture = readFileSync(new URL("../../crates/resnet-core/tests/fixtures/pictures/rgb.png", import.meta.url));
// A head that tells of 90 million pixels, which fit into no room that is left.
const huge = Buffer.from(picture);
huge.writeUInt32BE(9_000, 16);
huge.writeUInt32BE(10_000, 20);
huge.writeUInt32BE(crc32(huge.subarray(12, 29)), 29);

const room = 100e6;
const used = Number(/VmSize:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
try {
  execFileSync("prlimit", ["--pid", `${process.pid}`, `--as=${used + room}`], { stdio: "ignore" });
} catch {
  process.stdout.write("no prlimit");
  process.exit();
}

const first = async (batches) => (await batches[Symbol.asyncIterator]().next()).value.labels.length;
const calls = {
  // The first one still gets the thread that it needs.
  decode: () => preprocess(huge, { size: [8, 8], fit: "pad", channels: 3, background: [0, 0, 0] }),
  predict: () => large.predict(images),
  forward: () => large.forward(images, { training: true }),
  step: () => trainer.step(images, labels),
  gradients: async () => (await trainer.gradients()).size,
  stateDict: () => large.stateDict(),
  to: () => large.to("cpu", { threads: 2 }),
  loadWeights: () => large.loadWeights(file),
  loadModel: () => loadModel(file),
  build: () => new ResNet152({ ...options, inChannels: 3 }).stateDict(),
  fromArrays: async () => fromArrays({ images: images.data, shape: images.shape, labels }),
  batches: () => first(data.batches({ batchSize: count })),
  fit: () => fit(large, data, { epochs: 1, batchSize: count }),
  evaluate: () => evaluate(large, data, { batchSize: count }),
  save: () => large.save(file),
  small: async () => (await small.predict(one)).shape,
};
const found = {};
for (const [name, call] of Object.entries(calls)) {
  found[name] = await call().then(() => "done", (error) => error.code ?? String(error));
}
rmSync(folder, { recursive: true });
process.stdout.write(JSON.stringify(found));
