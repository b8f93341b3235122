// ONNX Runtime in Node as a side of `npm run bench`: inference of the network that export_onnx.py writes, whose logits it must
// reproduce. Batches come from this package's loader, as Node has no other.

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../report.mjs";
import { dataset, options, predictBatches, serve } from "./side.mjs";

/** How far its logits may be from PyTorch's, relative to the largest. */
const TOLERANCE = { f32: 1e-3, int8: 0.2 };

const settings = options("runtime", "python", "precision");
const { network, threads, batchSize, channels, size, runtime, python, precision } = settings;
const { default: ort } = await import(pathToFileURL(createRequire(join(runtime, "from.js")).resolve("onnxruntime-node")));
const shape = [batchSize, channels, size, size];
const folder = join(root, "out/bench");
mkdirSync(folder, { recursive: true });
const file = join(folder, `${network}-batch${batchSize}-${precision}.onnx`);
const exporter = [join(root, "benchmark/peers/export_onnx.py"), "--network", network, "--shape", ...shape.map(String), "--file", file, ...(precision === "int8" ? ["--int8"] : [])];
const { logits: expected, ...exported } = JSON.parse(execFileSync(python, exporter, { stdio: ["ignore", "pipe", "inherit"] }));
const session = await ort.InferenceSession.create(file, {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "all",
});

async function predict(images) {
  const { logits } = await session.run({ images: new ort.Tensor("float32", images.data, images.shape) });
  return logits.data;
}

const counting = Float32Array.from({ length: batchSize * channels * size * size }, (_, i) => (i % 251) / 251);
const logits = await predict({ data: counting, shape });
const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const difference = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - logits[i])), 0) / largest;
if (!(difference < TOLERANCE[precision])) throw new Error(`logits differ from PyTorch's by ${difference}`);

const data = await dataset(settings);
const versions = { "onnxruntime-node": ort.env.versions.node, node: process.version, exported };
const predictSteps = (steps) => predictBatches(data, batchSize, steps, predict);
await serve({ ...versions, threads, parameters: exported.parameters, difference }, { predict: predictSteps });
