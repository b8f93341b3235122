import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deviceInfo, evaluate, fashionMnist, fit, globalAvgPool2d, linear, loadModel, quantize, ResNet18, sequential, sgd, tensor, Trainer } from "resnet-native";
import { afterEach, beforeEach, expect, test } from "vitest";
import { rejection } from "./pictures.js";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "resnet-native-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const images = (n: number, side: number) => tensor(Float32Array.from({ length: n * side ** 2 }, (_, i) => Math.sin(i)), [n, 1, side, side]);

test("a quantised model is as accurate, a quarter of the size, and the same from its file on any number of threads", async () => {
  const { train, validation } = await fashionMnist({ source: "sample" });
  using model = new ResNet18({ numClasses: 10, inChannels: 1, threads: 2, seed: 1 });
  await fit(model, train, { epochs: 1, batchSize: 64, optimizer: sgd({ lr: 0.1 }), fastDevRun: 12 });
  const [whole, bytes] = ["whole", "bytes"].map((name) => join(folder, `${name}.safetensors`)) as [string, string];
  await model.save(whole);
  const before = await evaluate(model, validation);
  expect(await quantize(model, train, { images: 64 })).toEqual({ convolutions: 19, images: 64 });
  const after = await evaluate(model, validation, { batchSize: 2 });
  expect(Math.abs(after.accuracy - before.accuracy)).toBeLessThan(0.01);
  expect(Math.abs(after.loss - before.loss)).toBeLessThan(0.02 * before.loss);
  await model.save(bytes);
  expect(statSync(bytes).size).toBeLessThan(0.26 * statSync(whole).size);
  const logits = (await model.predict(images(3, 28))).data;
  for (const threads of [1, 3]) {
    using loaded = await loadModel(bytes, { threads });
    expect((await loaded.predict(images(3, 28))).data).toEqual(logits);
  }
});

test("it is not trained any more, quantised once, and goes on where something failed", async () => {
  const { train } = await fashionMnist({ source: "sample" });
  using model = new ResNet18({ numClasses: 10, inChannels: 1, threads: 1 });
  const before = (await model.predict(images(2, 28))).data;
  const stopped = AbortSignal.abort(new Error("enough"));
  expect(await rejection(quantize(model, train, { signal: stopped }))).toBe(stopped.reason);
  expect(await rejection(quantize(model, train, { images: 0 }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  expect((await model.predict(images(2, 28))).data).toEqual(before);
  await quantize(model, train, { images: 8 });
  const trainer = new Trainer(model);
  const path = join(folder, "weights.safetensors");
  await model.save(path);
  const wrong = [() => fit(model, train, { epochs: 1 }), () => trainer.step(images(2, 28), [0, 1]), () => quantize(model, train), () => model.loadWeights(path)];
  for (const call of wrong) {
    expect(await rejection(call())).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining("not quantised") as string });
  }
  using none = sequential([globalAvgPool2d(), linear(10)], { inChannels: 1 });
  expect(await rejection(quantize(none, train))).toMatchObject({ message: expect.stringMatching(/^model: expected a network with a convolution in one group/) as string });
});

test("it says what it is: in the model, and in a folder that claims to be nobody else's", async () => {
  const { train } = await fashionMnist({ source: "sample" });
  using model = new ResNet18({ flavor: "torchvision", numClasses: 10, inChannels: 1, threads: 1 });
  expect(model.quantized).toBe(false);
  await quantize(model, train, { images: 4 });
  expect(model.quantized).toBe(true);
  await model.saveFolder(join(folder, "hub"));
  const { architecture } = JSON.parse(readFileSync(join(folder, "hub/config.json"), "utf8")) as { architecture: string };
  expect(architecture).toBe("resnet_native");
  expect(readFileSync(join(folder, "hub/README.md"), "utf8")).not.toContain("timm.create_model");
  using loaded = await loadModel(join(folder, "hub"), { threads: 1 });
  expect(loaded.quantized).toBe(true);
  expect((await loaded.predict(images(2, 28))).data).toEqual((await model.predict(images(2, 28))).data);
  const nothing = { ...images(1, 28), data: new Float32Array(784).fill(Number.NaN) };
  expect(await rejection(loaded.predict(nothing))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: "images[0]: expected a finite number, got NaN" });
});

test("the machine says how", () => {
  expect(["amx", "avx512-vnni", "avx-vnni", "neon-dot", "f32"]).toContain(deviceInfo().cpu.int8);
});
