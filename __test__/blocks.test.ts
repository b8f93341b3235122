import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Residual, ResNet, sequential, type Tensor, tensor } from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digest, rejection } from "./pictures.js";
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
