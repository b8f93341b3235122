import {
  type Batch,
  CifarResNet,
  fashionMnist,
  GoogLeNet,
  type Model,
  type ModelOptions,
  PreActResNet101,
  PreActResNet152,
  PreActResNet18,
  PreActResNet34,
  PreActResNet50,
  ResNet,
  ResNet101,
  ResNet152,
  ResNet18,
  ResNet34,
  ResNet50,
  ResNeXt101_32x8d,
  ResNeXt101_64x4d,
  ResNeXt18,
  ResNeXt34,
  ResNeXt50_32x4d,
  sgd,
  tensor,
  Trainer,
  WideResNet101_2,
  WideResNet50_2,
} from "resnet-native";
import { expect, test } from "vitest";

const all = process.env["RESNET_NATIVE_TESTS"] === "all";

interface Run {
  model: (options: ModelOptions) => Model;
  lr: number;
  steps: number;
  /** Standard deviation of the pixels. */
  contrast?: number;
}

/** One of each kind of block. */
const kinds: Record<string, Run> = {
  ResNet18: { model: (options) => new ResNet18(options), lr: 0.02, steps: 12 },
  "ResNet-14 of bottlenecks": {
    model: (options) => new ResNet([[1, 64], [1, 128], [1, 256], [1, 512]], { block: "bottleneck", ...options }),
    lr: 0.005,
    steps: 6,
  },
  ResNeXt18: { model: (options) => new ResNeXt18(options), lr: 0.02, steps: 6 },
  PreActResNet18: { model: (options) => new PreActResNet18(options), lr: 0.02, steps: 5 },
  CifarResNet20: { model: (options) => new CifarResNet({ depth: 20, ...options }), lr: 0.05, steps: 8 },
  PreActCifarResNet29: {
    model: (options) => new CifarResNet({ depth: 29, preActivation: true, ...options }),
    lr: 0.1,
    steps: 13,
  },
  // Without norms, bright and dark pixels far apart bring the last layer's inputs into reach of its weights.
  GoogLeNet: { model: (options) => new GoogLeNet(options), lr: 0.0004, steps: 57, contrast: 400 },
};

const others: Record<string, Run> = {
  ResNet34: { model: (options) => new ResNet34(options), lr: 0.005, steps: 16 },
  ResNet50: { model: (options) => new ResNet50(options), lr: 0.002, steps: 15 },
  ResNet101: { model: (options) => new ResNet101(options), lr: 0.001, steps: 16 },
  ResNet152: { model: (options) => new ResNet152(options), lr: 0.001, steps: 16 },
  ResNeXt34: { model: (options) => new ResNeXt34(options), lr: 0.01, steps: 16 },
  ResNeXt50_32x4d: { model: (options) => new ResNeXt50_32x4d(options), lr: 0.01, steps: 18 },
  ResNeXt101_32x8d: { model: (options) => new ResNeXt101_32x8d(options), lr: 0.005, steps: 16 },
  ResNeXt101_64x4d: { model: (options) => new ResNeXt101_64x4d(options), lr: 0.005, steps: 16 },
  WideResNet50_2: { model: (options) => new WideResNet50_2(options), lr: 0.005, steps: 18 },
  WideResNet101_2: { model: (options) => new WideResNet101_2(options), lr: 0.005, steps: 18 },
  PreActResNet34: { model: (options) => new PreActResNet34(options), lr: 0.01, steps: 16 },
  PreActResNet50: { model: (options) => new PreActResNet50(options), lr: 0.01, steps: 16 },
  PreActResNet101: { model: (options) => new PreActResNet101(options), lr: 0.01, steps: 16 },
  PreActResNet152: { model: (options) => new PreActResNet152(options), lr: 0.005, steps: 18 },
  "ResNet-50-D": {
    model: (options) => {
      return new ResNet("resnet50", { stem: "deep", shortcut: "avgpool", flavor: "torchvision", ...options });
    },
    lr: 0.01,
    steps: 25,
  },
};

/** Sixty-four images of so many pixels a side with a mean of 0 and the given standard deviation. */
async function standardised(side: number, contrast: number): Promise<Pick<Batch, "images" | "labels">> {
  const { train } = await fashionMnist({ source: "sample", resize: [side, side] });
  const { images: { data, shape }, labels } = (await train.batches({ batchSize: 64 }).next()).value!;
  const mean = data.reduce((sum, pixel) => sum + pixel, 0) / data.length;
  const deviation = Math.sqrt(data.reduce((sum, pixel) => sum + (pixel - mean) ** 2, 0) / data.length);
  return { images: tensor(data.map((pixel) => ((pixel - mean) * contrast) / deviation), shape), labels };
}

test.each(Object.entries(all ? { ...kinds, ...others } : kinds))(
  "%s overfits 64 images",
  async (name, { model: make, lr, steps, contrast = 1 }) => {
    using model = make({ seed: 1, threads: 1 });
    const trainer = new Trainer(model, { optimizer: sgd({ lr, momentum: 0.9 }) });
    // What is always tested learns from small images.
    const { images, labels } = await standardised(name in kinds ? 16 : 32, contrast);
    const losses: number[] = [];
    for (let step = 0; step <= steps; step++) losses.push((await trainer.step(images, labels)).loss);
    expect(losses.at(-1)! * 5).toBeLessThan(losses[0]!);
  },
);
