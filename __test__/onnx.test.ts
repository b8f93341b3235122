import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { env, InferenceSession, Tensor } from "onnxruntime-web";
import {
  avgPool2d,
  batchNorm2d,
  CifarResNet,
  concat,
  conv2d,
  dropout,
  type ExportOnnxOptions,
  globalAvgPool2d,
  GoogLeNet,
  linear,
  maxPool2d,
  type Model,
  padChannels,
  preprocess,
  relu,
  ResNet,
  type ResNetError,
  residual,
  sequential,
  sgd,
  silu,
  tensor,
  Trainer,
} from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { any, rejection } from "./pictures.js";

env.wasm.numThreads = 1;
/** Where files are written. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "onnx-"));
});
afterAll(async () => rm(folder, { recursive: true }));

let seed = 1;
const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
const numbers = (shape: readonly number[]) => tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => 2 * random() - 1), shape);

/** Some training, so that norms have statistics that matter. */
async function train(model: Model, shape: readonly number[]): Promise<void> {
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.02 }) });
  for (let step = 0; step < 3; step++) await trainer.step(numbers(shape), Array.from({ length: shape[0]! }, (_, i) => i % 3));
}

/** What ONNX Runtime makes of a model's file. */
async function theirs(model: Model, options: ExportOnnxOptions, input: Tensor): Promise<Float32Array> {
  const path = join(folder, "model.onnx");
  const { output } = await model.exportOnnx(path, options);
  const session = await InferenceSession.create(await readFile(path));
  const results = await session.run({ images: input });
  await session.release();
  return (await results[output.name]!.getData()) as Float32Array;
}

/** The largest difference, over the largest number. */
function distance(found: Float32Array, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  const largest = Math.max(...Array.from(expected, Math.abs));
  expect(largest).toBeGreaterThan(1e-3);
  return Math.max(...Array.from(found, (value, i) => Math.abs(value - expected[i]!))) / largest;
}

const shortcuts = { stem: "deep", shortcut: "avgpool" } as const;
const networks: Readonly<Record<string, () => [model: Model, shape: number[]]>> = {
  "torchvision's ResNet": () => [new ResNet([[1, 16], [1, 24]], { flavor: "torchvision" }), [4, 3, 40, 33]],
  "d2l's ResNet": () => [new ResNet([[1, 64], [1, 24]]), [4, 1, 32, 40]],
  "ResNet-D with bottlenecks": () => [new ResNet([[1, 8], [1, 16]], { flavor: "torchvision", block: "bottleneck", ...shortcuts }), [4, 3, 37, 37]],
  ResNeXt: () => [new ResNet([[1, 16], [1, 32]], { flavor: "torchvision", block: "bottleneck", groups: 4, widthPerGroup: 16 }), [4, 3, 32, 32]],
  "d2l's ResNeXt": () => [new ResNet([[1, 32], [1, 64]], { block: "resnext", groups: 8 }), [4, 1, 32, 32]],
  "pre-activation": () => [new ResNet([[1, 8], [1, 16]], { preActivation: true, ...shortcuts }), [4, 3, 35, 33]],
  "CIFAR's ResNet with stochastic depth": () => [new CifarResNet({ depth: 20, shortcut: "pad", stochasticDepth: 0.2 }), [4, 3, 31, 32]],
  // It has no norms, and is large.
  GoogLeNet: () => [new GoogLeNet({ inChannels: 1, seed: 2 }), [1, 1, 64, 64]],
  "every other layer": () => {
    const branches = [conv2d(4, { padding: 1, groups: 2 }), sequential([]), sequential([batchNorm2d(), silu()])];
    const pools = [maxPool2d({ kernelSize: 3, stride: 2, padding: 1 }), avgPool2d({ kernelSize: 3, stride: 2, padding: 1, ceilMode: true, countIncludePad: true })];
    const padded = residual({ body: sequential([conv2d(13, { kernelSize: 1, stride: 2 }), batchNorm2d()]), shortcut: padChannels(13, { stride: 2 }) });
    const ends = [avgPool2d({ kernelSize: 2, ceilMode: true, countIncludePad: false }), padChannels(15, { stride: 1 }), dropout({ p: 0.3 })];
    return [sequential([concat(branches), ...pools, padded, ...ends, globalAvgPool2d(), relu(), dropout({ p: 0.5 }), linear(5, { bias: false })]), [4, 2, 30, 27]];
  },
};

for (const [name, make] of Object.entries(networks)) {
  test(`${name}: the file's logits are predict's`, async () => {
    const [model, shape] = make();
    const isPlain = model instanceof GoogLeNet;
    if (!isPlain) await train(model, shape);
    const images = numbers(shape);
    const { data } = await model.predict(images);
    const input = new Tensor("float32", images.data as Float32Array, shape);
    expect(distance(await theirs(model, { shape }, input), data)).toBeLessThan(1e-4);
    if (!isPlain) expect(distance(await theirs(model, { shape, foldNorms: false }, input), data)).toBeLessThan(1e-4);
    if (!isPlain) expect(distance(await theirs(model, { shape, precision: "fp16" }, input), data)).toBeLessThan(1e-2);
    model.dispose();
  });
}

/** A model that knows its pictures, and pixels of such. */
async function knowing(channels: 1 | 3, labelKind: "single" | "multi" = "single") {
  const model = new ResNet([[1, 8]], { numClasses: 3, inChannels: channels, stem: "small", seed: 4 });
  const normalise = channels === 3 ? { mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3] } : { mean: [0.3], std: [0.5] };
  const transform = { size: [8, 12], fit: "pad", channels, background: [0, 0, 0], normalise } as const;
  await model.setInterface({ transform, classNames: ["cat", "dög", "\"bird\""], labelKind, temperature: 1.7 });
  const pixels = Uint8Array.from({ length: 8 * 12 * 4 }, (_, i) => (i % 4 === 3 ? 255 : Math.floor(256 * random())));
  const picture = { data: pixels, info: { height: 8, width: 12, channels: 4 } };
  return { model, transform, pixels, picture };
}

test.for([1, 3] as const)("pixels go in as a canvas gives them, and as sharp does (%i channels)", async (channels) => {
  const { model, transform, pixels, picture } = await knowing(channels);
  const images = await preprocess(picture, transform);
  const { data } = await model.predict(images);
  const canvas = new Uint8ClampedArray(pixels);
  expect(distance(await theirs(model, { input: "rgba" }, new Tensor("uint8", canvas, [1, 8, 12, 4])), data)).toBeLessThan(1e-5);
  const halves = await theirs(model, { input: "rgba", precision: "fp16" }, new Tensor("uint8", canvas, [1, 8, 12, 4]));
  expect(distance(halves, data)).toBeLessThan(1e-2);
  // What the network sees, before it is normalised.
  const { mean, std } = transform.normalise;
  const unit = images.data.map((value, i) => value * std[Math.floor(i / 96)]! + mean[Math.floor(i / 96)]!) as Float32Array;
  expect(distance(await theirs(model, { input: "unit" }, new Tensor("float32", unit, [1, channels, 8, 12])), data)).toBeLessThan(1e-5);
  const bytes = Uint8Array.from({ length: 96 * channels }, (_, i) => Math.round(255 * unit[(i % channels) * 96 + Math.floor(i / channels)]!));
  expect(distance(await theirs(model, { input: "bytes" }, new Tensor("uint8", bytes, [1, 8, 12, channels])), data)).toBeLessThan(1e-5);
  model.dispose();
});

test.for(["single", "multi"] as const)("probabilities are those that classify tells (%s)", async (labelKind) => {
  const { model, pixels, picture } = await knowing(3, labelKind);
  const classes = await model.classify(picture, { top: 3 });
  const expected = classes.toSorted((a, b) => a.label - b.label).map(({ probability }) => probability);
  const found = await theirs(model, { input: "rgba", probabilities: true }, new Tensor("uint8", pixels, [1, 8, 12, 4]));
  expect(distance(found, expected)).toBeLessThan(1e-5);
  model.dispose();
});

test("what is written is told, and a batch has any number of images or one that is fixed", async () => {
  const { model } = await knowing(1);
  const path = join(folder, "batch.onnx");
  const told = await model.exportOnnx(pathToFileURL(path), { input: "bytes" });
  const file = await readFile(path);
  expect(told).toEqual({
    input: { name: "images", type: "uint8", shape: ["N", 8, 12, 1] },
    output: { name: "logits", type: "float32", shape: ["N", 3] },
    bytes: file.length,
  });
  const session = await InferenceSession.create(file);
  for (const n of [1, 5]) {
    const { logits } = await session.run({ images: new Tensor("uint8", new Uint8Array(n * 96), [n, 8, 12, 1]) });
    expect(logits!.dims).toEqual([n, 3]);
  }
  const fixed = await model.exportOnnx(path, { shape: [2, 1, 16, 16], dynamicBatch: false });
  expect([fixed.input.shape, fixed.output.shape]).toEqual([[2, 1, 16, 16], [2, 3]]);
  const strict = await InferenceSession.create(await readFile(path));
  await expect(strict.run({ images: new Tensor("float32", new Float32Array(256), [1, 1, 16, 16]) })).rejects.toThrow();
  model.dispose();
});

test("what cannot be is refused, and a file that is there stays", async () => {
  const { model } = await knowing(3);
  const path = join(folder, "stays.onnx");
  await writeFile(path, "old");
  const cases: readonly (readonly [options: unknown, code: string, message: RegExp])[] = [
    [{ shap: [3, 8, 8] }, "ERR_INVALID_ARGUMENT", /^options: expected options named .*, got shap \(did you mean shape\?\)$/],
    [{ shape: [3, 8, 0] }, "ERR_INVALID_ARGUMENT", /^shape: expected \[N, C, H, W\] or \[C, H, W\], integers of at least 1, got \[3, 8, 0\]$/],
    [{ shape: Array(1e6).fill(8) }, "ERR_INVALID_ARGUMENT", /^shape: expected at most 4 items, got 1000000$/],
    [{ shape: [1, 3, 2 ** 20, 2 ** 20] }, "ERR_SHAPE", /^shape: expected at most 2147483647 numbers in all, got \[1, 3, 1048576, 1048576\]$/],
    [{ shape: [8, 8] }, "ERR_SHAPE", /^shape: expected \[N, C, H, W\] or \[C, H, W\], got \[8, 8\]$/],
    [{ shape: [1, 1, 8, 8] }, "ERR_SHAPE", /^shape: expected 3 channels, got 1$/],
    [{ input: "bgr" }, "ERR_INVALID_ARGUMENT", /^input: expected "normalised" or "unit" or "bytes" or "rgba", got "bgr"$/],
    [{ precision: "int8" }, "ERR_INVALID_ARGUMENT", /^precision: expected "fp32" or "fp16", got "int8"$/],
    [{ signal: 1 }, "ERR_INVALID_ARGUMENT", /^signal: expected an AbortSignal, got 1$/],
  ];
  for (const [options, code, message] of cases) {
    const error = (await rejection(model.exportOnnx(path, any(options)))) as ResNetError;
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  }
  const code = async (promise: Promise<unknown>) => ((await rejection(promise)) as ResNetError).code;
  expect(await code(model.exportOnnx(any(7)))).toBe("ERR_INVALID_ARGUMENT");
  expect(await code(model.exportOnnx(join(folder, "gone", "m.onnx")))).toBe("ERR_IO");
  expect(await code(model.exportOnnx(folder))).toBe("ERR_IO");
  using open = new ResNet([[1, 8]]);
  expect(await rejection(open.exportOnnx(path, { shape: [3, 8, 8] }))).toMatchObject({ code: "ERR_NOT_BUILT", message: "model: expected known input channels (the option inChannels, a first batch or loadWeights tells them), got none so far" });
  // It waits for its turn when it is stopped.
  const before = model.predict(numbers([64, 3, 32, 32]));
  const stop = new AbortController();
  const stopped = model.exportOnnx(path, { signal: stop.signal });
  stop.abort(new Error("enough"));
  expect(await rejection(stopped)).toEqual(new Error("enough"));
  await before;
  model.dispose();
  expect(await code(model.exportOnnx(path))).toBe("ERR_DISPOSED");
  expect(await readFile(path, "utf8")).toBe("old");
  expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("the guide's lines read the names from a file and tell what is on a picture", async () => {
  const { model, pixels, picture } = await knowing(3);
  await model.exportOnnx(join(folder, "stamps.onnx"), { input: "rgba", probabilities: true });
  const [best] = await model.classify(picture, { top: 1 });
  model.dispose();
  const guide = await readFile(new URL("../guides/elsewhere.md", import.meta.url), "utf8");
  const [, code] = /^```js\n(import .*? from "onnxruntime-node";\n.*?)^```/ms.exec(guide)!;
  const installed = pathToFileURL(join(fileURLToPath(new URL("..", import.meta.url)), "node_modules/onnxruntime-web/dist/ort.node.min.mjs"));
  const lines = code!.replace("onnxruntime-node", installed.href).replace(`"stamps.onnx"`, JSON.stringify(join(folder, "stamps.onnx")));
  const file = join(folder, "guide.mjs");
  await writeFile(file, lines);
  const { classify } = (await import(/* @vite-ignore */ file)) as { classify(pixels: Uint8Array): Promise<{ name: string; probability: number }> };
  const found = await classify(pixels);
  expect(found).toEqual({ name: best!.name, probability: expect.closeTo(best!.probability, 5) });
});
