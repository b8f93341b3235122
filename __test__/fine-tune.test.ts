import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Batch,
  adamw,
  conv2d,
  fit,
  globalAvgPool2d,
  loadModel,
  type Model,
  type ParameterGroup,
  ResNet,
  type ResNetOptions,
  Residual,
  residual,
  sequential,
  sgd,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, digest, pictures, rejection } from "./pictures.js";

const tiny = (options?: ResNetOptions) => new ResNet([[1, 8], [1, 12]], { numClasses: 4, inChannels: 1, ...options });
const folder = mkdtempSync(join(tmpdir(), "resnet-native-"));

async function firstBatch(count = 16): Promise<Batch> {
  const { value } = await pictures(count).batches({ batchSize: count }).next();
  return value!;
}

async function weights(model: Model): Promise<Map<string, number[]>> {
  return new Map([...(await model.stateDict())].map(([name, { data }]) => [name, [...data]]));
}

/** What changes in some updates, by name. */
async function changed(groups: ParameterGroup[]): Promise<string[]> {
  using model = tiny();
  const before = await weights(model);
  await fit(model, pictures(32), { batchSize: 16, optimizer: adamw({ groups }) });
  return [...(await weights(model))].filter(([name, data]) => String(data) !== String(before.get(name))).map(([name]) => name);
}

test("of what is frozen nothing changes; its norms' statistics go on if they are asked to", async () => {
  expect(await changed([{ layers: "fc" }, { frozen: true }])).toEqual(["fc.weight", "fc.bias"]);
  const moving = await changed([{ layers: "fc", lrFactor: 1 }, { frozen: true, frozenNorms: false }]);
  expect(moving.filter((name) => !name.startsWith("fc."))).toEqual((await changed([])).filter((name) => name.includes("running")));
  const trained = await changed([{ frozenNorms: true }]);
  expect(trained).toContain("layer1.0.bn1.weight");
  expect(trained.filter((name) => name.includes("running"))).toEqual([]);
});

test("frozen parameters have no gradients; those of the others are what they would be", async () => {
  const { images, labels } = await firstBatch();
  const gradients = async (groups: ParameterGroup[]) => {
    using model = tiny();
    const trainer = new Trainer(model, { optimizer: sgd({ groups }) });
    await trainer.step(images, labels);
    return await trainer.gradients();
  };
  const all = await gradients([]);
  const some = await gradients([{ layers: ["conv1", "bn1", "layer1"], frozen: true, frozenNorms: false }]);
  expect([...some.keys()]).toEqual([...all.keys()].filter((name) => /^(layer2|fc)/.test(name)));
  for (const [name, { data }] of some) expect([name, data]).toEqual([name, all.get(name)!.data]);
});

test.each<[string, ParameterGroup[]]>([
  ["the head alone", [{ layers: "fc" }, { frozen: true }]],
  ["a part in the middle", [{ layers: "layer1", frozen: true }]],
  ["norms alone", [{ roles: "norm", frozen: true }]],
])("%s: the same bits on one thread and on two", async (_, groups) => {
  const run = async (threads: number) => {
    using model = tiny({ threads });
    await fit(model, pictures(40), { batchSize: 16, epochs: 2, accumulate: 2, clipNorm: 1, optimizer: adamw({ lr: 0.01, groups }) });
    return await digest(model);
  };
  expect(await run(2)).toBe(await run(1));
});

test("frozenNorms needs norms to freeze", async () => {
  const error = await rejection(fit(tiny(), pictures(16), { optimizer: sgd({ groups: [{ layers: "fc", frozenNorms: true }] }) }));
  expect(error).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: "groups[0].frozenNorms: expected a group with batch norms, got none in it" });
});

test("features are what enters the head, or what a named layer returns, batch by batch", async () => {
  using model = tiny();
  const { images } = await firstBatch(40);
  const features = await model.features(images);
  expect(features.shape).toEqual([40, 12]);
  expect(await model.features(images, { layer: "avgpool" })).toEqual(features);
  expect(await model.features(images, { batchSize: 7 })).toMatchObject({ shape: [40, 12] });
  const [state, logits] = [await model.stateDict(), await model.predict(images)];
  const [weight, bias] = [state.get("fc.weight")!.data, state.get("fc.bias")!.data];
  for (const [i, logit] of logits.data.entries()) {
    const [row, label] = [Math.floor(i / 4), i % 4];
    const sum = features.data.subarray(row * 12, row * 12 + 12).reduce((sum, value, f) => sum + value * weight[label * 12 + f]!, bias[label]!);
    expect(logit).toBeCloseTo(sum, 4);
  }
  expect((await model.features(images, { layer: "layer1" })).shape).toEqual([40, 8, 4, 4]);
});

test("features of no layer are refused, and an abort ends the call", async () => {
  using model = tiny();
  const { images } = await firstBatch();
  expect(await rejection(model.features(images, { layer: "layer7" }))).toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringMatching(/^layer: expected the name of a layer or stage, such as layer1, .* \(layerSummary with depth: "layers" lists them all\), got layer7$/) as string,
  });
  expect(await rejection(model.features(images, { layer: any(7) }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  using headless = sequential([conv2d(4), globalAvgPool2d()]);
  expect(await rejection(headless.features(images))).toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: "layer: expected a name, for the network has no linear layer behind a layer with a name, got none",
  });
  expect((await headless.features(images, { layer: "0" })).shape).toEqual([16, 4, 14, 14]);
  expect(await rejection(model.features(images, { signal: AbortSignal.abort("no") }))).toBe("no");
  using slow = new ResNet([[8, 64]], { inChannels: 1, threads: 1 });
  const many = tensor(new Float32Array(2048 * 256), [2048, 1, 16, 16]);
  const controller = new AbortController();
  const call = rejection(slow.features(many, { signal: controller.signal, batchSize: 1 }));
  controller.abort("stop");
  expect(await call).toBe("stop");
});

test("a saved model takes a new head in one line", async () => {
  const path = join(folder, "four.safetensors");
  using model = tiny();
  await fit(model, pictures(32), { batchSize: 16, optimizer: sgd({ lr: 0.05 }) });
  await model.setInterface({ classNames: ["a", "b", "c", "d"], temperature: 2 });
  await model.save(path);
  const old = await weights(model);
  for (const numClasses of [4, 7]) {
    using loaded = await loadModel(path, { numClasses, seed: 3 });
    const found = await weights(loaded);
    expect([...found.keys()]).toEqual([...old.keys()]);
    for (const [name, data] of found) if (!name.startsWith("fc.")) expect([name, data]).toEqual([name, old.get(name)]);
    expect(found.get("fc.weight")).toHaveLength(numClasses * 12);
    expect(found.get("fc.weight")!.slice(0, 4)).not.toEqual(old.get("fc.weight")!.slice(0, 4));
    expect([loaded.classNames, loaded.temperature]).toEqual([undefined, 1]);
    using again = await loadModel(path, { numClasses, seed: 3 });
    using other = await loadModel(path, { numClasses, seed: 4 });
    expect(await digest(again)).toBe(await digest(loaded));
    expect(await digest(other)).not.toBe(await digest(loaded));
    await loaded.save(join(folder, "new.safetensors"));
    using saved = await loadModel(join(folder, "new.safetensors"));
    expect(await digest(saved)).toBe(await digest(loaded));
    const data = pictures(28, { classes: numClasses });
    await fit(loaded, data, { optimizer: adamw({ groups: [{ layers: "fc", lrFactor: 1 }, { frozen: true }] }) });
    expect((await weights(loaded)).get("layer2.0.conv1.weight")).toEqual(old.get("layer2.0.conv1.weight"));
  }
});

test("a head that cannot be is refused", async () => {
  const path = join(folder, "headless.safetensors");
  using model = sequential([conv2d(4), globalAvgPool2d()], { inChannels: 1 });
  await model.save(path);
  const cases = [
    [{ numClasses: 3 }, "numClasses: expected none for a network without a linear layer, got 3"],
    [{ numClasses: 0 }, "numClasses: expected an integer from 1 to 1048576, got 0"],
    [{ seed: 1 }, "seed: expected numClasses beside it, got 1"],
  ] as const;
  for (const [options, message] of cases) {
    expect(await rejection(loadModel(path, options))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message });
  }
});

test("a trainer's learning rate can be read and set", async () => {
  const { images, labels } = await firstBatch();
  const step = async (rates: number[], lr: number) => {
    using model = tiny();
    const trainer = new Trainer(model, { optimizer: sgd({ lr }) });
    expect(trainer.lr).toBe(lr);
    for (const rate of rates) {
      trainer.lr = rate;
      await trainer.step(images, labels);
      expect(trainer.lr).toBe(rate);
    }
    return await digest(model);
  };
  expect(await step([0.2, 0.2], 0.5)).toBe(await step([0.2, 0.2], 0.1));
  expect(await step([0.2, 0.1], 0.5)).not.toBe(await step([0.2, 0.2], 0.5));
  using model = tiny();
  const trainer = new Trainer(model);
  const before = await weights(model);
  // A step that was asked for has the rate of that moment.
  const asked = ((trainer.lr = 0), trainer.step(images, labels));
  trainer.lr = 1e3;
  await asked;
  expect((await weights(model)).get("fc.weight")).toEqual(before.get("fc.weight"));
  for (const wrong of [-1, NaN, Infinity, "0.1", undefined]) {
    expect(() => (trainer.lr = any(wrong))).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^lr: expected a finite number/) }));
  }
  expect(trainer.lr).toBe(1e3);
  expect(() => Reflect.get(Trainer.prototype, "lr", {})).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
});

test("stochastic depth trains alike on any number of threads, and is part of the file", async () => {
  const path = join(folder, "depth.safetensors");
  const run = async (options: ResNetOptions) => {
    const model = tiny({ seed: 5, ...options });
    await fit(model, pictures(64), { batchSize: 16, epochs: 2, optimizer: sgd({ lr: 0.05 }) });
    return model;
  };
  using one = await run({ stochasticDepth: 0.5, threads: 1 });
  using two = await run({ stochasticDepth: 0.5, threads: 2 });
  using plain = await run({ threads: 1 });
  expect(await digest(two)).toBe(await digest(one));
  expect(await digest(plain)).not.toBe(await digest(one));
  await one.save(path);
  using loaded = await loadModel(path);
  for (const model of [one, loaded]) await fit(model, pictures(64), { batchSize: 16, optimizer: sgd({ lr: 0.05 }) });
  expect(await digest(loaded)).toBe(await digest(one));
  expect(loaded.layerSummary([1, 1, 16, 16], { depth: "layers" }).filter(({ kind }) => kind === "StochasticDepth")).toHaveLength(2);
});

test("stochastic depth is an option of blocks too, and has its range", async () => {
  const { images } = await firstBatch(32);
  const maps = tensor(new Float32Array(32 * 8 * 32).map((_, i) => (i % 13) - 6), [32, 8, 8, 4]);
  using block = new Residual(8, { stochasticDepth: 0.9, seed: 1 });
  using plain = new Residual(8, { seed: 1 });
  expect(await block.forward(maps)).toEqual(await plain.forward(maps));
  const { data } = await block.forward(maps, { training: true });
  const passed = (row: number) => data.subarray(row * 256, row * 256 + 256).every((value, i) => value === Math.max(0, maps.data[row * 256 + i]!));
  const count = Array.from({ length: 32 }, (_, row) => passed(row)).filter(Boolean).length;
  expect(count).toBeGreaterThan(20);
  expect(count).toBeLessThan(32);
  using own = residual({ body: conv2d(1, { padding: 1 }), stochasticDepth: 0.5 });
  expect(await own.forward(images, { training: true })).not.toEqual(await own.forward(images));
  for (const stochasticDepth of [1, -0.1, NaN, any("0.5")]) {
    const wrong = expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^stochasticDepth: expected a number from 0 to below 1, got /) });
    expect(() => tiny({ stochasticDepth })).toThrow(wrong);
    expect(() => new Residual(8, { stochasticDepth })).toThrow(wrong);
    expect(() => residual({ body: conv2d(1), stochasticDepth })).toThrow(wrong);
  }
});
