import { describe, type Description } from "./description.js";
import { descriptionOf, Model, type ModelOptions, modelRule, modelRules, Network, parted } from "./models.js";
import { boolean, check, checkOptions, count, list, number, oneOf, probability, type Rules } from "./options.js";

/**
 * Whose network it is: d2l.ai's, where convolutions have biases, 1x1 shortcuts no norm (but the ResNeXt block's) and weights
 * are drawn as Glorot and Bengio (2010) do; or torchvision's, without biases, with a norm in every shortcut and weights drawn
 * as He et al. (2015) do.
 */
export type Flavor = "d2l" | "torchvision";

/** Options that all residual blocks have. */
export interface ResidualOptions extends ModelOptions {
  /** Whether the shortcut has a 1x1 convolution, default false; this or a padded one is needed where the block changes channels or size. */
  use1x1Conv?: boolean;
  /** Stride of the block, default 1. */
  strides?: number;
  /**
   * How a shortcut with a convolution changes size: by its stride (default) or by average-pooling (He et al., 2019). Or `"pad"`, in place
   * of a convolution, so without `use1x1Conv`: see {@link padChannels}.
   */
  shortcut?: "conv" | "avgpool" | "pad";
  /** Whose block it is, default `"d2l"`. */
  flavor?: Flavor;
  /** Whether the block starts as its shortcut (Goyal et al., 2017), default false. */
  zeroInitResidual?: boolean;
  /**
   * Probability, below 1, that in training an image passes by the shortcut alone; else the residual branch counts 1 / (1 − p) times (Huang et
   * al., 2016, https://arxiv.org/abs/1603.09382; torchvision's mode `"row"`). Default 0.
   */
  stochasticDepth?: number;
}

/** Options of a bottleneck. */
export interface BottleneckOptions extends ResidualOptions {
  /** Groups of the 3x3 convolution, default 1 (Xie et al., 2017). */
  groups?: number;
  /** Channels of each group where `numChannels` is 64, default 64 (Zagoruyko and Komodakis, 2016, take 128). */
  widthPerGroup?: number;
}

/** Options of the ResNeXt block. */
export interface ResNeXtBlockOptions extends ResidualOptions {
  /** Channels of each group of the 3x3 convolution, default 16. */
  groups?: number;
  /** Channels of the 3x3 convolution over the block's, default 1. */
  botMul?: number;
}

export const flavor = oneOf<Flavor>("d2l", "torchvision");
export const shortcut = oneOf("conv", "avgpool", "pad");
export const factor = number(0);

const residualRules: Rules<ResidualOptions> = {
  ...modelRules,
  use1x1Conv: boolean,
  strides: count,
  shortcut,
  flavor,
  zeroInitResidual: boolean,
  stochasticDepth: probability,
};
const bottleneckRules: Rules<BottleneckOptions> = { ...residualRules, groups: count, widthPerGroup: count };
const resNeXtRules: Rules<ResNeXtBlockOptions> = { ...residualRules, groups: count, botMul: factor };

type Kind = { block: "basic" | "bottleneck" | "resnext"; preActivation?: boolean };

/** What the classes below have in common. */
abstract class Block extends Model {
  /** @internal */
  constructor(numChannels: number, options: ModelOptions | undefined, rules: Rules<ModelOptions>, kind: Kind) {
    check("numChannels", numChannels, count);
    const [settings, own] = parted(checkOptions(options, rules));
    super(describe("residual_block", { numChannels, ...settings, ...kind }), own);
  }
}

/**
 * The residual block of two 3x3 convolutions (He et al., 2016, https://arxiv.org/abs/1512.03385): conv, norm, ReLU, conv, norm,
 * added to the shortcut, ReLU. Images (N, C, H, W) become (N, numChannels, ⌈H / strides⌉, ⌈W / strides⌉).
 *
 * @example
 * ```ts
 * const y = await new Residual(6, { use1x1Conv: true, strides: 2 }).forward(x);
 * ```
 */
export class Residual extends Block {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: ResidualOptions) {
    super(numChannels, options, residualRules, { block: "basic" });
  }
}

/**
 * The bottleneck (He et al., 2016): 1x1, 3x3 and 1x1 convolutions, each with a norm, ReLU between them, added to the shortcut,
 * ReLU. Images (N, C, H, W) become (N, 4·numChannels, ⌈H / strides⌉, ⌈W / strides⌉). The stride is the 3x3 convolution's, as in
 * torchvision. Its 3x3 convolution has ⌊numChannels · widthPerGroup / 64⌋ · groups channels.
 *
 * @example
 * ```ts
 * const block = new Bottleneck(64, { use1x1Conv: true, groups: 32, widthPerGroup: 4, flavor: "torchvision" });
 * ```
 */
export class Bottleneck extends Block {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: BottleneckOptions) {
    super(numChannels, options, bottleneckRules, { block: "bottleneck" });
  }
}

/**
 * The ResNeXt block of d2l.ai 8.6.5 (after Xie et al., 2017, https://arxiv.org/abs/1611.05431): 1x1, grouped 3x3 and 1x1
 * convolutions, each with a norm. The 3x3 convolution has b = numChannels · botMul channels, rounded, in ⌊b / groups⌋ groups: as
 * in the chapter, `groups` is the width of a group. Images (N, C, H, W) become (N, numChannels, ⌈H / strides⌉, ⌈W / strides⌉).
 *
 * @example
 * ```ts
 * const y = await new ResNeXtBlock(32, { groups: 16, botMul: 1 }).forward(x);
 * ```
 */
export class ResNeXtBlock extends Block {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: ResNeXtBlockOptions) {
    super(numChannels, options, resNeXtRules, { block: "resnext" });
  }
}

/**
 * The pre-activation block of two 3x3 convolutions (He et al., 2016b, https://arxiv.org/abs/1603.05027): norm, ReLU, conv, twice,
 * added to the shortcut; nothing follows the sum. A shortcut with a 1x1 convolution, or a padded one, reads what the first ReLU gives.
 * Images (N, C, H, W) become (N, numChannels, ⌈H / strides⌉, ⌈W / strides⌉). Names are those of timm's resnetv2.
 *
 * @example
 * ```ts
 * const y = await new PreActResidual(64).forward(x);
 * ```
 */
export class PreActResidual extends Block {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: ResidualOptions) {
    super(numChannels, options, residualRules, { block: "basic", preActivation: true });
  }
}

/**
 * The pre-activation bottleneck (He et al., 2016b): norm, ReLU, conv three times, with 1x1, 3x3 and 1x1 kernels. Images (N, C, H,
 * W) become (N, 4·numChannels, ⌈H / strides⌉, ⌈W / strides⌉).
 *
 * @example
 * ```ts
 * const y = await new PreActBottleneck(16, { use1x1Conv: true }).forward(x);
 * ```
 */
export class PreActBottleneck extends Block {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: BottleneckOptions) {
    super(numChannels, options, bottleneckRules, { block: "bottleneck", preActivation: true });
  }
}

const twoCounts = list(count, "two integers from 1 to 1048576", 2);

/**
 * The Inception block of d2l.ai 8.4 (Szegedy et al., 2015, https://arxiv.org/abs/1409.4842): four branches side by side, each
 * convolution followed by ReLU: 1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3 max-pooling and 1x1. Images (N, C, H, W) become (N, c1 + c2[1]
 * + c3[1] + c4, H, W).
 *
 * @example
 * ```ts
 * const y = await new Inception(64, [96, 128], [16, 32], 32).forward(x);
 * ```
 */
export class Inception extends Model {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(
    c1: number,
    c2: readonly [number, number],
    c3: readonly [number, number],
    c4: number,
    options?: ModelOptions,
  ) {
    const channels = {
      c1: check("c1", c1, count),
      c2: check("c2", c2, twoCounts),
      c3: check("c3", c3, twoCounts),
      c4: check("c4", c4, count),
    };
    super(describe("inception", channels), checkOptions(options, modelRules));
  }
}

const blocksRule = list(modelRule, "an array of blocks");

/** A part of a network; its name begins the names of its weights. */
function named(name: string, model: Model): { name: string; layer: Description } {
  return { name, layer: descriptionOf(model) };
}

/** Blocks with numbers for names. */
function numbered(parameter: string, blocks: readonly Model[]) {
  return check(parameter, blocks, blocksRule).map((block, i) => named(String(i), block));
}

/**
 * Blocks, one after the other. Only their descriptions are taken: the result has weights of its own, also where the
 * same block stands twice.
 *
 * @example
 * ```ts
 * const stage = sequential([new Residual(64, { use1x1Conv: true, strides: 2 }), new Residual(64)]);
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if something in the array is no block.
 */
export function sequential(blocks: readonly Model[], options?: ModelOptions): Model {
  const root = { type: "sequential", children: numbered("blocks", blocks) };
  return new Network(root, checkOptions(options, modelRules));
}

/** What {@link residual} puts together. */
export interface ResidualParts extends ModelOptions {
  /** The residual branch. */
  body: Model;
  /** What brings the input to the body's shape; by default the input itself is added. */
  shortcut?: Model;
  /** Whether ReLU follows the sum, default true. */
  relu?: boolean;
  /** Probability that training leaves the body out for an image, default 0: see {@link ResidualOptions}. */
  stochasticDepth?: number;
}

/**
 * A residual block of your own: body(x) + shortcut(x), then ReLU. Body and shortcut must give the same shape. The names of their
 * weights begin with `body` and `downsample`.
 *
 * @example
 * ```ts
 * const body = sequential([conv2d(64, { padding: 1 }), batchNorm2d(), relu(), conv2d(64, { padding: 1 }), batchNorm2d()]);
 * const block = residual({ body, shortcut: conv2d(64, { kernelSize: 1 }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if body or shortcut is no block.
 */
export function residual(parts: ResidualParts): Model {
  const rules: Rules<ResidualParts> = { ...modelRules, body: modelRule, shortcut: modelRule, relu: boolean, stochasticDepth: probability };
  const { body, shortcut, relu = true, stochasticDepth, ...rest } = checkOptions(parts, rules);
  // Under a name of its own, so that a body with a shortcut inside gives no name twice.
  const branch = { type: "sequential", children: [named("body", check("body", body, modelRule))] };
  const settings = { shortcut: shortcut && descriptionOf(shortcut), relu, stochastic_depth: stochasticDepth };
  return new Network({ type: "residual", body: branch, ...settings }, rest);
}

/**
 * Branches that read the same input, side by side: their outputs' channels in order. Heights and widths must agree.
 *
 * @example
 * ```ts
 * const block = concat([conv2d(16, { kernelSize: 1 }), conv2d(24, { padding: 1 })]); // (N, C, H, W) to (N, 40, H, W)
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if something in the array is no block.
 */
export function concat(branches: readonly Model[], options?: ModelOptions): Model {
  const root = { type: "concat", branches: numbered("branches", branches) };
  return new Network(root, checkOptions(options, modelRules));
}
