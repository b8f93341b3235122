import { evaluate, fit, fromArrays, type Model, ResNet, sgd } from "resnet-native";
import { expect, test } from "vitest";
import { collect, pictures, rejection } from "./pictures.js";

const data = pictures(90, { classes: 5 });
const network = (numClasses = 5): Model => new ResNet([[1, 8]], { numClasses, inChannels: 1, seed: 2 });

/** The places of a row's logits, the largest first; of equal ones the first. */
async function ranked(model: Model, flips: boolean): Promise<number[][]> {
  const [batch] = await collect(data, { batchSize: 90 });
  const { data: logits, shape } = await model.predict(batch!.images, { flips });
  const rows = Array.from({ length: 90 }, (_, n) => [...logits.subarray(n * shape[1]!, (n + 1) * shape[1]!)]);
  return rows.map((row) => row.map((_, k) => k).toSorted((a, b) => row[b]! - row[a]! || a - b));
}

test("top-k accuracy, confusion, precision, recall and F1 follow from the logits", async () => {
  using model = network(6);
  await fit(model, data, { epochs: 4, optimizer: sgd({ lr: 0.1, momentum: 0.9 }), batchSize: 30 });
  const [rows, labels] = [await ranked(model, false), [...data.labels]];
  const measured = await evaluate(model, data, { topK: 2, byClass: true, batchSize: 50 });
  const counted = (rows: number[][]) => {
    const taken = (row: number, column: number) => rows.filter((ranks, n) => labels[n] === row && ranks[0] === column).length;
    return Array.from({ length: 6 }, (_, row) => Array.from({ length: 6 }, (_, column) => taken(row, column)));
  };
  const confusion = counted(rows);
  expect(measured.confusion).toEqual(confusion);
  expect(new Set(rows.map(([best]) => best)).size).toBeGreaterThan(1);
  expect(measured.topKAccuracy).toBe(rows.filter((ranks, n) => ranks.slice(0, 2).includes(labels[n]!)).length / 90);
  const over = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const classes = confusion.map((row, label) => {
    const [right, support, taken] = [row[label]!, row.reduce((a, b) => a + b), confusion.reduce((sum, row) => sum + row[label]!, 0)];
    return { name: String(label), label, precision: over(right, taken), recall: over(right, support), f1: over(2 * right, taken + support), support };
  });
  expect(measured.classes).toEqual(classes);
  const present = classes.filter(({ support }, label) => support > 0 || confusion.some((row) => row[label]! > 0));
  expect(measured.macroF1).toBeCloseTo(present.reduce((sum, { f1 }) => sum + f1, 0) / present.length, 12);
  expect(measured.accuracy).toBe(confusion.reduce((sum, row, label) => sum + row[label]!, 0) / 90);
  expect([measured.microF1, measured.exactMatch]).toEqual([undefined, undefined]);
  expect((await evaluate(model, data, { topK: 6 })).topKAccuracy).toBe(1);
  expect((await evaluate(model, data, { topK: 1 })).topKAccuracy).toBe(measured.accuracy);
  const { loss, accuracy } = measured;
  expect(await evaluate(model, data)).toEqual({ loss, accuracy });
  expect((await evaluate(model, data, { flips: true, byClass: true })).confusion).toEqual(counted(await ranked(model, true)));
});

test("names come from the data or the model, and impossible requests are refused", async () => {
  using model = network();
  const named = fromArrays({ images: new Uint8Array(5 * 4), shape: [5, 1, 2, 2], labels: [0, 1, 2, 3, 4], classNames: ["a", "b", "c", "d", "e"] });
  expect((await evaluate(model, named, { byClass: true })).classes!.map(({ name }) => name)).toEqual(["a", "b", "c", "d", "e"]);
  await model.setInterface({ classNames: ["x", "y"] });
  expect((await evaluate(model, data, { byClass: true })).classes!.map(({ name }) => name)).toEqual(["x", "y", "2", "3", "4"]);
  expect(await rejection(evaluate(model, data, { topK: 6 }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: "topK: expected from 1 to the network's 5 classes, got 6" });
  expect(await rejection(evaluate(model, data, { topK: 0 }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});
