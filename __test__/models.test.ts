import { evaluate, fashionMnist, fit, Model, ResNet, ResNet18, sgd, tensor, Trainer } from "resnet-native";
import { expect, test } from "vitest";
import { digest, pictures, rejection } from "./pictures.js";

test("ResNet-18's summary shows the chapter's six stages", () => {
  const rows = new ResNet18().layerSummary([1, 1, 96, 96]);
  expect(rows.map(({ name, outputShape }) => [name, outputShape])).toEqual([
    ["stem", [1, 64, 24, 24]],
    ["layer1", [1, 64, 24, 24]],
    ["layer2", [1, 128, 12, 12]],
    ["layer3", [1, 256, 6, 6]],
    ["layer4", [1, 512, 3, 3]],
    ["head", [1, 10]],
  ]);
  expect(rows.reduce((sum, { params }) => sum + params, 0)).toBe(11_178_378);
});

test("a summary by layers shows the stem's convolution and prints as a table", () => {
  const rows = new ResNet18().layerSummary([1, 1, 96, 96], { depth: "layers" });
  expect(rows[0]).toEqual({
    name: "conv1",
    kind: "Conv2d",
    outputShape: [1, 64, 48, 48],
    params: 3200,
    macs: 7_225_344,
    activationBytes: 4 * 64 * 48 * 48,
  });
  expect(rows.filter(({ kind }) => kind === "AddReLU")).toHaveLength(8);
  const lines = String(rows).split("\n");
  expect(lines[0]).toMatch(/^name +kind +output +parameters +multiply-adds +activations$/);
  expect(lines.at(-1)).toMatch(/^total +11,178,378 +318,657,536 +\d+\.\d\d MiB$/);
});

test("ResNet-18 has 11,178,378 parameters for one channel, and more for three", () => {
  using one = new ResNet18({ inChannels: 1 });
  using three = new ResNet18({ inChannels: 3 });
  expect(one.numParameters).toBe(11_178_378);
  expect(three.numParameters).toBe(11_178_378 + 2 * 64 * 49);
});

test("the first batch tells the input channels; a summary does not", async () => {
  using model = new ResNet([[1, 8]]);
  model.layerSummary([1, 5, 16, 16]);
  expect(model.inChannels).toBeUndefined();
  expect(() => model.numParameters).toThrow(expect.objectContaining({ code: "ERR_NOT_BUILT" }));
  expect(await rejection(model.stateDict())).toMatchObject({ code: "ERR_NOT_BUILT" });
  expect(await rejection(model.save("never.safetensors"))).toMatchObject({ code: "ERR_NOT_BUILT" });
  await model.predict(tensor(new Float32Array(2 * 3 * 16 * 16), [2, 3, 16, 16]));
  expect(model.inChannels).toBe(3);
  const names = [...(await model.stateDict()).keys()];
  expect(names.slice(0, 6)).toEqual([
    "conv1.weight",
    "conv1.bias",
    "bn1.weight",
    "bn1.bias",
    "bn1.running_mean",
    "bn1.running_var",
  ]);
  expect(names.at(-1)).toBe("fc.bias");
  expect(names.some((name) => name.endsWith("num_batches_tracked"))).toBe(false);
});

test("the seed decides the weights", async () => {
  const of = (seed?: number) => digest(new ResNet([[1, 8]], { inChannels: 1, seed }));
  expect(await of(7)).toBe(await of(7));
  expect(await of(7)).not.toBe(await of(8));
  expect(await of()).toBe(await of(0));
});

test("predictions do not depend on how images are batched", async () => {
  using model = new ResNet([[1, 8]], { numClasses: 4 });
  const images = tensor(
    Float32Array.from({ length: 7 * 256 }, (_, i) => (i % 13) / 13),
    [7, 1, 16, 16],
  );
  const whole = await model.predict(images);
  expect(whole.shape).toEqual([7, 4]);
  expect(await model.predict(images, { batchSize: 3 })).toEqual(whole);
  expect(await model.forward(images)).toEqual(whole);
});

test("forward in training mode uses the batch's statistics and keeps the running ones", async () => {
  using model = new ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });
  const before = await digest(model);
  const images = tensor(
    Float32Array.from({ length: 4 * 256 }, (_, i) => (i % 17) / 17),
    [4, 1, 16, 16],
  );
  const [training, evaluating] = [await model.forward(images, { training: true }), await model.forward(images)];
  expect(training.data).not.toEqual(evaluating.data);
  expect(await digest(model)).toBe(before);
});

test("accuracy is the share of rows whose largest logit stands at the label", () => {
  const model = new ResNet18();
  const logits = tensor([0, 2, 1, 5, 4, 3, 1, 1, 0, -3, -2, -1], [4, 3]);
  expect(model.accuracy(logits, [1, 0, 0, 2])).toBe(1);
  expect(model.accuracy(logits, new Uint8Array([1, 1, 1, 2]))).toBe(0.5);
  expect(() => model.accuracy(logits, [1])).toThrow(expect.objectContaining({ code: "ERR_SHAPE" }));
  expect(() => model.accuracy(logits, [1, 0, 3, 2])).toThrow(
    expect.objectContaining({ code: "ERR_LABEL", message: "labels[2]: expected a label below the 3 classes, got 3" }),
  );
  expect(() => model.accuracy(tensor([1, 2], [2]), [1])).toThrow(expect.objectContaining({ code: "ERR_SHAPE" }));
});

test("a trained ResNet-18 predicts a batch from the loader better than chance (rows 5 and 6)", async () => {
  const data = await fashionMnist({ source: "sample", resize: [16, 16] });
  using model = new ResNet18({ numClasses: 10, seed: 1, threads: 1 });
  const optimizer = sgd({ lr: 0.05, momentum: 0.9 });
  const { rows } = await fit(model, { train: data.train.take(1024) }, { epochs: 3, batchSize: 64, optimizer });
  expect(rows[2]!.loss).toBeLessThan(rows[0]!.loss);
  for await (const { images, labels } of data.validation.batches({ batchSize: 128 })) {
    const accuracy = model.accuracy(await model.predict(images), labels);
    expect(accuracy).toBeGreaterThan(0.4);
    const metrics = await evaluate(model, data.validation.take(128));
    expect(metrics.accuracy).toBeCloseTo(accuracy, 6);
    expect(metrics.loss).toBeGreaterThan(0);
    break;
  }
});

test("a disposed model refuses everything and ends what runs", async () => {
  const model = new ResNet([[1, 8]], { numClasses: 4 });
  const run = fit(model, pictures(64), { epochs: 1000, batchSize: 16 });
  await run[Symbol.asyncIterator]().next();
  model.dispose();
  expect(await rejection(run)).toMatchObject({ name: "ResNetError", code: "ERR_DISPOSED" });
  const image = tensor(new Float32Array(256), [1, 1, 16, 16]);
  const calls = [
    () => model.predict(image),
    () => model.features(image),
    () => model.stateDict(),
    () => fit(model, pictures(8)),
    () => evaluate(model, pictures(8)),
    async () => new Trainer(model).step(image, [0]),
  ];
  for (const call of calls) expect(await rejection(call())).toMatchObject({ code: "ERR_DISPOSED" });
  model.dispose();
  expect(model).toBeInstanceOf(Model);
});

test("images that do not fit are refused, and the model goes on", async () => {
  using model = new ResNet([[1, 8]], { inChannels: 3 });
  const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
  expect(await rejection(model.predict(zeros(3, 16, 16)))).toMatchObject({
    code: "ERR_SHAPE",
    message: "images: expected a shape (N, C, H, W), got [3, 16, 16]",
  });
  expect(await rejection(model.predict(zeros(2, 1, 16, 16)))).toMatchObject({
    code: "ERR_SHAPE",
    message: expect.stringMatching(/3 channels, got 1/),
  });
  expect((await model.predict(zeros(2, 3, 16, 16))).shape).toEqual([2, 10]);
  expect(() => model.layerSummary([1, 3])).toThrow(expect.objectContaining({ code: "ERR_SHAPE" }));
});
