import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CifarResNet, fromArrays, imageFolder, mistakes, type Model, ResNet, tensor } from "resnet-native";
import { expect, test } from "vitest";
import { any, collect, pictures, rejection } from "./pictures.js";
import { colourFolder } from "./png.js";

const network = (numClasses = 4): Model => new ResNet([[1, 8]], { numClasses, inChannels: 1, seed: 2 });

test("mistakes are the surest wrong classes of all samples, whatever the batches", async () => {
  using model = network();
  const data = pictures(70);
  const [batch] = await collect(data, { batchSize: 70 });
  const told = await model.classify(batch!.images, { top: 4 });
  const wrong = told.flatMap(([best, ...rest], index) => {
    const label = batch!.labels[index]!;
    return best!.label === label ? [] : [{ index, predicted: [best], labels: rest.filter((one) => one.label === label), probability: best!.probability }];
  });
  const expected = wrong.toSorted((a, b) => b.probability - a.probability || a.index - b.index);
  expect(expected.length).toBeGreaterThan(20);
  const found = await mistakes(model, data, { count: 1000, batchSize: 16 });
  expect(found.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(expected.map(({ index }) => index).toSorted((a, b) => a - b));
  for (const [i, one] of found.entries()) {
    const same = expected.find(({ index }) => index === one.index)!;
    expect(one).toEqual({ ...same, probability: expect.closeTo(same.probability, 5), predicted: [{ ...same.predicted[0], probability: expect.closeTo(same.probability, 5) }], labels: [{ ...same.labels[0], probability: expect.closeTo(same.labels[0]!.probability, 5) }] });
    if (i > 0) expect(one.probability).toBeLessThanOrEqual(found[i - 1]!.probability);
  }
  expect(await mistakes(model, data, { count: 3, batchSize: 16 })).toEqual(found.slice(0, 3));
});

test("a model that is right about all samples has none", async () => {
  using model = network();
  const { images } = (await collect(pictures(8)))[0]!;
  const labels = (await model.classify(images, { top: 1 })).map(([best]) => best!.label);
  const data = fromArrays({ images: Float32Array.from(images.data), shape: images.shape, labels: [...labels] });
  expect(await mistakes(model, data)).toEqual([]);
});

test("pictures in files have their paths, and names are the data's", async () => {
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-mistakes-"));
  try {
    await colourFolder(folder, ["blue", "green"], 6);
    const { train } = await imageFolder(folder, { size: 16 });
    using model = new CifarResNet({ depth: 8, numClasses: 2, inChannels: 3 });
    const found = await mistakes(model, train);
    expect(found.length).toBeGreaterThan(0);
    for (const { index, path, labels, predicted } of found) {
      const name = ["blue", "green"][train.labels[index]!]!;
      expect(path!.startsWith(join(folder, name))).toBe(true);
      expect(labels.map(({ name }) => name)).toEqual([name]);
      expect(predicted.map(({ name }) => name)).toEqual([name === "blue" ? "green" : "blue"]);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("of any number of labels, a mistake is as sure as its most wrong decision", async () => {
  using model = network(3);
  await model.setInterface({ labelKind: "multi", classNames: ["a", "b", "c"] });
  const images = (await collect(pictures(5)))[0]!.images;
  const told = await model.classify(images, { minConfidence: 0 });
  // The first is all right, of each of the others all is wrong.
  const matrix = told.flatMap((classes, n) => [0, 1, 2].map((label) => Number((classes.find((one) => one.label === label)!.probability >= 0.5) === (n === 0))));
  const data = fromArrays({ images: Float32Array.from(images.data), shape: images.shape, labels: { data: matrix, shape: [5, 3] } });
  const found = await mistakes(model, data);
  expect(found.map(({ index }) => index).toSorted()).toEqual([1, 2, 3, 4]);
  for (const { index, labels, predicted, probability } of found) {
    const sure = told[index]!.map((one) => Math.max(one.probability, 1 - one.probability));
    expect(probability).toBeCloseTo(Math.max(...sure), 5);
    expect(labels.map(({ label }) => label).toSorted()).toEqual([0, 1, 2].filter((label) => matrix[index * 3 + label] === 1));
    expect([...labels, ...predicted]).toHaveLength(3);
  }
});

test("what cannot be is refused, and a signal stops it", async () => {
  using model = network();
  const data = pictures(70);
  const code = async (...args: unknown[]) => rejection(mistakes(...(args as Parameters<typeof mistakes>)));
  expect(await code({}, data)).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^model: /) });
  expect(await code(model, [])).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^data: /) });
  expect(await code(model, data, { count: 0 })).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^count: /) });
  expect(await code(model, data, { counts: 3 })).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining("did you mean count?") });
  expect(await code(model, pictures(70, { classes: 5 }))).toMatchObject({ code: "ERR_LABEL", message: "data: expected at most the network's 4 classes, got 5" });
  expect(await code(model, pictures(8, { channels: 3 }))).toMatchObject({ code: "ERR_SHAPE" });
  const multi = fromArrays({ images: new Uint8Array(256), shape: [1, 1, 16, 16], labels: { data: [1, 0, 0, 0], shape: [1, 4] } });
  expect(await code(model, multi)).toMatchObject({ code: "ERR_LABEL", message: expect.stringMatching(/^data: /) });
  const reason = new Error("enough");
  expect(await code(any(null), data, { signal: AbortSignal.abort(reason) })).toBe(reason);
  const controller = new AbortController();
  const running = rejection(mistakes(model, data, { batchSize: 1, signal: controller.signal }));
  controller.abort(reason);
  expect(await running).toBe(reason);
  await model.predict(tensor(new Float32Array(256), [1, 1, 16, 16]));
});
