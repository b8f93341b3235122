import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  avgPool2d,
  batchNorm2d,
  concat,
  conv2d,
  dropout,
  fit,
  globalAvgPool2d,
  linear,
  loadModel,
  maxPool2d,
  PreActBottleneck,
  relu,
  Residual,
  residual,
  ResNet,
  sequential,
  sgd,
  type Tensor,
  tensor,
} from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digest, pictures, rejection } from "./pictures.js";
import { writeWeights } from "./weights.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
});
afterAll(() => rm(folder, { recursive: true }));

const x = tensor(
  Float32Array.from({ length: 4 * 3 * 36 }, (_, i) => Math.sin(i) + 1),
  [4, 3, 6, 6],
);

test("a block keeps the shape (row 1)", async () => {
  using block = new Residual(3);
  expect((await block.forward(x)).shape).toEqual([4, 3, 6, 6]);
});

test("a block with a 1x1 convolution changes channels and size (row 1)", async () => {
  using block = new Residual(6, { use1x1Conv: true, strides: 2 });
  expect((await block.forward(x)).shape).toEqual([4, 6, 3, 3]);
});

test("a block without one cannot change them", async () => {
  using block = new Residual(6);
  expect(await rejection(block.forward(x))).toMatchObject({ code: "ERR_SHAPE" });
  expect(await rejection(block.forward(tensor([1], [])))).toMatchObject({ code: "ERR_SHAPE" });
  expect(block.inChannels).toBeUndefined();
});

test.each([
  ["bn2.weight", "bn2.bias"],
  ["conv2.weight", "conv2.bias"],
])("with %s and %s at zero a block is the identity on what a ReLU gave (row 14)", async (...names) => {
  using block = new Residual(3, { inChannels: 3 });
  const zero = ({ data, shape }: Tensor): Tensor => ({ data: new Float32Array(data.length), shape });
  const weights = await block.stateDict();
  const path = join(folder, "zeros.safetensors");
  await writeWeights(
    path,
    names.map((name) => [name, zero(weights.get(name)!)] as const),
  );
  const { missing, unexpected } = await block.loadWeights(path, { strict: false });
  expect([missing, unexpected]).toEqual([[...weights.keys()].filter((name) => !names.includes(name)), []]);
  for (const training of [false, true]) expect((await block.forward(x, { training })).data).toEqual(x.data);
});

test("a block's output is ReLU'd and differs from its input as initialised", async () => {
  using block = new Residual(3);
  const y = await block.forward(x);
  expect(y.data).not.toEqual(x.data);
  expect(Math.min(...y.data)).toBeGreaterThanOrEqual(0);
});

test("sequential composes descriptions: the same block twice is two sets of weights", async () => {
  const block = new Residual(8, { use1x1Conv: true, strides: 2 });
  using stage = sequential([block, block, sequential([new Residual(8)])], { seed: 5, inChannels: 3 });
  expect((await stage.forward(x)).shape).toEqual([4, 8, 2, 2]);
  const weights = await stage.stateDict();
  expect([...weights.keys()].filter((name) => name.endsWith("conv1.weight"))).toEqual([
    "0.conv1.weight",
    "1.conv1.weight",
    "2.0.conv1.weight",
  ]);
  expect(weights.get("0.conv2.weight")).not.toEqual(weights.get("1.conv2.weight"));
  expect(stage.layerSummary([1, 3, 6, 6]).map(({ name }) => name)).toEqual(["0", "1", "2"]);
  using again = sequential([block, block, sequential([new Residual(8)])], { seed: 5, inChannels: 3 });
  expect(await digest(again)).toBe(await digest(stage));
});

test("a network of blocks with wider first stage has its 1x1 shortcut (row 3)", () => {
  const layers = (arch: [number, number][]) => {
    const names = new ResNet(arch).layerSummary([1, 1, 32, 32], { depth: "layers" }).map(({ name }) => name);
    return names.filter((name) => name.includes("downsample"));
  };
  expect(
    layers([
      [2, 64],
      [2, 128],
    ]),
  ).toEqual(["layer2.0.downsample.0"]);
  expect(layers([[1, 32]])).toEqual(["layer1.0.downsample.0"]);
});

test("a composition of one's own trains, saves, loads and summarises", async () => {
  const branches = concat([
    sequential([conv2d(4, { kernelSize: 1 }), relu()]),
    sequential([avgPool2d({ kernelSize: 3, stride: 1, padding: 1 }), conv2d(4, { padding: 1, groups: 2 })]),
  ]);
  const stem = sequential([conv2d(8, { padding: 1 }), batchNorm2d(), relu()]);
  const stages = [residual({ body: branches }), maxPool2d({ kernelSize: 2 }), new PreActBottleneck(4, { use1x1Conv: true })];
  using model = sequential([stem, ...stages, dropout({ p: 0.1 }), globalAvgPool2d(), linear(4)], { seed: 3 });

  const optimizer = sgd({ lr: 0.05, momentum: 0.9 });
  const { rows } = await fit(model, pictures(64), { epochs: 12, batchSize: 16, optimizer });
  expect(rows.at(-1)!.loss).toBeLessThan(rows[0]!.loss / 2);

  const path = join(folder, "own.safetensors");
  await model.save(path);
  using loaded = await loadModel(path);
  const images = tensor(Float32Array.from({ length: 5 * 16 * 16 }, (_, i) => Math.sin(i)), [5, 1, 16, 16]);
  expect(await loaded.predict(images)).toEqual(await model.predict(images));
  for (const depth of ["stages", "layers"] as const) {
    const [one, other] = [model, loaded].map((each) => [...each.layerSummary([5, 1, 16, 16], { depth })]);
    expect(one).toEqual(other);
    expect(one!.reduce((sum, { params }) => sum + params, 0)).toBe(model.numParameters);
  }
  const shown = model.layerSummary([5, 1, 16, 16]).map(({ name, kind, outputShape }) => `${name} ${kind} ${outputShape}`);
  expect(shown).toEqual([
    "0 Sequential 5,8,16,16",
    "1 Residual 5,8,16,16",
    "2 MaxPool2d 5,8,8,8",
    "3 Residual 5,16,8,8",
    "4 Dropout 5,16,8,8",
    "5 GlobalAvgPool2d 5,16",
    "6 Linear 5,4",
  ]);
  const names = [...(await loaded.stateDict()).keys()].filter((name) => name.endsWith(".weight"));
  expect(names.slice(0, 4)).toEqual(["0.0.weight", "0.1.weight", "1.body.0.0.weight", "1.body.1.1.weight"]);
});

test("a body that has a shortcut inside keeps its names apart", async () => {
  const inner = residual({ body: conv2d(4, { padding: 1 }), shortcut: conv2d(4, { kernelSize: 1 }) });
  const chapter = new Residual(4, { use1x1Conv: true });
  for (const body of [inner, chapter]) {
    using block = residual({ body, shortcut: sequential([conv2d(4, { kernelSize: 1 })]) });
    expect((await block.forward(x)).shape).toEqual([4, 4, 6, 6]);
    const shortcuts = [...(await block.stateDict()).keys()].filter((name) => /downsample.*weight/.test(name));
    expect(shortcuts).toEqual([expect.stringMatching(/^body\.downsample/), "downsample.0.weight"]);
  }
});

test("a network may have more layers than a call has arguments", () => {
  const rows = new ResNet([[10_000, 1]], { stem: "small" }).layerSummary([1, 1, 2, 2], { depth: "layers" });
  expect(rows).toHaveLength(10_000 * 6 + 5);
  expect(rows.at(-1)).toMatchObject({ name: "fc", kind: "Linear", outputShape: [1, 10] });
});
