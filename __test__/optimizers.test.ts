import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as api from "resnet-native";
import { adam, adamw, fit, type FitOptions, lars, lion, muon, type Optimizer, ResNet, rmsprop, sgd, Trainer } from "resnet-native";
import { expect, test } from "vitest";
import * as optimizers from "../ts/optimizers.js";
import { collect, digest, pictures, rejection } from "./pictures.js";

const tiny = (options?: ConstructorParameters<typeof ResNet>[1]) => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1, ...options });

/** The weights after a fit by name. */
async function trained(options: FitOptions, threads = 1): Promise<Map<string, Float32Array>> {
  using model = tiny({ threads });
  await fit(model, pictures(64), { batchSize: 16, ...options });
  return new Map([...(await model.stateDict())].map(([name, { data }]) => [name, data]));
}

test.each(Object.keys(optimizers))("%s has its name, stays as it was made, and makes updates", async (name) => {
  const optimizer = (api as unknown as Record<string, () => Optimizer>)[name]!();
  expect(optimizer.name).toBe(name);
  expect(Object.isFrozen(optimizer)).toBe(true);
  for (const setting of Object.values(optimizer)) expect(Object.isFrozen(setting)).toBe(true);
  using model = tiny();
  const before = await digest(model);
  const [batch] = await collect(pictures(16), { batchSize: 16 });
  await new Trainer(model, { optimizer }).step(batch!.images, batch!.labels);
  expect(await digest(model)).not.toBe(before);
});

test.each<[string, Optimizer]>([
  ["sgd", sgd({ lr: 0.02, momentum: 0.9, dampening: 0.1 })],
  ["adam", adam({ lr: 0.01 })],
  ["adamw", adamw({ lr: 0.01 })],
  ["rmsprop", rmsprop({ lr: 0.002, momentum: 0.5 })],
  ["lion", lion({ lr: 0.002 })],
  ["lars", lars({ lr: 10 })],
  ["muon", muon({ lr: 0.02 })],
])("%s learns, with the same bits for any number of threads", async (_, optimizer) => {
  const run = async (threads: number) => {
    using model = tiny({ threads });
    const { rows } = await fit(model, pictures(96), { epochs: 4, batchSize: 32, optimizer, clipNorm: 5 });
    return { losses: rows.map(({ loss }) => loss), weights: await digest(model) };
  };
  const [one, two] = [await run(1), await run(2)];
  expect(one.losses.at(-1)!).toBeLessThan(0.8 * one.losses[0]!);
  expect(two).toEqual(one);
});

test("a group has settings of its own; what is frozen stays, without decay", async () => {
  using model = tiny();
  const start = new Map([...(await model.stateDict())].map(([name, { data }]) => [name, data]));
  const run = (groups: api.ParameterGroup[], more?: api.ParameterOptions) => {
    return trained({ optimizer: sgd({ lr: 0.05, weightDecay: 0.1, groups, ...more }), shuffle: false });
  };
  const plain = await run([]);
  const grouped = await run([{ layers: ["conv1", "layer1.*.bn1"], frozen: true }, { roles: "bias", lrFactor: 0 }]);
  for (const [name, data] of grouped) {
    const isFrozen = name.startsWith("conv1.") || name.startsWith("layer1.0.bn1.") || /(conv\d|fc|downsample\.0)\.bias$/.test(name);
    if (!name.includes("running")) expect([name, Buffer.from(data.buffer).equals(Buffer.from(start.get(name)!.buffer))]).toEqual([name, isFrozen]);
  }
  expect(await run([{ layers: "*", lrFactor: 1, weightDecay: 0.1 }])).toEqual(plain);
  expect(await run([], { layerDecay: 0.5 })).not.toEqual(plain);
  const spared = await run([], { decayNormsAndBiases: false });
  expect(spared).not.toEqual(plain);
  expect(spared).toEqual(await run([{ roles: ["norm", "bias"], weightDecay: 0 }]));
});

test("adamw spares norms and biases, unless it is told not to", async () => {
  const run = (options: api.AdamOptions) => trained({ optimizer: adamw({ weightDecay: 0.5, ...options }), shuffle: false });
  expect(await run({})).toEqual(await run({ decayNormsAndBiases: true, groups: [{ roles: ["norm", "bias"], weightDecay: 0 }] }));
  expect(await run({})).not.toEqual(await run({ decayNormsAndBiases: true }));
});

test("a group that names no layer, and groups that leave nothing to train, are refused before anything happens", async () => {
  using model = tiny();
  const before = await digest(model);
  const [batch] = await collect(pictures(16), { batchSize: 16 });
  const cases = [
    [{ layers: "layer7", frozen: true }, "groups[0].layers: expected names of layers with parameters, such as layer1 or fc, got layer7"],
    [{ frozen: true }, "groups: expected some parameters that are not frozen, got none"],
  ] as const;
  for (const [group, message] of cases) {
    const optimizer = adam({ groups: [group] });
    const error = { name: "ResNetError", code: "ERR_INVALID_ARGUMENT", message };
    expect(await rejection(fit(model, pictures(16), { optimizer }))).toMatchObject(error);
    expect(await rejection(new Trainer(model, { optimizer }).step(batch!.images, batch!.labels))).toMatchObject(error);
  }
  expect(await digest(model)).toBe(before);
});

test("groups are read once and kept", () => {
  const layers = ["fc"];
  const optimizer = sgd({ groups: [{ layers, frozen: true }] });
  layers[0] = "conv1";
  expect(optimizer.groups).toEqual([{ layers: ["fc"], frozen: true }]);
  expect(() => (optimizer.groups[0]!.layers as string[]).push("conv1")).toThrow(TypeError);
});

test("a model is saved without what its optimiser keeps, and trains on from the file", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "resnet-native-")), "model.safetensors");
  using model = tiny();
  await fit(model, pictures(16), { optimizer: adam({ lr: 0.01 }) });
  await model.save(path);
  using loaded = await api.loadModel(path);
  expect(await digest(loaded)).toBe(await digest(model));
  for (const one of [model, loaded]) await fit(one, pictures(16), { optimizer: muon(), shuffle: false });
  expect(await digest(loaded)).toBe(await digest(model));
});

test("what clipping gives is what smaller gradients would", async () => {
  const [batch] = await collect(pictures(16), { batchSize: 16 });
  const step = async (options: api.UpdateOptions) => {
    using model = tiny();
    const before = await model.stateDict();
    const trainer = new Trainer(model, { optimizer: sgd({ lr: 1 }), ...options });
    await trainer.step(batch!.images, batch!.labels);
    const [after, gradients] = [await model.stateDict(), await trainer.gradients()];
    return [...gradients].flatMap(([name, { data }]) => {
      return [...data].map((gradient, i) => ({ gradient, moved: before.get(name)!.data[i]! - after.get(name)!.data[i]! }));
    });
  };
  const plain = await step({});
  const norm = Math.sqrt(plain.reduce((sum, { gradient }) => sum + gradient ** 2, 0));
  for (const { gradient, moved } of await step({ clipNorm: norm / 4 })) expect(moved).toBeCloseTo(gradient / 4, 6);
  expect(await step({ clipNorm: norm * 2 })).toEqual(plain);
  const limit = Math.max(...plain.map(({ gradient }) => Math.abs(gradient))) / 8;
  const limited = await step({ clipValue: limit });
  for (const { gradient, moved } of limited) expect(moved).toBeCloseTo(Math.min(limit, Math.max(-limit, gradient)), 6);
  expect(limited.filter(({ gradient }) => Math.abs(gradient) > limit).length).toBeGreaterThan(10);
  // The gradients that are told are those before clipping.
  expect(limited.map(({ gradient }) => gradient)).toEqual(plain.map(({ gradient }) => gradient));
});

test("four batches of 16 accumulated are one of 64, where there are no norms", async () => {
  const network = () => {
    return api.sequential([api.conv2d(6, { stride: 2 }), api.relu(), api.globalAvgPool2d(), api.linear(4)], { seed: 3, inChannels: 1 });
  };
  const run = async (options: FitOptions) => {
    using model = network();
    const steps: number[] = [];
    const { rows } = await fit(model, pictures(72), {
      ...options,
      epochs: 2,
      shuffle: false,
      clipNorm: 0.5,
      optimizer: sgd({ lr: 0.1, momentum: 0.9 }),
      onStep: (event) => void steps.push(event.steps),
    });
    const weights = [...(await model.stateDict()).values()].flatMap(({ data }) => [...data]);
    return { losses: rows.map(({ loss }) => loss), weights, steps: steps[0] };
  };
  // The last update of an epoch has 8 samples.
  const [whole, parts] = [await run({ batchSize: 64 }), await run({ batchSize: 16, accumulate: 4 })];
  expect([whole.steps, parts.steps]).toEqual([2, 2]);
  for (const [i, loss] of parts.losses.entries()) expect(loss).toBeCloseTo(whole.losses[i]!, 5);
  for (const [i, weight] of parts.weights.entries()) expect(weight).toBeCloseTo(whole.weights[i]!, 5);
  expect((await run({ batchSize: 16 })).weights).not.toEqual(parts.weights);
});

test("a trainer that accumulates makes an update with every n-th call, whose gradients are those of all", async () => {
  using model = api.sequential([api.conv2d(6), api.globalAvgPool2d(), api.linear(4)], { inChannels: 1 });
  const [batch] = await collect(pictures(16), { batchSize: 16 });
  const halves = await collect(pictures(16), { batchSize: 8 });
  const whole = new Trainer(model, { optimizer: sgd({ lr: 0 }) });
  await whole.step(batch!.images, batch!.labels);
  const expected = await whole.gradients();
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 1 }), accumulate: 2 });
  const before = await digest(model);
  await trainer.step(halves[0]!.images, halves[0]!.labels);
  expect(await digest(model)).toBe(before);
  await trainer.step(halves[1]!.images, halves[1]!.labels);
  expect(await digest(model)).not.toBe(before);
  for (const [name, { data }] of await trainer.gradients()) {
    for (const [i, value] of data.entries()) expect(value).toBeCloseTo(expected.get(name)!.data[i]!, 6);
  }
});

test("each batch of an update drops what it likes", async () => {
  using model = api.sequential([api.conv2d(6), api.dropout({ p: 0.5 }), api.globalAvgPool2d(), api.linear(4)], { inChannels: 1 });
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0 }), accumulate: 3 });
  const [batch] = await collect(pictures(8), { batchSize: 8 });
  const losses = new Set<number>();
  for (let i = 0; i < 6; i++) losses.add((await trainer.step(batch!.images, batch!.labels)).loss);
  expect(losses.size).toBe(6);
});
