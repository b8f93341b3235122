import { describe } from "./description.js";
import { type Model, type ModelOptions, modelRules, Network } from "./models.js";
import { boolean, check, checkOptions, count, either, integer, list, number, oneOf, probability, type Rule, type Rules } from "./options.js";

/** Largest size of a kernel, stride or padding. */
const MOST = 2 ** 20;

/** A number for both directions, or one down and one across. */
export type Pair = number | readonly [down: number, across: number];

/** How the weight of a layer is drawn: Glorot and Bengio (2010), He et al. (2015; normal, fan-out), or PyTorch's default. */
export type Init = "xavier-uniform" | "kaiming-normal" | "torch-default";

/** Options of {@link conv2d}. */
export interface Conv2dOptions extends ModelOptions {
  /** Height and width of the kernel, default 3. */
  kernelSize?: Pair;
  /** Pixels between neighbouring windows, default 1. */
  stride?: Pair;
  /** Zero rows and columns around the input, default 0. */
  padding?: Pair;
  /** Groups that input and output channels are divided into, default 1. */
  groups?: number;
  /** Whether a bias is added, default true. */
  bias?: boolean;
  /** How the weight is drawn, default `"xavier-uniform"`. */
  init?: Init;
}

/** Options of {@link maxPool2d}. */
export interface MaxPool2dOptions extends ModelOptions {
  /** Height and width of a window, at most 255 pixels. */
  kernelSize: Pair;
  /** Pixels between neighbouring windows, default the kernel's. */
  stride?: Pair;
  /** Rows and columns around the input that never win, default 0, at most half the kernel. */
  padding?: Pair;
}

/** Options of {@link avgPool2d}. */
export interface AvgPool2dOptions extends ModelOptions {
  /** Height and width of a window. */
  kernelSize: Pair;
  /** Pixels between neighbouring windows, default the kernel's. */
  stride?: Pair;
  /** Zero rows and columns around the input, default 0, at most half the kernel. */
  padding?: Pair;
  /** Whether a last window may hang over the edge, default false. */
  ceilMode?: boolean;
  /** Whether padding counts in the mean, default true. */
  countIncludePad?: boolean;
}

/** Options of {@link padChannels}. */
export interface PadChannelsOptions extends ModelOptions {
  /** Pixels from one that is taken to the next, default 1: every pixel is. */
  stride?: Pair;
}

/** Options of {@link batchNorm2d}. */
export interface BatchNorm2dOptions extends ModelOptions {
  /** Added to the variance, default 1e-5. */
  eps?: number;
  /** Weight of the new statistic in the running one, from 0 to 1, default 0.1. */
  momentum?: number;
  /** Whether γ starts at 0 instead of 1, default false. */
  zeroInit?: boolean;
}

/** Options of {@link linear}. */
export interface LinearOptions extends ModelOptions {
  /** Whether a bias is added, default true. */
  bias?: boolean;
  /** How the weight is drawn, default `"xavier-uniform"`. */
  init?: Init;
}

const pair = pairOf(1);
const margins = pairOf(0);
const init = oneOf<Init>("xavier-uniform", "kaiming-normal", "torch-default");

function pairOf(least: number): Rule<Pair> {
  const one = integer(least, MOST);
  const { accepts } = either(one, list(one, "", 2));
  return { expected: `${one.expected}, or two of them`, accepts };
}

/** A layer with its settings, as a model. */
function layer(type: string, settings: object, options: ModelOptions): Model {
  return new Network(describe(type, settings), options);
}

function both(value: Pair): Pair {
  return typeof value === "number" ? [value, value] : value;
}

/** An option that has no default. */
function required<Options extends { kernelSize: Pair }>(options: Options): Options {
  check("kernelSize", options.kernelSize, pair);
  return options;
}

/**
 * A convolution: (N, C, H, W) to (N, `outChannels`, ⌊(H + 2·padding − kernelSize) / stride⌋ + 1, …). C follows from the first
 * input.
 *
 * @example
 * ```ts
 * const conv = conv2d(64, { kernelSize: 7, stride: 2, padding: 3 });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be.
 */
export function conv2d(outChannels: number, options?: Conv2dOptions): Model {
  check("outChannels", outChannels, count);
  const rules: Rules<Conv2dOptions> = {
    ...modelRules,
    kernelSize: pair,
    stride: pair,
    padding: margins,
    groups: count,
    bias: boolean,
    init,
  };
  const given = checkOptions(options, rules);
  const { kernelSize = 3, stride = 1, padding = 0, groups = 1, bias = true, init: drawn, ...rest } = given;
  const windows = { kernel: both(kernelSize), stride: both(stride), padding: both(padding) };
  return layer("conv2d", { outChannels, ...windows, groups, bias, init: drawn }, rest);
}

/**
 * Batch normalisation over (N, H, W) of each channel (Ioffe and Szegedy, 2015), with PyTorch's conventions: `momentum` is the
 * weight of the new statistic, the running variance is unbiased. Shapes stay as they are.
 *
 * @throws `ERR_INVALID_ARGUMENT` for options that cannot be.
 */
export function batchNorm2d(options?: BatchNorm2dOptions): Model {
  const rules: Rules<BatchNorm2dOptions> = { ...modelRules, eps: number(0), momentum: number(0, 1), zeroInit: boolean };
  const { eps = 1e-5, momentum = 0.1, zeroInit = false, ...rest } = checkOptions(options, rules);
  return layer("batch_norm2d", { eps, momentum, zeroInit }, rest);
}

/** max(x, 0). Shapes stay as they are. */
export function relu(options?: ModelOptions): Model {
  return layer("relu", {}, checkOptions(options, modelRules));
}

/** x / (1 + exp(−x)), also called swish (Elfwing et al., 2018). Shapes stay as they are. */
export function silu(options?: ModelOptions): Model {
  return layer("silu", {}, checkOptions(options, modelRules));
}

/**
 * The maximum of each window: (N, C, H, W) to (N, C, ⌊(H + 2·padding − kernelSize) / stride⌋ + 1, …).
 *
 * @example
 * ```ts
 * const pool = maxPool2d({ kernelSize: 3, stride: 2, padding: 1 });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for options that cannot be.
 */
export function maxPool2d(options: MaxPool2dOptions): Model {
  const rules: Rules<MaxPool2dOptions> = { ...modelRules, kernelSize: pair, stride: pair, padding: margins };
  const { kernelSize, stride = kernelSize, padding = 0, ...rest } = required(checkOptions(options, rules));
  return layer("max_pool2d", { kernel: both(kernelSize), stride: both(stride), padding: both(padding) }, rest);
}

/**
 * The mean of each window, with PyTorch's rules for edges: (N, C, H, W) to (N, C, ⌊(H + 2·padding − kernelSize) / stride⌋ + 1,
 * …), rounded up with `ceilMode`.
 *
 * @throws `ERR_INVALID_ARGUMENT` for options that cannot be.
 */
export function avgPool2d(options: AvgPool2dOptions): Model {
  const rules: Rules<AvgPool2dOptions> = {
    ...modelRules,
    kernelSize: pair,
    stride: pair,
    padding: margins,
    ceilMode: boolean,
    countIncludePad: boolean,
  };
  const given = required(checkOptions(options, rules));
  const { kernelSize, stride = kernelSize, padding = 0, ceilMode = false, countIncludePad = true, ...rest } = given;
  const windows = { kernel: both(kernelSize), stride: both(stride), padding: both(padding) };
  return layer("avg_pool2d", { ...windows, ceilMode, countIncludePad }, rest);
}

/** The mean of each channel's map: (N, C, H, W) to (N, C). */
export function globalAvgPool2d(options?: ModelOptions): Model {
  return layer("global_avg_pool2d", {}, checkOptions(options, modelRules));
}

/**
 * Zero channels around those of the pixels that a stride takes, without parameters: (N, C, H, W) to (N, `outChannels`, ⌈H / stride⌉, …). Of
 * the `outChannels` − C new channels half, rounded down, come before the old ones. It is the shortcut of option A (He et al., 2016,
 * https://arxiv.org/abs/1512.03385).
 *
 * @example
 * ```ts
 * const body = sequential([conv2d(32, { stride: 2, padding: 1 }), batchNorm2d()]);
 * const block = residual({ body, shortcut: padChannels(32, { stride: 2 }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. Where C is known it must be at most `outChannels`, else `ERR_SHAPE`.
 */
export function padChannels(outChannels: number, options?: PadChannelsOptions): Model {
  check("outChannels", outChannels, count);
  const { stride = 1, ...rest } = checkOptions(options, { ...modelRules, stride: pair });
  return layer("pad_channels", { outChannels, stride: both(stride) }, rest);
}

/**
 * In training, zeroes each value with probability `p` (default 0.5, below 1) and divides the others by 1 − p (Srivastava et
 * al., 2014); otherwise does nothing. What is zeroed follows from the model's seed and the number of updates so far.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a probability that is none, or 1.
 */
export function dropout(options?: ModelOptions & { p?: number }): Model {
  const { p = 0.5, ...rest } = checkOptions(options, { ...modelRules, p: probability });
  return layer("dropout", { p }, rest);
}

/**
 * A fully connected layer: (N, F) to (N, `outFeatures`). F follows from the first input.
 *
 * @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be.
 */
export function linear(outFeatures: number, options?: LinearOptions): Model {
  check("outFeatures", outFeatures, count);
  const { bias = true, init: drawn, ...rest } = checkOptions(options, { ...modelRules, bias: boolean, init });
  return layer("linear", { outFeatures, bias, init: drawn }, rest);
}
