import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  balancedSampler,
  calibrate,
  cutmix,
  evaluate,
  fit,
  fromArrays,
  fromIterable,
  globalAvgPool2d,
  imageFolder,
  linear,
  loadModel,
  mixup,
  type Model,
  sequential,
  sgd,
  tensor,
  Trainer,
  binaryCrossEntropy,
} from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { any, collect, digest, rejection } from "./pictures.js";
import { png } from "./png.js";

const [N, K] = [48, 3];
/** Which of red, green and blue there is: bit by bit. */
const bits = Array.from({ length: N }, (_, n) => [n & 1, (n >> 1) & 1, (n >> 2) & 1]);
const images = new Uint8Array(N * K * 16);
for (const [n, row] of bits.entries()) for (const [k, bit] of row.entries()) images.fill(bit * 200 + ((n * 7) % 50), (n * K + k) * 16, (n * K + k + 1) * 16);
const classNames = ["red", "green", "blue"];
const data = fromArrays({ images, shape: [N, K, 4, 4], labels: { data: bits.flat(), shape: [N, K] }, classNames });
const optimizer = sgd({ lr: 2, momentum: 0.9 });
const colours = (): Model => sequential([globalAvgPool2d(), linear(K)], { inChannels: K, seed: 1 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multi-label-"));
  for (const [name, colour] of Object.entries({ both: [200, 200, 0], red: [200, 0, 0], none: [0, 0, 0], green: [0, 200, 0] })) {
    await writeFile(join(folder, `${name}.png`), png(8, 8, (_x, _y) => colour as [number, number, number]));
  }
});
afterAll(() => rm(folder, { recursive: true }));

test("a matrix of labels comes out as it went in: whole, by batches, by parts and mixed", async () => {
  expect([data.labelKind, data.numClasses, data.length, data.labels]).toEqual(["multi", K, N, Uint8Array.from(bits.flat())]);
  const [first, second] = await collect(data, { batchSize: 40 });
  expect([first!.labels, second!.labels]).toEqual([Uint8Array.from(bits.slice(0, 40).flat()), Uint8Array.from(bits.slice(40).flat())]);
  for (const { labels, indices } of await collect(data, { batchSize: 7, shuffle: true, seed: 3, loaderThreads: 2 })) {
    expect([...labels]).toEqual([...indices].flatMap((index) => bits[index]!));
  }
  const { train, validation } = data.split({ fraction: 0.25 });
  expect([train.length, validation.length, validation.labelKind]).toEqual([36, 12, "multi"]);
  expect(data.subset([5, 2]).concat(data.take(1)).labels).toEqual(Uint8Array.from([...bits[5]!, ...bits[2]!, ...bits[0]!]));
  for (const augment of [[mixup({ alpha: 1 })], [cutmix({ alpha: 1 })]]) {
    const [batch] = await collect(data, { batchSize: N, augment });
    expect(batch!.mixed!.labels).toEqual(Uint8Array.from([...bits.at(-1)!, ...bits.slice(0, -1).flat()]));
  }
});

test("training, its file, its pictures' classes and its measures", async () => {
  using model = colours();
  const { rows } = await fit(model, { train: data, validation: data }, { epochs: 40, batchSize: 16, optimizer });
  expect(rows.at(-1)!.loss).toBeLessThan(rows[0]!.loss / 3);
  const measured = await evaluate(model, data, { byClass: true });
  expect(measured).toMatchObject({ accuracy: 1, macroF1: 1, microF1: 1, exactMatch: 1, loss: expect.closeTo(rows.at(-1)!.validationLoss!, 9) });
  expect(measured.classes).toEqual(classNames.map((name, label) => ({ name, label, precision: 1, recall: 1, f1: 1, support: N / 2 })));
  expect(measured.confusion).toBeUndefined();
  const flipped = await evaluate(model, data, { flips: true });
  expect([flipped.exactMatch, flipped.classes, flipped.loss]).toEqual([1, undefined, expect.closeTo(measured.loss, 6)]);
  const [{ images: pixels, labels }] = (await collect(data, { batchSize: N })) as [Awaited<ReturnType<typeof collect>>[0]];
  const logits = await model.predict(pixels);
  expect([model.accuracy(logits, labels), model.accuracy(logits, labels.map((label) => 1 - label))]).toEqual([1, 0]);

  const path = join(folder, "colours.safetensors");
  await model.save(path);
  using loaded = await loadModel(path);
  expect([loaded.labelKind, loaded.classNames]).toEqual(["multi", classNames]);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const found = await loaded.classify(pixels);
  for (const [n, classes] of found.entries()) {
    expect(classes.map(({ label }) => label).toSorted()).toEqual([0, 1, 2].filter((k) => bits[n]![k] === 1));
    for (const { label, probability } of classes) expect(probability).toBeCloseTo(sigmoid(logits.data[n * K + label]!), 6);
  }
  const [all] = await loaded.classify(tensor(pixels.data.subarray(0, 48), [1, 3, 4, 4]), { top: 2 });
  expect([all!.length, all!.every(({ probability }) => probability < 0.5)]).toEqual([2, true]);
  const { lossBefore, lossAfter } = await calibrate(loaded, data);
  expect(lossBefore).toBeCloseTo(measured.loss, 6);
  expect(lossAfter).toBeLessThanOrEqual(lossBefore);
});

test("a fit is steps of one's own with binary cross-entropy, mixed or not, and the same on any number of threads", async () => {
  const augment = [mixup({ alpha: 1 })];
  using stepped = colours();
  const trainer = new Trainer(stepped, { optimizer, loss: binaryCrossEntropy(), labelSmoothing: 0.1 });
  for (const batch of await collect(data, { batchSize: 16, shuffle: true, augment, seed: 1 })) {
    await trainer.step(batch.images, batch.labels, { mixed: batch.mixed! });
  }
  for (const threads of [1, 2]) {
    using fitted = sequential([globalAvgPool2d(), linear(K)], { inChannels: K, seed: 1, threads });
    await fit(fitted, data, { batchSize: 16, optimizer, augment, labelSmoothing: 0.1, loaderThreads: threads });
    expect(await digest(fitted)).toBe(await digest(stepped));
  }
});

test("labels of one kind where the other is meant are an error", async () => {
  using model = colours();
  const single = fromArrays({ images, shape: [N, K, 4, 4], labels: bits.map(([red]) => red!), classNames });
  await fit(model, data, { optimizer });
  const refused = async (call: PromiseLike<unknown>, code: string, message: string) => {
    expect(await rejection(call)).toMatchObject({ code, message: expect.stringContaining(message) });
  };
  const meant = "expected any number of labels for each sample (labels: \"multi\"), as the model has been trained on, got one label for each sample";
  await refused(evaluate(model, single), "ERR_LABEL", `data: ${meant}`);
  await refused(calibrate(model, single), "ERR_LABEL", `data: ${meant}`);
  await refused(fit(model, { train: data, validation: single }), "ERR_LABEL", `validation: ${meant}`);
  await refused(evaluate(model, data, { topK: 2 }), "ERR_INVALID_ARGUMENT", "topK: expected none of data with any number of labels for each sample, got 2");
  using wider = sequential([globalAvgPool2d(), linear(4)], { inChannels: K });
  await refused(fit(wider, data), "ERR_SHAPE", "labels: expected one for each of the network's 4 classes and each sample, got 3 for each sample");
  await refused(fit(model, data, { sampler: balancedSampler() }), "ERR_INVALID_ARGUMENT", "sampler: expected data with one label for each sample");
  const invalid = (message: string) => expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(message) });
  expect(() => data.classWeights()).toThrow(invalid("classWeights: expected data with one label for each sample"));
  expect(() => data.batches({ sampler: balancedSampler() })).toThrow(invalid("sampler: expected data with one label"));
  expect(() => data.concat(single)).toThrow(invalid("concat[1]: expected any number of labels"));
  const arrays = { images: new Uint8Array(2 * 4), shape: [2, 1, 2, 2] };
  for (const [labels, code, message] of [
    [{ data: [1, 0, 2, 0], shape: [2, 2] }, "ERR_LABEL", "labels.data[2]: expected 1 for a class that the sample is of, or 0, got 2"],
    [{ data: [1, 0, 1], shape: [3, 1] }, "ERR_SHAPE", "labels: expected one for each of 2 images, got 3"],
    [{ data: [1, 0, 1], shape: [2, 2] }, "ERR_SHAPE", "labels.data: expected 4 values, got 3"],
    [{ data: [1, 0], shape: [2] }, "ERR_SHAPE", "labels.shape: expected (N, classes), got [2]"],
  ] as const) {
    expect(() => fromArrays({ ...arrays, labels })).toThrow(expect.objectContaining({ code, message }));
  }
  expect(() => fromArrays({ ...arrays, labels: { data: [1, 0], shape: [2, 1] }, classNames })).toThrow(expect.objectContaining({ code: "ERR_SHAPE" }));
  await model.setInterface({ labelKind: "single" });
  await refused(evaluate(model, data), "ERR_LABEL", "data: expected one label for each sample");
  await refused(model.setInterface({ labelKind: any("both") }), "ERR_INVALID_ARGUMENT", 'interface.labelKind: expected "single" or "multi", got "both"');
});

test("lists name any number of classes, and so do samples of an iterable", async () => {
  const list = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const csv = await list("list.csv", "path,label,split\nboth.png,red | green,\nred.png,red,train\nnone.png,,val\ngreen.png,green,val\n");
  const { train, validation } = await imageFolder(csv, { size: 4, labels: "multi" });
  expect([train.classNames, [...train.labels], [...validation!.labels]]).toEqual([["green", "red"], [1, 1, 0, 1], [0, 0, 1, 0]]);
  const rows = [{ path: "both.png", label: ["red", "green", "red"] }, { path: "none.png", label: [] }, { path: "red.png", label: "red" }];
  const jsonl = await list("list.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
  const ordered = await imageFolder(jsonl, { size: 4, labels: "multi", classNames: ["red", "green"] });
  expect([ordered.train.labelKind, [...ordered.train.labels]]).toEqual(["multi", [1, 1, 0, 0, 1, 0]]);
  const refused = async (call: Promise<unknown>, code: string, message: string) => {
    expect(await rejection(call)).toMatchObject({ code, message: expect.stringContaining(message) });
  };
  await refused(imageFolder(folder, { labels: "multi" }), "ERR_INVALID_ARGUMENT", 'labels: expected "single" for a folder');
  await refused(imageFolder(jsonl, { size: 4 }), "ERR_DATA_CORRUPT", "list.jsonl:1: expected a path and a label in each row");
  const other = await list("other.csv", "path,label,split\nred.png,red,\nboth.png,red|green,val\n");
  await refused(imageFolder(other, { size: 4, labels: "multi" }), "ERR_DATA_NOT_FOUND", 'only classes that there are for training, ["red"], got "green"');
  expect([...(await imageFolder(other, { size: 4, labels: "multi", onError: "skip" })).validation!.labels]).toEqual([1]);
  const empty = await list("empty.csv", "path,label\nnone.png,\n");
  await refused(imageFolder(empty, { size: 4, labels: "multi" }), "ERR_DATA_NOT_FOUND", "expected at least one class, got none");
  await refused(imageFolder(await list("gap.csv", "path,label\nred.png,red||green\n"), { labels: "multi" }), "ERR_DATA_CORRUPT", "gap.csv:2");

  const samples = [{ image: join(folder, "both.png"), label: ["red", "green"] }, { image: join(folder, "none.png"), label: [] }];
  const set = await fromIterable(samples, { size: 4, labels: "multi" });
  expect([set.classNames, [...set.labels]]).toEqual([["red", "green"], [1, 1, 0, 0]]);
  await refused(fromIterable([{ image: samples[0]!.image, label: "red" }], { labels: "multi" }), "ERR_INVALID_ARGUMENT", "samples[0].label: expected an array of classes");
  await refused(fromIterable(samples, { size: 4 }), "ERR_LABEL", "samples[0].label: expected a name or an integer");
  await refused(fromIterable([samples[1]!], { labels: "multi", size: 4 }), "ERR_LABEL", "samples: expected at least one class, got none");
});
