import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  evaluate,
  fit,
  type FitEvent,
  fromArrays,
  globalAvgPool2d,
  linear,
  loadModel,
  ResNet,
  sequential,
  sgd,
  type Tensor,
  tensor,
  Trainer,
} from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digest, rejection } from "./pictures.js";
import { writeWeights } from "./weights.js";

const tiny = () => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });
const LABELS = [0, 1, 2, 3];
/** What a variance beyond f32 leads to. */
const SPOILED = "bn1.running_var: expected finite numbers, got Infinity";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
});
afterAll(async () => rm(folder, { recursive: true }));

/** Images of which the last has one value in all its pixels. */
function images(count: number, last: number): Tensor {
  const data = Float32Array.from({ length: count * 64 }, (_, i) => (i < (count - 1) * 64 ? (i % 23) / 23 : last));
  return tensor(data, [count, 1, 8, 8]);
}

/** The same as a data set. */
function set(count: number, last: number) {
  const { data, shape } = images(count, last);
  return fromArrays({ images: data, shape, labels: Array.from({ length: count }, (_, i) => i % 4) });
}

/** Logits and the class of which they are right, if any. The same rows are in `crates/resnet-ops/tests/finite.rs`. */
const ROWS: readonly (readonly [logits: readonly number[], right: number | undefined])[] = [
  [[1, 3, 2], 1],
  [[2, 3, 3], 1],
  [[-0, 0, -1], 0],
  [[NaN, 1, 2], undefined],
  [[1, 2, NaN], undefined],
  [[NaN, NaN, NaN], undefined],
  [[Infinity, NaN, 0], undefined],
  [[1, Infinity, 2], 1],
  [[1, Infinity, Infinity], 1],
  [[-Infinity, 1, 2], 2],
  [[-Infinity, -Infinity, -Infinity], 0],
];

test.each(ROWS)("of the logits %j class %s is right", (logits, right) => {
  using model = tiny();
  for (const label of [0, 1, 2]) {
    expect(model.accuracy(tensor(logits, [1, 3]), [label])).toBe(Number(label === right));
    const batch = tensor([0, 1, 0, ...logits, 1, 0, 0], [3, 3]);
    expect(model.accuracy(batch, [1, label, 0])).toBeCloseTo((2 + Number(label === right)) / 3, 12);
  }
});

test("evaluate counts as accuracy does, class by class, also where logits are NaN or infinite", async () => {
  const rows = [[1e-10, 2e-10, 0], [1e30, 1, 0], [0, 1e30, 1e30], [-1e30, -1e30, 1], [-1e30, -1e30, -1e30], [2, 2, 1]];
  const path = join(folder, "identity.safetensors");
  const identity = tensor([1e10, 0, 0, 0, 1e10, 0, 0, 0, 1e10], [3, 3]);
  const bias = tensor([0, 0, 0], [3]);
  // Behind one layer logits are infinite, behind a second one, which multiplies infinity by zero, NaN.
  await writeWeights(path, ["1", "2"].flatMap((name) => [[`${name}.weight`, identity], [`${name}.bias`, bias]] as const));
  for (const layers of [[linear(3)], [linear(3), linear(3)]]) {
    using model = sequential([globalAvgPool2d(), ...layers]);
    await model.loadWeights(path, { strict: false });
    const logits = await model.predict(tensor(rows.flat(), [6, 3, 1, 1]));
    expect(rows.filter((_, i) => logits.data.subarray(3 * i, 3 * i + 3).some(Number.isNaN))).toHaveLength(layers.length === 1 ? 0 : 4);
    for (const label of [0, 1, 2]) {
      const labels = rows.map(() => label);
      const data = fromArrays({ images: rows.flat(), shape: [6, 3, 1, 1], labels, classNames: ["a", "b", "c"] });
      const { loss, accuracy } = await evaluate(model, data, { batchSize: 4 });
      expect(loss).toBeNaN();
      expect(accuracy).toBe(model.accuracy(logits, labels));
    }
  }
});

test("a loss that is not finite changes nothing", async () => {
  using model = tiny();
  const before = await digest(model);
  const trainer = new Trainer(model);
  for (const last of [NaN, Infinity, -Infinity]) {
    expect(await rejection(trainer.step(images(4, last), LABELS))).toMatchObject({
      name: "ResNetError",
      code: "ERR_NON_FINITE_LOSS",
      message: "loss: expected a finite number, got NaN",
    });
  }
  expect(await digest(model)).toBe(before);
  expect((await model.predict(images(2, NaN))).data.subarray(4)).toEqual(new Float32Array(4).fill(NaN));
});

test("a step that spoils the weights says so, they stay lost, and a file brings others", async () => {
  using model = tiny();
  const path = join(folder, "good.safetensors");
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.05, momentum: 0.9 }) });
  await trainer.step(images(4, 0.5), LABELS);
  await model.save(path);
  const good = await readFile(path);
  const lost = { name: "ResNetError", code: "ERR_NON_FINITE_WEIGHTS" };
  // Pixels are finite, and the loss is.
  const message = `${SPOILED} after this step; these weights are lost`;
  expect(await rejection(trainer.step(images(4, 1e20), LABELS))).toMatchObject({ ...lost, message });
  expect((await model.stateDict()).get("bn1.running_var")!.data).toContain(Infinity);
  const again = { ...lost, message: `${SPOILED} before this step; these weights are lost` };
  expect(await rejection(trainer.step(images(4, 0.5), LABELS))).toMatchObject(again);
  expect(await rejection(new Trainer(model).step(images(4, 0.5), LABELS))).toMatchObject(again);
  expect(await rejection(fit(model, set(4, 0.5)))).toMatchObject({ ...lost, message: SPOILED, history: { rows: [] } });
  expect(await rejection(model.save(path))).toMatchObject({ ...lost, message: SPOILED });
  expect((await readFile(path)).equals(good)).toBe(true);
  await model.loadWeights(path);
  expect((await trainer.step(images(4, 0.5), LABELS)).loss).toBeLessThan(10);
  await model.save(path);
});

test("a fit names epoch and step, and keeps what was saved", async () => {
  using model = tiny();
  const path = join(folder, "fitted.safetensors");
  const events: FitEvent[] = [];
  const diverging = sgd({ lr: 1e38, weightDecay: 1e38 });
  const onEpochEnd = () => model.save(path);
  await fit(model, set(6, 0.5), { batchSize: 2, onEpochEnd });
  const good = await readFile(path);
  // In the last step of the first epoch, and in the first of all.
  const runs = [
    [set(6, 1e20), sgd({ lr: 0.1 }), `${SPOILED} after epoch 1, step 3; these weights are lost`],
    [set(6, 0.5), diverging, /^conv1\.weight: expected finite numbers, got -?(NaN|Infinity) after epoch 1, step 1; these weights are lost$/],
  ] as const;
  for (const [data, optimizer, message] of runs) {
    const run = fit(model, data, { epochs: 2, batchSize: 2, shuffle: false, optimizer, onEpochEnd });
    const error = await rejection((async () => {
      for await (const event of run) events.push(event);
    })());
    expect(error).toMatchObject({ code: "ERR_NON_FINITE_WEIGHTS", message: expect.stringMatching(message), history: { rows: [] } });
    expect((await readFile(path)).equals(good)).toBe(true);
    await model.loadWeights(path);
  }
  expect(events.length).toBeGreaterThan(0);
  expect(JSON.stringify(events)).not.toContain("null");
});

test("a validation loss that is not finite ends the epoch without its callback", async () => {
  using model = tiny();
  const ended: number[] = [];
  // Weights of 1e23 are finite.
  const options = { epochs: 3, batchSize: 4, optimizer: sgd({ lr: 1e25 }), onEpochEnd: () => ended.push(1) };
  const error = await rejection(fit(model, { train: set(4, 0.5), validation: set(8, 0.5) }, options));
  expect(error).toMatchObject({
    code: "ERR_NON_FINITE_LOSS",
    message: expect.stringMatching(/^validation loss: expected a finite number, got (NaN|Infinity) after epoch 1$/),
    history: { rows: [] },
  });
  expect(ended).toEqual([]);
  const { loss, accuracy } = await evaluate(model, set(8, 0.5));
  expect([Number.isFinite(loss), accuracy >= 0 && accuracy <= 1]).toEqual([false, true]);
});

test("such weights in a file are refused, and nothing changes", async () => {
  using model = tiny();
  const path = join(folder, "spoiled.safetensors");
  await model.save(path);
  await spoil(path, "fc.bias");
  const before = await digest(model);
  const refused = { code: "ERR_NON_FINITE_WEIGHTS", message: "fc.bias: expected finite numbers, got NaN" };
  expect(await rejection(loadModel(path))).toMatchObject(refused);
  expect(await rejection(model.loadWeights(path))).toMatchObject(refused);
  expect(await digest(model)).toBe(before);
  using other = new ResNet([[1, 8]], { numClasses: 2, inChannels: 1 });
  expect((await other.loadWeights(path, { newHead: true })).kept).toEqual(["fc.weight", "fc.bias"]);
});

/** Makes the last value of a tensor of a model's file NaN, and the file's digest right. */
async function spoil(path: string, name: string): Promise<void> {
  const file = await readFile(path);
  const start = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString("utf8", 8, start)) as Record<string, { data_offsets: [number, number] }>;
  file.writeFloatLE(NaN, start + header[name]!.data_offsets[1] - 4);
  const key = '"resnet_native_sha256":"';
  const place = file.indexOf(key) + key.length;
  file.fill("0", place, place + 64);
  file.write(createHash("sha256").update(file).digest("hex"), place);
  await writeFile(path, file);
}

test("a data set has no such pixels", () => {
  const made = (pixels: Float32Array | Float64Array | number[]) => () => fromArrays({ images: pixels, shape: [1, 1, 1, 2], labels: [0] });
  const error = (message: string) => expect.objectContaining({ name: "ResNetError", code: "ERR_INVALID_ARGUMENT", message });
  expect(made([0, NaN])).toThrow(error("images[1]: expected a finite number, got NaN"));
  expect(made(Float32Array.of(Infinity, 0))).toThrow(error("images[0]: expected a finite number, got Infinity"));
  expect(made(Float64Array.of(0, -Infinity))).toThrow(error("images[1]: expected a finite number, got -Infinity"));
  expect(made([3e38, -3e38])).not.toThrow();
});
