import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  calibrate,
  evaluate,
  fit,
  fromArrays,
  globalAvgPool2d,
  loadModel,
  type Model,
  type PictureTransform,
  preprocess,
  sequential,
  tensor,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, rejection } from "./pictures.js";

const fixtures = fileURLToPath(new URL("../crates/resnet-core/tests/fixtures/pictures/", import.meta.url));
const file = join(fixtures, "rgb.png");
const transform: PictureTransform = { size: [4, 4], fit: "stretch", channels: 3, background: [255, 255, 255] };
const classNames = ["red", "green", "blue"];

/** A network whose logits are how much red, green and blue there is. */
async function colours(): Promise<Model> {
  const model = sequential([globalAvgPool2d()], { inChannels: 3 });
  await model.setInterface({ transform, classNames });
  return model;
}

/** Pixels of one colour. */
const plain = (colour: readonly number[], width = 6, height = 5) => ({
  data: Uint8Array.from({ length: width * height * colour.length }, (_, i) => colour[i % colour.length]!),
  info: { width, height, channels: colour.length },
});

test("a picture's classes come sorted, by name, with the softmax of the logits", async () => {
  using model = await colours();
  const found = await model.classify(plain([0, 255, 51]));
  expect(found.map(({ name, label }) => [name, label])).toEqual([["green", 1], ["blue", 2], ["red", 0]]);
  const sum = 1 + Math.exp(1) + Math.exp(0.2);
  for (const [i, value] of [Math.exp(1), Math.exp(0.2), 1].entries()) expect(found[i]!.probability).toBeCloseTo(value / sum, 6);
});

test("every form of a picture gives the same", async () => {
  using model = await colours();
  const bytes = readFileSync(file);
  const images = await preprocess(file, transform);
  const found = await model.classify(file);
  const forms = [new URL(`file://${file}`), bytes, new Uint8Array(bytes), Uint8Array.from(bytes).buffer];
  expect(await model.classify(forms)).toEqual(forms.map(() => found));
  expect(await model.classify(images)).toEqual([found]);
  const many = tensor(Float32Array.from({ length: 70 * 48 }, (_, i) => images.data[i % 48]!), [70, 3, 4, 4]);
  expect(await model.classify(many)).toEqual(Array.from({ length: 70 }, () => found));
});

test("top, minConfidence and names that are missing", async () => {
  using model = await colours();
  const picture = plain([255, 0, 0]);
  expect((await model.classify(picture, { top: 1 })).map(({ name }) => name)).toEqual(["red"]);
  expect(await model.classify(picture, { minConfidence: 0.6 })).toEqual([]);
  expect(await model.classify([picture, picture], { minConfidence: 0.5 })).toMatchObject([[{ name: "red" }], [{ name: "red" }]]);
  await model.setInterface({ transform, classNames: ["red"] });
  expect((await model.classify(picture)).map(({ name }) => name)).toEqual(["red", "1", "2"]);
});

test("flips looks at the mirror image too", async () => {
  using model = sequential([globalAvgPool2d()], { inChannels: 3 });
  const images = tensor(Float32Array.from({ length: 48 }, (_, i) => i / 48), [1, 3, 4, 4]);
  // A mean does not see a mirror.
  expect(await model.classify(images, { flips: true })).toEqual(await model.classify(images));
});

test("fit tells the model what it takes, files keep it, and other data take its place", async () => {
  const folder = mkdtempSync(join(tmpdir(), "resnet-native-"));
  const data = fromArrays({ images: new Uint8Array(6 * 48), shape: [6, 3, 4, 4], labels: [0, 1, 2, 0, 1, 2], classNames });
  using model = sequential([globalAvgPool2d()]);
  expect([model.transform, model.classNames, model.temperature]).toEqual([undefined, undefined, 1]);
  await fit(model, data);
  expect([model.classNames, model.transform]).toEqual([classNames, data.transform]);
  await model.setInterface({ transform, classNames, temperature: 2 });
  await model.save(join(folder, "m.safetensors"));
  using loaded = await loadModel(join(folder, "m.safetensors"));
  expect([loaded.transform, loaded.classNames, loaded.temperature]).toEqual([transform, classNames, 2]);
  expect(await loaded.classify(file)).toEqual(await model.classify(file));
  const unnamed = fromArrays({ images: new Float32Array(6 * 48), shape: [6, 3, 4, 4], labels: [0, 1, 2, 0, 1, 2] });
  await fit(loaded, unnamed);
  expect([loaded.classNames, loaded.temperature]).toEqual([undefined, 1]);
});

test("calibration makes probabilities fit, and keeps the order", async () => {
  using model = await colours();
  // One in four is labelled otherwise, so that three quarters is the best probability of two classes.
  const images = Float32Array.from({ length: 8 * 3 }, (_, i) => [9, 0, -90][i % 3]!);
  const data = fromArrays({ images, shape: [8, 3, 1, 1], labels: [0, 0, 0, 1, 0, 0, 0, 1] });
  const { temperature, lossBefore, lossAfter } = await calibrate(model, data, { batchSize: 3 });
  expect(temperature).toBeCloseTo(9 / Math.log(3), 1);
  expect(lossAfter).toBeLessThan(lossBefore);
  expect(model.temperature).toBe(temperature);
  const [[best] = []] = await model.classify(tensor(images.subarray(0, 3), [1, 3, 1, 1]));
  expect(best).toMatchObject({ name: "red", probability: expect.closeTo(0.75, 2) });
});

test("what is no picture, and a model that takes none, are named", async () => {
  using model = await colours();
  const wrong: [unknown, string, RegExp][] = [
    [1, "ERR_INVALID_ARGUMENT", /pictures: expected a picture: a path/],
    [[], "ERR_INVALID_ARGUMENT", /pictures: expected at least one/],
    [[file, null], "ERR_INVALID_ARGUMENT", /pictures\[1\]/],
    ["/nowhere.jpg", "ERR_IO", /nowhere/],
    [Buffer.from("hello"), "ERR_DATA_CORRUPT", /another kind/],
    [{ ...plain([1, 2, 3]), data: new Uint8Array(5) }, "ERR_SHAPE", /5x6 pixels of 3/],
    [{ data: new Uint8Array(5), info: { width: 5, height: 1, channels: 5 } }, "ERR_INVALID_ARGUMENT", /channels/],
    [{ data: [1], info: { width: 1, height: 1, channels: 1 } }, "ERR_INVALID_ARGUMENT", /data/],
    [tensor([1, 2], [1, 2, 1, 1]), "ERR_SHAPE", /3 channels/],
    [tensor([Number.NaN, 0, 0], [1, 3, 1, 1]), "ERR_NON_FINITE_LOSS", /logits/],
    [Proxy.revocable({}, {}).proxy, "ERR_INVALID_ARGUMENT", /pictures/],
  ];
  for (const [picture, code, message] of wrong) {
    expect(await rejection(model.classify(any(picture)))).toMatchObject({ code, message: expect.stringMatching(message) });
  }
  using numbers = sequential([globalAvgPool2d()], { inChannels: 3 });
  expect(await rejection(numbers.classify(file))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: /setInterface/ });
});

test("an interface that cannot be, or does not fit, is refused, and the old one stays", async () => {
  using model = await colours();
  const wrong: [unknown, string][] = [
    [null, "ERR_INVALID_ARGUMENT"],
    [{ classNames: [1] }, "ERR_INVALID_ARGUMENT"],
    [{ temperature: 0 }, "ERR_INVALID_ARGUMENT"],
    [{ transform: { size: [1, 2] } }, "ERR_INVALID_ARGUMENT"],
    [{ transform, classNames: ["a", "b", "c", "d"] }, "ERR_SHAPE"],
    [{ transform: { ...transform, channels: 1 } }, "ERR_SHAPE"],
  ];
  for (const [given, code] of wrong) expect(await rejection(model.setInterface(any(given)))).toMatchObject({ code });
  expect([model.transform, model.classNames]).toEqual([transform, classNames]);
});

test("data whose classes stand in another order are refused, for evaluation, calibration and validation", async () => {
  using model = await colours();
  const data = (names: string[]) => fromArrays({ images: new Uint8Array(6 * 48), shape: [6, 3, 4, 4], labels: [0, 1, 2, 0, 1, 2], classNames: names });
  const other = data(["green", "red", "blue"]);
  const calls: (() => PromiseLike<unknown>)[] = [
    () => evaluate(model, other),
    () => evaluate(model, other, { flips: true }),
    () => calibrate(model, other),
    () => fit(model, { train: data(classNames), validation: other }),
  ];
  for (const call of calls) {
    expect(await rejection(call())).toMatchObject({ code: "ERR_LABEL", message: expect.stringMatching(/class 0 to be "red".*got "green"/) });
  }
  expect((await evaluate(model, data(classNames))).accuracy).toBeCloseTo(1 / 3);
});
