import { type Flavor, factor, flavor, shortcut } from "./blocks.js";
import { describe } from "./description.js";
import { Model, type ModelOptions, modelRules, parted } from "./models.js";
import { boolean, check, checkOptions, count, either, integer, list, oneOf, probability, type Rules } from "./options.js";

/** Options of a residual network; what is not given is as the named network has it, or as in d2l.ai 8.6. */
export interface ResNetOptions extends ModelOptions {
  /** Number of classes, default 10. */
  numClasses?: number;
  /** Whose network it is; the default depends on the network. */
  flavor?: Flavor;
  /** What stages are made of: `"basic"` ({@link Residual}, default), `"bottleneck"` or `"resnext"`. */
  block?: "basic" | "bottleneck" | "resnext";
  /** See {@link BottleneckOptions} and {@link ResNeXtBlockOptions}. */
  groups?: number;
  /** See {@link BottleneckOptions}. */
  widthPerGroup?: number;
  /** See {@link ResNeXtBlockOptions}. */
  botMul?: number;
  /** Whether norm and ReLU come before the convolutions (He et al., 2016b), default false. */
  preActivation?: boolean;
  /**
   * What comes first: `"imagenet"` (default), a 7x7 convolution to 64 channels and a max-pooling, each with stride 2;
   * `"deep"`, three 3x3 convolutions in its place (ResNet-C; He et al., 2019); `"small"`, one 3x3 convolution to the first
   * stage's channels for images such as CIFAR's.
   */
  stem?: "imagenet" | "deep" | "small";
  /**
   * How shortcuts change channels and size: by a 1x1 convolution with the block's stride (`"conv"`, default); by average-pooling and a 1x1
   * convolution (`"avgpool"`, ResNet-D; He et al., 2019); or, where stages widen, without parameters (`"pad"`, option A of He et al.,
   * 2016): pixels by the stride, half of the new channels, all zero, before theirs and half behind ({@link padChannels}).
   */
  shortcut?: "conv" | "avgpool" | "pad";
  /** Whether each block starts as its shortcut (Goyal et al., 2017), default false. */
  zeroInitResidual?: boolean;
  /**
   * Probability, below 1, that training leaves the last block's residual branch out for an image, so that it passes by the shortcut alone; of
   * block l of L it is l / L times that (Huang et al., 2016, https://arxiv.org/abs/1603.09382). Default 0. Evaluation leaves nothing out.
   */
  stochasticDepth?: number;
}

/** A stage: how many residual blocks, and their channels (a bottleneck puts out four times as many). */
export type Stage = readonly [numResiduals: number, numChannels: number];

/** The names that {@link ResNet} takes for its stages. */
export const resNetNames = [
  "resnet18",
  "resnet34",
  "resnet50",
  "resnet101",
  "resnet152",
  "resnext18",
  "resnext34",
  "resnext50_32x4d",
  "resnext101_32x8d",
  "resnext101_64x4d",
  "wide_resnet50_2",
  "wide_resnet101_2",
  "preactresnet18",
  "preactresnet34",
  "preactresnet50",
  "preactresnet101",
  "preactresnet152",
] as const;

/** Name of a network whose stages are known. */
export type ResNetName = (typeof resNetNames)[number];

const stages = list(list(count, "", 2), "an array of [numResiduals, numChannels], integers of at least 1");
const archRule = { ...either(stages, oneOf(...resNetNames)), expected: `${stages.expected}, or one of ${resNetNames.join(", ")}` };
const sharedRules = { ...modelRules, numClasses: count, flavor, preActivation: boolean, shortcut, zeroInitResidual: boolean, stochasticDepth: probability };
const resNetRules: Rules<ResNetOptions> = {
  ...sharedRules,
  block: oneOf("basic", "bottleneck", "resnext"),
  groups: count,
  widthPerGroup: count,
  botMul: factor,
  stem: oneOf("imagenet", "deep", "small"),
};
const cifarRules: Rules<CifarResNetOptions> = {
  ...sharedRules,
  depth: integer(8, 20_000),
  block: oneOf("basic", "bottleneck"),
};

/**
 * A residual network (He et al., 2016, https://arxiv.org/abs/1512.03385): stem, stages, global average pool, linear. Each stage
 * but the first halves height and width. Images (N, C, H, W) become logits (N, numClasses). The stages are yours, or those of a
 * named network, of which the options change what they name.
 *
 * Names of weights are torchvision's or, for pre-activation, those of timm's resnetv2.
 *
 * @example
 * ```ts
 * const small = new ResNet([[2, 64], [2, 128]], { numClasses: 10, stem: "small" });
 * const resnet50d = new ResNet("resnet50", { flavor: "torchvision", stem: "deep", shortcut: "avgpool", numClasses: 1000 });
 * ```
 */
export class ResNet extends Model {
  /** @throws `ERR_INVALID_ARGUMENT` for stages or options that cannot be, or that do not go together. */
  constructor(arch: ResNetName | readonly Stage[], options?: ResNetOptions) {
    check("arch", arch, archRule);
    const [settings, own] = parted(checkOptions(options, resNetRules));
    super(describe("resnet", { arch, ...settings }), own);
  }
}

/**
 * ResNet-18 (He et al., 2016, table 1): stages of 2, 2, 2 and 2 basic blocks with 64, 128, 256 and 512 channels. 11,178,378 parameters
 * with 1 input channel and 10 classes. Flavor `"d2l"` by default, the network of d2l.ai 8.6.
 *
 * @example
 * ```ts
 * const model = new ResNet18({ numClasses: 10, seed: 42 });
 * console.log(model.layerSummary([1, 1, 96, 96]));
 * ```
 */
export class ResNet18 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnet18", options);
  }
}

/**
 * ResNet-34 (He et al., 2016, table 1): stages of 3, 4, 6 and 3 basic blocks. 21,290,250 parameters with 1 input channel and 10
 * classes. Flavor `"d2l"` by default.
 */
export class ResNet34 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnet34", options);
  }
}

/**
 * ResNet-50 (He et al., 2016, table 1): stages of 3, 4, 6 and 3 bottlenecks that put out 256, 512, 1024 and 2048 channels.
 * 23,541,130 parameters with 1 input channel and 10 classes. Flavor `"d2l"` by default; with `"torchvision"` it takes torchvision's
 * weights.
 *
 * @example
 * ```ts
 * const model = new ResNet50({ flavor: "torchvision", numClasses: 1000 });
 * await model.loadWeights("resnet50.pth");
 * ```
 */
export class ResNet50 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnet50", options);
  }
}

/**
 * ResNet-101 (He et al., 2016, table 1): stages of 3, 4, 23 and 3 bottlenecks. Flavor `"d2l"` by default; 44,549,160 parameters in
 * flavor `"torchvision"` with 3 input channels and 1000 classes.
 */
export class ResNet101 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnet101", options);
  }
}

/**
 * ResNet-152 (He et al., 2016, table 1): stages of 3, 8, 36 and 3 bottlenecks. Flavor `"d2l"` by default; 60,192,808 parameters in
 * flavor `"torchvision"` with 3 input channels and 1000 classes.
 */
export class ResNet152 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnet152", options);
  }
}

/**
 * ResNet-18 of d2l.ai's ResNeXt blocks (8.6.5): groups 16, botMul 1. 1,697,546 parameters with 1 input channel and 10 classes.
 * Flavor `"d2l"` by default.
 */
export class ResNeXt18 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnext18", options);
  }
}

/**
 * ResNet-34 of d2l.ai's ResNeXt blocks: groups 16, botMul 1. 3,103,818 parameters with 1 input channel and 10 classes. Flavor
 * `"d2l"` by default.
 */
export class ResNeXt34 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnext34", options);
  }
}

/**
 * ResNeXt-50 32x4d (Xie et al., 2017, https://arxiv.org/abs/1611.05431): ResNet-50 whose 3x3 convolutions have 32 groups, of 4
 * channels each in the first stage. Flavor `"torchvision"` by default; 25,028,904 parameters with 3 input channels and 1000
 * classes.
 */
export class ResNeXt50_32x4d extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnext50_32x4d", options);
  }
}

/**
 * ResNeXt-101 32x8d (Xie et al., 2017). Flavor `"torchvision"` by default; 88,791,336 parameters with 3 input channels and 1000
 * classes.
 */
export class ResNeXt101_32x8d extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnext101_32x8d", options);
  }
}

/**
 * ResNeXt-101 64x4d (Xie et al., 2017). Flavor `"torchvision"` by default; 83,455,272 parameters with 3 input channels and 1000
 * classes.
 */
export class ResNeXt101_64x4d extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("resnext101_64x4d", options);
  }
}

/**
 * Wide ResNet-50-2 (Zagoruyko and Komodakis, 2016, https://arxiv.org/abs/1605.07146): ResNet-50 whose 3x3 convolutions are twice as
 * wide. Flavor `"torchvision"` by default; 68,883,240 parameters with 3 input channels and 1000 classes.
 */
export class WideResNet50_2 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("wide_resnet50_2", options);
  }
}

/**
 * Wide ResNet-101-2 (Zagoruyko and Komodakis, 2016). Flavor `"torchvision"` by default; 126,886,696 parameters with 3 input
 * channels and 1000 classes.
 */
export class WideResNet101_2 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("wide_resnet101_2", options);
  }
}

/**
 * Pre-activation ResNet-18 (He et al., 2016b, https://arxiv.org/abs/1603.05027): stages of 2, 2, 2 and 2 basic blocks with norm and ReLU
 * before each convolution, and a last norm and ReLU before the pool.
 * Flavor `"d2l"` by default; with `"torchvision"` it is timm's resnetv2_18.
 */
export class PreActResNet18 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("preactresnet18", options);
  }
}

/**
 * Pre-activation ResNet-34 (He et al., 2016b, https://arxiv.org/abs/1603.05027): stages of 3, 4, 6 and 3 basic blocks with norm and ReLU
 * before each convolution, and a last norm and ReLU before the pool.
 * Flavor `"d2l"` by default; with `"torchvision"` it is timm's resnetv2_34.
 */
export class PreActResNet34 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("preactresnet34", options);
  }
}

/**
 * Pre-activation ResNet-50 (He et al., 2016b, https://arxiv.org/abs/1603.05027): stages of 3, 4, 6 and 3 bottleneck blocks with norm and ReLU
 * before each convolution, and a last norm and ReLU before the pool.
 * Flavor `"d2l"` by default; with `"torchvision"` it is timm's resnetv2_50.
 */
export class PreActResNet50 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("preactresnet50", options);
  }
}

/**
 * Pre-activation ResNet-101 (He et al., 2016b, https://arxiv.org/abs/1603.05027): stages of 3, 4, 23 and 3 bottleneck blocks with norm and ReLU
 * before each convolution, and a last norm and ReLU before the pool.
 * Flavor `"d2l"` by default; with `"torchvision"` it is timm's resnetv2_101.
 */
export class PreActResNet101 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("preactresnet101", options);
  }
}

/**
 * Pre-activation ResNet-152 (He et al., 2016b, https://arxiv.org/abs/1603.05027): stages of 3, 8, 36 and 3 bottleneck blocks with norm and ReLU
 * before each convolution, and a last norm and ReLU before the pool.
 * Flavor `"d2l"` by default; with `"torchvision"` it is timm's resnetv2_152.
 */
export class PreActResNet152 extends ResNet {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ResNetOptions) {
    super("preactresnet152", options);
  }
}

/** Options of {@link CifarResNet}. */
export interface CifarResNetOptions extends Omit<ResNetOptions, "groups" | "widthPerGroup" | "botMul" | "stem"> {
  /** Number of layers: 6n + 2 for basic blocks, 9n + 2 for bottlenecks, n in each of three stages. */
  depth: number;
  /** Which block, where the depth fits both; the default is then `"basic"`. */
  block?: "basic" | "bottleneck";
}

/**
 * The residual networks for CIFAR's 32x32 images (He et al., 2016, 4.2, and 2016b): a 3x3 convolution, three stages of n blocks
 * with 16, 32 and 64 channels, global average pool, linear. Shortcuts that change shape have a 1x1 convolution; with `shortcut: "pad"`
 * they have no parameters, as the paper's for CIFAR (option A). Flavor `"d2l"` by default.
 *
 * @example
 * ```ts
 * const resnet110 = new CifarResNet({ depth: 110 });
 * const resnet1001 = new CifarResNet({ depth: 1001, preActivation: true });
 * // As the paper has it, and as public weights often are, in which the head has another name.
 * const resnet20 = new CifarResNet({ depth: 20, shortcut: "pad", flavor: "torchvision" });
 * await resnet20.loadWeights("resnet20.th", { rename: { linear: "fc" } });
 * ```
 */
export class CifarResNet extends Model {
  /** @throws `ERR_INVALID_ARGUMENT` for a depth or options that cannot be. */
  constructor(options: CifarResNetOptions) {
    const [{ depth, ...settings }, own] = parted(checkOptions(options, cifarRules));
    check("depth", depth, cifarRules.depth);
    super(describe("cifar_resnet", { depth, ...settings }), own);
  }
}

/**
 * GoogLeNet as d2l.ai 8.4 defines it (Szegedy et al., 2015, https://arxiv.org/abs/1409.4842): a stem, nine {@link Inception} blocks,
 * global average pool, linear; no norms, no auxiliary classifiers. 5,977,530 parameters with 1 input channel and 10 classes.
 *
 * @example
 * ```ts
 * const model = new GoogLeNet({ numClasses: 10 });
 * ```
 */
export class GoogLeNet extends Model {
  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(options?: ModelOptions & { numClasses?: number }) {
    const { numClasses = 10, ...rest } = checkOptions(options, { ...modelRules, numClasses: count });
    super(describe("googlenet", { numClasses }), rest);
  }
}
