// node tools/format_fixtures.mjs, after npm run build: writes crates/resnet-core/tests/fixtures/formats/, files as this version writes them, each named by its
// format and that one's version, and in expected.json what has to come out of each for ever. What is there stays as it is, since the version that
// wrote it has gone: whoever changes a format raises its number here.

import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as resnet from "../dist/index.js";
import { keptRun } from "../__test__/kept-run.mjs";

const { avgPool2d, batchNorm2d, concat, conv2d, dropout, fit, globalAvgPool2d, linear, loadModel, maxPool2d, padChannels, PreActResidual, relu, Residual, residual, sequential, sgd, silu, tensor } = resnet;

const [MODEL, CHECKPOINT] = ["model_2", "checkpoint_1"];
/** A folder of the hub has a model's file, and a config.json that names its digest. */
const FOLDER = "folder_1";
/** A quantised model's file. */
const QUANTIZED = "model_3";
/** Written by version 0.1.0 before there was a digest. */
const FIRST = "model_1";

const folder = fileURLToPath(new URL("../crates/resnet-core/tests/fixtures/formats/", import.meta.url));
mkdirSync(folder, { recursive: true });
const told = join(folder, "expected.json");
const expected = existsSync(told) ? JSON.parse(readFileSync(told, "utf8")) : {};

/** A network with every kind of layer, which has been trained and knows what its classes are. */
async function everyLayer() {
  const branches = [conv2d(2, { kernelSize: 1 }), sequential([avgPool2d({ kernelSize: 3, stride: 1, padding: 1 }), conv2d(2, { kernelSize: 3, padding: 1, groups: 2 })])];
  const body = sequential([conv2d(4, { kernelSize: 1 }), batchNorm2d({ zeroInit: true })]);
  const layers = [
    conv2d(4, { kernelSize: 3, padding: 1, bias: false }), batchNorm2d({ eps: 1e-3, momentum: 0.2 }), relu(), maxPool2d({ kernelSize: 3, stride: 2, padding: 1 }),
    new Residual(4, { stochasticDepth: 0.1 }), new PreActResidual(4, { use1x1Conv: true }), residual({ body, shortcut: padChannels(4) }), concat(branches),
    silu(), globalAvgPool2d(), dropout({ p: 0.1 }), linear(3),
  ];
  const model = sequential(layers, { inChannels: 3, seed: 7 });
  const images = Uint8Array.from({ length: 6 * 3 * 64 }, (_, i) => (i * 37) % 251);
  await fit(model, resnet.fromArrays({ images, shape: [6, 3, 8, 8], labels: [0, 1, 2, 0, 1, 2] }), { epochs: 2, batchSize: 3, optimizer: sgd({ lr: 0.1 }) });
  const normalise = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] };
  await model.setInterface({ transform: { size: [8, 8], fit: "pad", channels: 3, background: [1, 2, 3], normalise }, classNames: ["a", "b", "<ü>"], labelKind: "single", temperature: 1.5 });
  return model;
}

/** What has to come out of a model's file or folder, by whatever version it is loaded. */
async function outcome(path) {
  const model = await loadModel(path);
  const hash = createHash("sha256");
  for (const [name, { data }] of await model.stateDict()) hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const shape = [2, model.inChannels, 8, 8];
  const images = tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 37) % 101) / 50 - 1), shape);
  const { transform, classNames, labelKind, temperature } = model;
  return { digest: hash.digest("hex"), logits: [...(await model.predict(images)).data], interface: { transform, classNames, labelKind, temperature } };
}

/** Writes something that is not there yet, and what has to come out of it. */
async function keep(name, file, write, more = {}) {
  const path = join(folder, file);
  if (write && !existsSync(path)) await write(path);
  expected[name] ??= { file, ...(await outcome(path)), ...more };
}

await keep(FIRST, `${FIRST}.safetensors`);
await keep(MODEL, `${MODEL}.safetensors`, async (path) => (await everyLayer()).save(path));
await keep(QUANTIZED, `${QUANTIZED}.safetensors`, async (path) => {
  const model = await everyLayer();
  const images = Uint8Array.from({ length: 6 * 3 * 64 }, (_, i) => (i * 37) % 251);
  await resnet.quantize(model, resnet.fromArrays({ images, shape: [6, 3, 8, 8], labels: [0, 1, 2, 0, 1, 2] }));
  await model.save(path);
});
await keep(FOLDER, FOLDER, async (path) => (await everyLayer()).saveFolder(path));
if (!(CHECKPOINT in expected)) {
  const work = mkdtempSync(join(tmpdir(), "resnet-native-"));
  const whole = keptRun(resnet);
  const { rows } = await fit(whole.model, whole.data, whole.options);
  await whole.model.save(join(work, "end.safetensors"));
  // Stopped in the middle of the second epoch.
  const { model, data, options } = keptRun(resnet);
  const stop = new AbortController();
  const dir = join(work, "run");
  const onCheckpoint = ({ path }) => path.endsWith("step-00000005.safetensors") && stop.abort();
  await fit(model, data, { ...options, checkpoint: { dir, everySteps: 1, keep: 1 }, onCheckpoint, signal: stop.signal }).catch(() => {});
  rmSync(join(dir, "run.lock"));
  cpSync(dir, join(folder, CHECKPOINT), { recursive: true });
  const { digest: _, ...end } = await outcome(join(work, "end.safetensors"));
  await keep(CHECKPOINT, `${CHECKPOINT}/step-00000005.safetensors`, undefined, { rows, end: end.logits });
  rmSync(work, { recursive: true });
}
writeFileSync(told, `${JSON.stringify(expected, undefined, 1)}\n`);
