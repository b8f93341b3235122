import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  Bottleneck,
  CifarResNet,
  type CifarResNetOptions,
  conv2d,
  GoogLeNet,
  Inception,
  loadModel,
  type Model,
  padChannels,
  PreActBottleneck,
  PreActResidual,
  PreActResNet18,
  PreActResNet50,
  Residual,
  ResNet,
  ResNet18,
  ResNet50,
  type ResNetName,
  ResNeXt18,
  residual,
  ResNeXtBlock,
  sequential,
  sgd,
  type Tensor,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { rejection } from "./pictures.js";

/** Values on both sides of zero. */
function values(...shape: number[]): Tensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return tensor(Float32Array.from({ length }, (_, i) => Math.sin(i * i)), shape);
}

const stages = (model: Model, shape: readonly number[]) => {
  return model.layerSummary(shape).map(({ name, outputShape }) => `${name} ${outputShape.slice(1).join("x")}`);
};
const kinds = (model: Model, shape: readonly number[]) => {
  return model.layerSummary(shape, { depth: "layers" }).map(({ name, kind }) => `${name} ${kind}`);
};
const torchvision = { flavor: "torchvision", inChannels: 3, numClasses: 1000 } as const;

test("the chapter's ResNeXt block keeps its shape; its groups are channels of a group (row 7)", async () => {
  using block = new ResNeXtBlock(32, { groups: 16, botMul: 1 });
  expect((await block.forward(values(4, 32, 96, 96))).shape).toEqual([4, 32, 96, 96]);
  const weights = await block.stateDict();
  // 32 channels in ⌊32 / 16⌋ = 2 groups of 16.
  expect(weights.get("conv2.weight")!.shape).toEqual([32, 16, 3, 3]);
  expect([...weights.keys()].filter((name) => name.includes("downsample"))).toEqual([]);
});

test("a ResNeXt block that changes shape has a shortcut with a norm (row 7)", async () => {
  using block = new ResNeXtBlock(24, { groups: 4, botMul: 0.5, use1x1Conv: true, strides: 2 });
  expect((await block.forward(values(2, 6, 7, 9))).shape).toEqual([2, 24, 4, 5]);
  const shapes = [...(await block.stateDict())].filter(([name]) => name.endsWith("weight"));
  expect(shapes.map(([name, { shape }]) => `${name} ${shape}`)).toEqual([
    "conv1.weight 12,6,1,1",
    "bn1.weight 12",
    "conv2.weight 12,4,3,3",
    "bn2.weight 12",
    "conv3.weight 24,12,1,1",
    "bn3.weight 24",
    "downsample.0.weight 24,6,1,1",
    "downsample.1.weight 24",
  ]);
});

test("ResNet-18 of ResNeXt blocks has ResNet-18's stages (row 8)", () => {
  const shape = [1, 1, 96, 96];
  expect(stages(new ResNeXt18(), shape)).toEqual(stages(new ResNet18(), shape));
  const named = new ResNet("resnet18", { block: "resnext", groups: 16, botMul: 1 });
  expect(kinds(named, shape)).toEqual(kinds(new ResNeXt18(), shape));
  expect(kinds(named, shape)).not.toEqual(kinds(new ResNet18(), shape));
});

/** Table 1 of He et al. (2016). */
const tableOne: [ResNetName, "basic" | "bottleneck", [number, number, number, number]][] = [
  ["resnet18", "basic", [2, 2, 2, 2]],
  ["resnet34", "basic", [3, 4, 6, 3]],
  ["resnet50", "bottleneck", [3, 4, 6, 3]],
  ["resnet101", "bottleneck", [3, 4, 23, 3]],
  ["resnet152", "bottleneck", [3, 8, 36, 3]],
];

test.each(tableOne)("%s has the blocks of table 1, as stages and as a name (row 9)", (name, block, blocks) => {
  const [a, b, c, d] = blocks;
  const model = new ResNet([[a, 64], [b, 128], [c, 256], [d, 512]], { block });
  const shape = [1, 3, 64, 64];
  expect(kinds(new ResNet(name), shape)).toEqual(kinds(model, shape));
  const sums = kinds(model, shape).filter((layer) => layer.endsWith(" AddReLU"));
  expect([1, 2, 3, 4].map((i) => sums.filter((sum) => sum.startsWith(`layer${i}.`)).length)).toEqual(blocks);
  // The number in the name counts convolutions that are no shortcuts, and the linear layer.
  const weighted = kinds(model, shape).filter((layer) => / (Conv2d|Linear)$/.test(layer) && !/downsample/.test(layer));
  expect(name).toBe(`resnet${weighted.length}`);
});

test("ResNet-34 goes with either block (row 9)", () => {
  const arch = [[3, 64], [4, 128], [6, 256], [3, 512]] as const;
  expect(new ResNet(arch, { inChannels: 1 }).numParameters).toBe(21_290_250);
  expect(new ResNet(arch, { inChannels: 1, block: "resnext" }).numParameters).toBe(3_103_818);
});

test("ResNet-50 runs where the chapter's reader got an error (row 10)", () => {
  const model = new ResNet50();
  expect(stages(model, [1, 1, 224, 224])).toEqual([
    "stem 64x56x56",
    "layer1 256x56x56",
    "layer2 512x28x28",
    "layer3 1024x14x14",
    "layer4 2048x7x7",
    "head 10",
  ]);
  const shortcuts = kinds(model, [1, 1, 224, 224]).filter((layer) => layer.includes("downsample"));
  expect(shortcuts).toEqual([1, 2, 3, 4].map((i) => `layer${i}.0.downsample.0 Conv2d`));
});

test("a bottleneck gives four times its channels (row 10)", async () => {
  expect((await new Bottleneck(3).forward(values(2, 12, 5, 6))).shape).toEqual([2, 12, 5, 6]);
  using block = new Bottleneck(8, { use1x1Conv: true, strides: 2, groups: 4, widthPerGroup: 16, flavor: "torchvision" });
  expect((await block.forward(values(2, 12, 5, 6))).shape).toEqual([2, 32, 3, 3]);
  // ⌊8 · 16 / 64⌋ · 4 = 8 channels in 4 groups.
  expect((await block.stateDict()).get("conv2.weight")!.shape).toEqual([8, 2, 3, 3]);
});

test("with pre-activation nothing follows the sum, and a norm and ReLU end the stages (row 11)", () => {
  const layers = kinds(new PreActResNet18(), [1, 1, 64, 64]);
  expect(layers.filter((layer) => layer.endsWith("AddReLU"))).toEqual([]);
  expect(layers.slice(0, 9)).toEqual([
    "stem.conv Conv2d",
    "stem.pool MaxPool2d",
    "stages.0.blocks.0.norm1 BatchNorm2d",
    "stages.0.blocks.0.relu1 ReLU",
    "stages.0.blocks.0.conv1 Conv2d",
    "stages.0.blocks.0.norm2 BatchNorm2d",
    "stages.0.blocks.0.relu2 ReLU",
    "stages.0.blocks.0.conv2 Conv2d",
    "stages.0.blocks.0 Add",
  ]);
  expect(layers.slice(-5)).toEqual([
    "stages.3.blocks.1 Add",
    "norm BatchNorm2d",
    "relu ReLU",
    "avgpool GlobalAvgPool2d",
    "head.fc Linear",
  ]);
});

test("GoogLeNet's stages are those of d2l 8.4, beside ResNet-18's (row 12)", () => {
  const model = new GoogLeNet({ inChannels: 1 });
  const shape = [1, 1, 96, 96];
  expect(stages(model, shape)).toEqual([
    "stem 192x12x12",
    "inception3 480x6x6",
    "inception4 832x3x3",
    "inception5 1024x3x3",
    "head 10",
  ]);
  // Counted on d2l's definition in PyTorch.
  expect([model.numParameters, model.macs(shape)]).toEqual([5_977_530, 276_066_304]);
  expect(new ResNet18().macs(shape)).toBe(318_657_536);
  expect(kinds(model, shape).filter((layer) => layer.endsWith(" Concat"))).toHaveLength(9);
  expect(kinds(model, shape).filter((layer) => layer.includes("Norm"))).toEqual([]);
});

test("an Inception block has four branches, each with its ReLU (row 12)", async () => {
  using block = new Inception(5, [3, 6], [2, 7], 4);
  const y = await block.forward(values(2, 3, 8, 9));
  expect(y.shape).toEqual([2, 5 + 6 + 7 + 4, 8, 9]);
  expect(Math.min(...y.data)).toBe(0);
  const names = [...(await block.stateDict()).keys()].filter((name) => name.endsWith("weight"));
  expect(names).toEqual(["b1_1", "b2_1", "b2_2", "b3_1", "b3_2", "b4_2"].map((name) => `${name}.weight`));
});

test("groups divide the multiply-adds of a convolution (row 13)", () => {
  const cost = (groups: number) => conv2d(64, { padding: 1, groups }).macs([1, 128, 14, 10]);
  for (const groups of [1, 2, 4, 8, 16, 32, 64]) expect(cost(groups)).toBe((128 * 64 * 9 * 14 * 10) / groups);
  expect(conv2d(64, { padding: 1 }).macs([32, 128, 14, 10])).toBe(cost(1));
});

const blocks = { Residual, Bottleneck, ResNeXtBlock, PreActResidual, PreActBottleneck };

const flavors = ["d2l", "torchvision"] as const;
const flavored = Object.entries(blocks).flatMap(([name, Block]) => flavors.map((flavor) => [name, flavor, Block] as const));

test.each(flavored)("%s of flavor %s starts as its shortcut with zeroInitResidual (row 14)", async (name, flavor, Block) => {
  const channels = name.endsWith("ottleneck") ? 8 : 32;
  using block = new Block(channels, { zeroInitResidual: true, flavor });
  const x = values(2, 32, 6, 5);
  const rectified = x.data.map((value) => Math.max(value, 0));
  // Nothing follows the sum of a pre-activation block.
  const expected = name.startsWith("PreAct") ? x.data : rectified;
  for (const training of [false, true]) expect((await block.forward(x, { training })).data).toEqual(expected);
  using usual = new Block(channels, { flavor });
  expect((await usual.forward(x)).data).not.toEqual(expected);
});

test.each([
  ["resnet18", 11_178_378],
  ["resnet34", 21_290_250],
  ["resnext18", 1_697_546],
  ["resnext34", 3_103_818],
  ["resnet50", 23_541_130],
] as const)("%s counts the chapter's parameters in d2l flavor", (name, parameters) => {
  expect(new ResNet(name, { inChannels: 1 }).numParameters).toBe(parameters);
});

/** Parameters and 10⁹ multiply-adds at 3x224x224, as torchvision's tables and timm's models have them. */
const published: [ResNetName, number, number?][] = [
  ["resnet18", 11_689_512, 1.814],
  ["resnet34", 21_797_672, 3.664],
  ["resnet50", 25_557_032, 4.089],
  ["resnet101", 44_549_160, 7.801],
  ["resnet152", 60_192_808, 11.514],
  ["resnext50_32x4d", 25_028_904, 4.23],
  ["resnext101_32x8d", 88_791_336, 16.414],
  ["resnext101_64x4d", 83_455_272, 15.46],
  ["wide_resnet50_2", 68_883_240, 11.398],
  ["wide_resnet101_2", 126_886_696, 22.753],
  ["preactresnet18", 11_687_720],
  ["preactresnet34", 21_795_880],
  ["preactresnet50", 25_549_352],
  ["preactresnet101", 44_541_480],
  ["preactresnet152", 60_185_128],
];

test.each(published)("%s counts torchvision's or timm's parameters in torchvision flavor", (name, parameters, macs) => {
  const model = new ResNet(name, torchvision);
  expect(model.numParameters).toBe(parameters);
  if (macs !== undefined) expect(Number((model.macs([1, 3, 224, 224]) / 1e9).toFixed(3))).toBe(macs);
});

test("multiply-adds are exact", () => {
  expect(new ResNet18(torchvision).macs([1, 3, 224, 224])).toBe(1_814_073_344);
  expect(new ResNet50(torchvision).macs([1, 3, 224, 224])).toBe(4_089_184_256);
  expect(new PreActResNet50(torchvision).macs([1, 3, 224, 224])).toBe(4_089_184_256);
});

test.each<[string, ResNetName, number]>([
  ["resnet18d", "resnet18", 11_708_744],
  ["resnet34d", "resnet34", 21_816_904],
  ["resnet50d", "resnet50", 25_576_264],
  ["resnet101d", "resnet101", 44_568_392],
  ["resnext50d_32x4d", "resnext50_32x4d", 25_048_136],
  ["resnetv2_18d", "preactresnet18", 11_706_952],
  ["resnetv2_50d", "preactresnet50", 25_568_584],
])("a deep stem and average-pool shortcuts make timm's %s", (_, name, parameters) => {
  expect(new ResNet(name, { ...torchvision, stem: "deep", shortcut: "avgpool" }).numParameters).toBe(parameters);
});

const NORM = ["weight", "bias", "running_mean", "running_var"];
const norm = (name: string) => NORM.map((part) => `${name}.${part}`);

/** The names that torchvision gives, in its order. */
function torchvisionNames(arch: readonly number[], convolutions: 2 | 3): string[] {
  const names = ["conv1.weight", ...norm("bn1")];
  for (const [stage, count] of arch.entries()) {
    for (let block = 0; block < count; block++) {
      const path = `layer${stage + 1}.${block}`;
      for (let i = 1; i <= convolutions; i++) names.push(`${path}.conv${i}.weight`, ...norm(`${path}.bn${i}`));
      const shortcut = block === 0 && (stage > 0 || convolutions === 3);
      if (shortcut) names.push(`${path}.downsample.0.weight`, ...norm(`${path}.downsample.1`));
    }
  }
  return [...names, "fc.weight", "fc.bias"];
}

/** The names that timm gives its resnetv2, in the order in which layers run. */
function timmNames(arch: readonly number[], convolutions: 2 | 3): string[] {
  const names = ["stem.conv.weight"];
  for (const [stage, count] of arch.entries()) {
    for (let block = 0; block < count; block++) {
      const path = `stages.${stage}.blocks.${block}`;
      for (let i = 1; i <= convolutions; i++) names.push(...norm(`${path}.norm${i}`), `${path}.conv${i}.weight`);
      if (block === 0 && (stage > 0 || convolutions === 3)) names.push(`${path}.downsample.conv.weight`);
    }
  }
  return [...names, ...norm("norm"), "head.fc.weight", "head.fc.bias"];
}

test.each<[string, ResNet, string[]]>([
  ["ResNet-18", new ResNet18(torchvision), torchvisionNames([2, 2, 2, 2], 2)],
  ["a bottleneck network", new ResNet([[3, 4], [2, 8]], { ...torchvision, block: "bottleneck" }), torchvisionNames([3, 2], 3)],
  ["pre-activation", new PreActResNet18(torchvision), timmNames([2, 2, 2, 2], 2)],
  [
    "a pre-activation bottleneck network",
    new ResNet([[3, 4], [2, 8]], { ...torchvision, block: "bottleneck", preActivation: true }),
    timmNames([3, 2], 3),
  ],
])("%s names its weights as torchvision or timm does", async (_, model, names) => {
  expect([...(await model.stateDict()).keys()]).toEqual(names);
  model.dispose();
});

test("d2l flavor adds biases to those names, and leaves norms out of shortcuts", async () => {
  const arch = [[2, 4], [1, 8]] as const;
  const names = async (flavor: "d2l" | "torchvision") => {
    return [...(await new ResNet(arch, { flavor, block: "bottleneck", inChannels: 1 }).stateDict()).keys()];
  };
  const biased = (await names("torchvision")).flatMap((name) => {
    if (/downsample\.1/.test(name)) return [];
    return /(conv\d|downsample\.0)\.weight$/.test(name) ? [name, name.replace("weight", "bias")] : [name];
  });
  expect(await names("d2l")).toEqual(biased);
});

test("a deep stem and an average-pool shortcut have timm's names", async () => {
  const options = { ...torchvision, stem: "deep", shortcut: "avgpool", block: "bottleneck" } as const;
  const named = async (preActivation: boolean) => {
    const names = [...(await new ResNet([[1, 4], [1, 8]], { ...options, preActivation }).stateDict()).keys()];
    return names.filter((name) => name.endsWith("weight") && /^(conv1|bn1|stem)|downsample/.test(name)).join(" ");
  };
  expect(await named(false)).toBe(
    ["conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1", "layer1.0.downsample.1", "layer1.0.downsample.2"]
      .concat("layer2.0.downsample.1", "layer2.0.downsample.2")
      .map((name) => `${name}.weight`)
      .join(" "),
  );
  expect(await named(true)).toBe(
    ["stem.conv1", "stem.norm1", "stem.conv2", "stem.norm2", "stem.conv3", "stages.0.blocks.0.downsample.conv"]
      .concat("stages.1.blocks.0.downsample.conv")
      .map((name) => `${name}.weight`)
      .join(" "),
  );
});

/** Depth, options, and millions of parameters as the papers give them; in the first of them shortcuts have none. */
const cifar: [CifarResNetOptions, number, number][] = [
  [{ depth: 20 }, 272_474, 0.27],
  [{ depth: 32 }, 466_906, 0.46],
  [{ depth: 44 }, 661_338, 0.66],
  [{ depth: 56 }, 855_770, 0.85],
  [{ depth: 110 }, 1_730_714, 1.7],
  [{ depth: 1202 }, 19_424_026, 19.4],
  [{ depth: 20, shortcut: "pad" }, 269_722, 0.27],
  [{ depth: 110, shortcut: "pad" }, 1_727_962, 1.7],
  [{ depth: 110, preActivation: true }, 1_730_522, 1.7],
  [{ depth: 164, preActivation: true, block: "bottleneck" }, 1_703_258, 1.7],
  [{ depth: 1001, preActivation: true }, 10_327_706, 10.2],
];

test.each(cifar)("CIFAR's network %j has the paper's size", (options, parameters, millions) => {
  const model = new CifarResNet({ ...options, flavor: "torchvision", inChannels: 3 });
  expect(model.numParameters).toBe(parameters);
  expect(Math.abs(parameters / 1e6 / millions - 1)).toBeLessThan(0.03);
  expect(stages(model, [1, 3, 32, 32]).map((stage) => stage.replace(/^\S+ \d+x?/, ""))).toEqual(
    ["32x32", "32x32", "16x16", "8x8", ""],
  );
});

test("padded shortcuts stand where the stages widen, and come back from a file", async () => {
  using model = new CifarResNet({ depth: 20, shortcut: "pad", flavor: "torchvision", seed: 1 });
  const x = values(2, 3, 10, 9);
  const shortcuts = (one: Model) => kinds(one, x.shape).filter((layer) => layer.includes("downsample"));
  expect(shortcuts(model)).toEqual(["layer2.0.downsample PadChannels", "layer3.0.downsample PadChannels"]);
  const logits = await model.predict(x);
  const path = join(await mkdtemp(join(tmpdir(), "resnet-native-")), "model.safetensors");
  await model.save(path);
  using loaded = await loadModel(path);
  expect(shortcuts(loaded)).toEqual(shortcuts(model));
  expect(await loaded.predict(x)).toEqual(logits);
  await rm(dirname(path), { recursive: true });
});

test("a block may have a padded shortcut, which only adds channels", async () => {
  using block = new Residual(8, { shortcut: "pad", strides: 2, zeroInitResidual: true });
  const x = values(2, 3, 5, 6);
  const y = await block.forward(x);
  expect(y.shape).toEqual([2, 8, 3, 3]);
  // Its last norm is zero: what is left is the shortcut of option A, two channels before three.
  const padded = await padChannels(8, { stride: 2 }).forward(x);
  expect(y.data).toEqual(padded.data.map((value) => Math.max(value, 0)));
  expect([...(await block.stateDict()).keys()].filter((name) => name.includes("downsample"))).toEqual([]);
  expect(() => new Residual(4, { shortcut: "pad", inChannels: 5 })).toThrow(
    expect.objectContaining({ code: "ERR_SHAPE", message: expect.stringMatching(/^downsample: expected maps of at most the 4 channels/) }),
  );
});

test("depth 164 is possible with both blocks; basic ones are the default", () => {
  const sums = (block?: "basic" | "bottleneck") => {
    return kinds(new CifarResNet({ depth: 164, block }), [1, 3, 32, 32]).filter((layer) => / Add/.test(layer)).length;
  };
  expect([sums(), sums("basic"), sums("bottleneck")]).toEqual([3 * 27, 3 * 27, 3 * 18]);
});

test("1,001 layers run forward and backward", async () => {
  using model = new CifarResNet({ depth: 1001, preActivation: true });
  expect(model.layerSummary([1, 3, 8, 8], { depth: "layers" })).toHaveLength(333 * 10 + 3 + 5);
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.01 }) });
  const first = await trainer.step(values(2, 3, 8, 8), [0, 1]);
  const second = await trainer.step(values(2, 3, 8, 8), [0, 1]);
  expect(second.loss).toBeLessThan(first.loss);
});

test("a named network takes options that change what it names", () => {
  const shape = [1, 3, 64, 64];
  const resnext = new ResNet("resnet50", { groups: 32, widthPerGroup: 4, ...torchvision });
  expect(kinds(resnext, shape)).toEqual(kinds(new ResNet("resnext50_32x4d", torchvision), shape));
  expect(resnext.numParameters).toBe(25_028_904);
  expect(kinds(new ResNet("resnet34", { preActivation: true }), shape)).toEqual(kinds(new ResNet("preactresnet34"), shape));
  expect(kinds(new ResNet("preactresnet50", { preActivation: false }), shape)).toEqual(kinds(new ResNet50(), shape));
  expect(stages(new ResNet("resnet18", { stem: "small", numClasses: 7 }), shape)).toEqual([
    "stem 64x64x64",
    "layer1 64x64x64",
    "layer2 128x32x32",
    "layer3 256x16x16",
    "layer4 512x8x8",
    "head 7",
  ]);
});

test("accuracy goes with any number of classes", () => {
  const logits = tensor(new Float32Array(2 * 500_000), [2, 500_000]);
  logits.data[123_456] = 1;
  expect(new ResNet18().accuracy(logits, [123_456, 1])).toBe(0.5);
});

test.each<[string, number, (inChannels?: number) => Model, RegExp]>([
  [
    "channels",
    3,
    (inChannels) => new Residual(6, { inChannels }),
    /^network: cannot add a body of \(N, 6, .*\) and a shortcut of \(N, 3, .*\): channels differ/,
  ],
  [
    "sizes",
    4,
    (inChannels) => new Bottleneck(1, { inChannels, strides: 2 }),
    /^network: cannot add a body of \(N, 4, 112, 112\) and a shortcut of \(N, 4, 224, 224\): height and width differ/,
  ],
  [
    "channels of a block inside",
    3,
    (inChannels) => sequential([conv2d(8, { padding: 1 }), sequential([new Residual(8), new Residual(16)])], { inChannels }),
    /^1\.1: cannot add a body of \(N, 16, .*\) and a shortcut of \(N, 8, .*\): channels differ/,
  ],
  [
    "sizes of one's own block",
    3,
    (inChannels) => {
      const parts = { body: conv2d(8, { stride: 2, padding: 1 }), shortcut: conv2d(8, { kernelSize: 1 }) };
      return sequential([conv2d(8), residual(parts)], { inChannels });
    },
    /^1: cannot add a body of \(N, 8, 111, 111\) and a shortcut of \(N, 8, 222, 222\): height and width differ/,
  ],
])("%s that cannot be added are named with the block's path, when the network is built", async (_, channels, make, message) => {
  const call = () => make(channels);
  expect(call).toThrow(expect.objectContaining({ name: "ResNetError", code: "ERR_SHAPE" }));
  expect(call).toThrow(message);
  // While the channels are open, the first images tell; the sizes are theirs.
  using open = make();
  const { source } = message;
  const same = new RegExp(source.replaceAll(/\d{3}, \d{3}/g, ".*"));
  const error = await rejection(open.forward(values(1, channels, 32, 32)));
  expect(error).toMatchObject({ code: "ERR_SHAPE", message: expect.stringMatching(same) });
});
