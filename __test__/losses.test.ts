import { binaryCrossEntropy, crossEntropy, evaluate, fit, focal, fromArrays, globalAvgPool2d, linear, type Model, sequential, sgd, tensor, Trainer, type UpdateOptions } from "resnet-native";
import { expect, test } from "vitest";
import { any, rejection } from "./pictures.js";

const [N, K] = [6, 3];
const images = tensor(Float32Array.from({ length: N * 2 * 4 }, (_, i) => Math.sin(i * i)), [N, 2, 2, 2]);
const labels = Uint32Array.from([0, 2, 1, 1, 0, 2]);
const others = Uint32Array.from([2, 0, 2, 1, 1, 0]);
const matrix = Uint8Array.from([1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0]);
const weights = [0.5, 2, 1.25];
const data = fromArrays({ images: images.data, shape: images.shape, labels });
const sets = fromArrays({ images: images.data, shape: images.shape, labels: { data: matrix, shape: [N, K] } });

const model = (): Model => sequential([globalAvgPool2d(), linear(K)], { inChannels: 2, seed: 5 });
const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const sum = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

/** The logits of the untrained model, row by row. */
async function logits(): Promise<number[][]> {
  using untrained = model();
  const { data } = await untrained.predict(images);
  return range(N).map((n) => [...data.subarray(n * K, (n + 1) * K)]);
}

/** The loss of the definition: how much each class is wanted, its weight and the focus; what the sum is divided by. */
async function defined(wanted: (n: number, k: number) => number, gamma: number, weighted: boolean, divisor = N): Promise<number> {
  const rows = await logits();
  const part = (n: number, k: number) => {
    const p = Math.exp(rows[n]![k]!) / sum(rows[n]!.map(Math.exp));
    return -(weighted ? weights[k]! : 1) * wanted(n, k) * (1 - p) ** gamma * Math.log(p);
  };
  return sum(range(N * K).map((i) => part(Math.floor(i / K), i % K))) / divisor;
}

const stepped = async (options: UpdateOptions, wanted: Uint32Array | Uint8Array = labels, mixed?: { labels: Uint32Array | Uint8Array; share: number }) => {
  using fresh = model();
  return (await new Trainer(fresh, options).step(images, wanted, mixed && { mixed })).loss;
};

test("smoothing, weights and a focus are the definition's, one by one and together", async () => {
  const hot = (n: number, k: number) => Number(labels[n] === k);
  const smooth = (n: number, k: number) => 0.7 * hot(n, k) + 0.3 / K;
  const total = sum([...labels].map((label) => weights[label]!));
  expect(await stepped({ loss: crossEntropy() })).toBe(await stepped({}));
  expect(await stepped({ labelSmoothing: 0.3 })).toBeCloseTo(await defined(smooth, 0, false), 6);
  expect(await stepped({ labelSmoothing: 0.3, classWeights: weights })).toBeCloseTo(await defined(smooth, 0, true, total), 6);
  expect(await stepped({ loss: focal() })).toBeCloseTo(await defined(hot, 2, false), 6);
  expect(await stepped({ loss: focal({ gamma: 0 }), classWeights: weights })).toBeCloseTo(await defined(hot, 0, true, total), 6);
  const mixed = (n: number, k: number) => 0.75 * hot(n, k) + 0.25 * Number(others[n] === k);
  expect(await stepped({ loss: focal({ gamma: 1.5 }), classWeights: weights }, labels, { labels: others, share: 0.75 })).toBeCloseTo(await defined(mixed, 1.5, true), 6);
});

test("binary cross-entropy is the mean over samples and classes, also of mixed ones", async () => {
  const rows = await logits();
  const binary = (wanted: (i: number) => number, positive = [1, 1, 1]) => {
    const part = (x: number, t: number, k: number) => positive[k]! * t * Math.log1p(Math.exp(-x)) + (1 - t) * Math.log1p(Math.exp(x));
    return sum(rows.flat().map((x, i) => part(x, wanted(i), i % K))) / (N * K);
  };
  const loss = binaryCrossEntropy();
  expect(await stepped({ loss }, matrix)).toBeCloseTo(binary((i) => matrix[i]!), 6);
  expect(await stepped({ loss, labelSmoothing: 0.2 }, matrix)).toBeCloseTo(binary((i) => 0.8 * matrix[i]! + 0.1), 6);
  const positiveWeights = [3, 1, 0.5];
  expect(await stepped({ loss: binaryCrossEntropy({ positiveWeights }) }, matrix)).toBeCloseTo(binary((i) => matrix[i]!, positiveWeights), 6);
  const reversed = matrix.toReversed();
  const mixed = { labels: reversed, share: 0.3 };
  expect(await stepped({ loss }, matrix, mixed)).toBeCloseTo(binary((i) => 0.3 * matrix[i]! + 0.7 * reversed[i]!), 6);
});

test("what training makes small is not what validation tells", async () => {
  using fitted = model();
  const options = { batchSize: N, shuffle: false, optimizer: sgd({ lr: 0 }), labelSmoothing: 0.3, loss: focal() };
  const { rows } = await fit(fitted, { train: data, validation: data }, options);
  const plain = await defined((n, k) => Number(labels[n] === k), 0, false);
  expect(rows[0]!.loss).toBeCloseTo(await defined((n, k) => 0.7 * Number(labels[n] === k) + 0.1, 2, false), 6);
  expect(rows[0]!.validationLoss).toBeCloseTo(plain, 6);
  expect((await evaluate(fitted, data)).loss).toBeCloseTo(plain, 6);
});

test("a loss that is not for the data is refused before anything is trained", async () => {
  using fresh = model();
  const refused = async (set: typeof data, options: UpdateOptions, message: string) => {
    expect(await rejection(fit(fresh, set, options))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(message) });
  };
  await refused(data, { loss: binaryCrossEntropy() }, "loss: expected crossEntropy or focal for data with one label for each sample, got binaryCrossEntropy");
  await refused(sets, { loss: focal() }, "loss: expected binaryCrossEntropy for data with any number of labels");
  await refused(data, { classWeights: [1, 2] }, "classWeights: expected a number of at least 0 for each of the network's 3 classes");
  await refused(sets, { loss: binaryCrossEntropy({ positiveWeights: [1] }) }, "positiveWeights: expected a number of at least 0 for each");
  await refused(data, { labelSmoothing: 1 }, "labelSmoothing: expected a finite number from 0 to below 1, got 1");
  await refused(data, { loss: any({ name: "focal" }) }, "loss: expected a loss such as focal({ gamma: 2 })");
  expect(() => focal({ gamma: -1 })).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
  expect(() => binaryCrossEntropy({ positiveWeights: [-1] })).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
  const trainer = new Trainer(fresh, { loss: binaryCrossEntropy() });
  expect(await rejection(trainer.step(images, labels))).toMatchObject({ code: "ERR_LABEL", message: "labels[1]: expected 1 for a class that the sample is of, or 0, got 2" });
  expect(await rejection(trainer.step(images, matrix.subarray(0, 12)))).toMatchObject({ code: "ERR_SHAPE", message: "labels: expected one for each of the network's 3 classes and each sample, got 2 for each sample" });
  expect(await rejection(trainer.step(images, matrix.subarray(0, 13)))).toMatchObject({ code: "ERR_SHAPE", message: "labels: expected (N, classes) values for 6 samples, got 13" });
});
