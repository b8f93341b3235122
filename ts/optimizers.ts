import { ResNetError } from "./errors.js";
import { type ParameterOptions, parameterRules, type ParameterSettings, parameterSettings } from "./groups.js";
import { makeOptimizer, type Optimizer } from "./optimizer.js";
import { boolean, checkOptions, list, number, numberWithin, oneOf, type Rule } from "./options.js";

/** Options of {@link sgd}. */
export interface SgdOptions extends ParameterOptions {
  /** Learning rate, default 0.1. */
  lr?: number;
  /** Weight of the previous update, from 0 (default) to 1. */
  momentum?: number;
  /** How much less than 1 the gradient's weight is beside the previous update, from 0 (default) to 1; needs momentum. */
  dampening?: number;
  /** Whether to look ahead along the new update, default false; needs momentum, without dampening. */
  nesterov?: boolean;
  /** Weight of the parameters in the gradient, default 0. */
  weightDecay?: number;
}

/** Options of {@link adam} and {@link adamw}. */
export interface AdamOptions extends ParameterOptions {
  /** Learning rate, default 0.001. */
  lr?: number;
  /** Weights of the previous means of gradients and of their squares, from 0 to below 1, default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** What keeps the divisor from 0, default 1e-8. */
  eps?: number;
  /** Of `adam` the weight of the parameters in the gradient, default 0; of `adamw` in the step, default 0.01. */
  weightDecay?: number;
}

/** Options of {@link rmsprop}. */
export interface RmspropOptions extends ParameterOptions {
  /** Learning rate, default 0.01. */
  lr?: number;
  /** Weight of the previous mean of squares, from 0 to below 1, default 0.99. */
  alpha?: number;
  /** What keeps the divisor from 0, default 1e-8. */
  eps?: number;
  /** Weight of the previous update, from 0 (default) to 1. */
  momentum?: number;
  /** Weight of the parameters in the gradient, default 0. */
  weightDecay?: number;
}

/** Options of {@link lion}. */
export interface LionOptions extends ParameterOptions {
  /** Learning rate, by which every parameter moves in each step, default 0.0001. */
  lr?: number;
  /** Weights of the previous mean of gradients, in the step and in the mean that is kept, from 0 to below 1, default [0.9, 0.99]. */
  betas?: readonly [number, number];
  /** Weight of the parameters in the step, default 0. */
  weightDecay?: number;
}

/** Options of {@link lars}. */
export interface LarsOptions extends ParameterOptions {
  /** Learning rate, default 1. */
  lr?: number;
  /** Weight of the previous update, from 0 to 1, default 0.9. */
  momentum?: number;
  /** Weight of the parameters in the gradient, default 0. */
  weightDecay?: number;
  /** How far a weight moves, relative to its length, at a learning rate of 1; default 0.001. */
  trustCoefficient?: number;
}

/** Options of {@link muon}. */
export interface MuonOptions extends ParameterOptions {
  /** Learning rate, default 0.001. */
  lr?: number;
  /** Weight of the previous update, from 0 to 1, default 0.95. */
  momentum?: number;
  /** Whether to look ahead along the new update, default true. */
  nesterov?: boolean;
  /** Weight of the parameters in the step, default 0.1. */
  weightDecay?: number;
  /**
   * How long the step of a weight (out, n) is: `"original"` (default) is √max(1, out / n) times the learning rate; `"matchRmsAdamw"` is
   * 0.2 · √max(out, n) times it, about as long as AdamW's, for learning rates that suit AdamW (Liu et al., 2025: Muon is Scalable).
   */
  adjustLr?: "original" | "matchRmsAdamw";
}

/** The optimiser that {@link sgd} makes, with its settings. */
export interface Sgd extends Optimizer, ParameterSettings, Readonly<Required<Omit<SgdOptions, keyof ParameterOptions>>> {
  readonly name: "sgd";
}

/** The optimiser that {@link adam} makes, with its settings. */
export interface Adam extends Optimizer, ParameterSettings, Readonly<Required<Omit<AdamOptions, keyof ParameterOptions>>> {
  readonly name: "adam";
}

/** The optimiser that {@link adamw} makes, with its settings. */
export interface AdamW extends Optimizer, ParameterSettings, Readonly<Required<Omit<AdamOptions, keyof ParameterOptions>>> {
  readonly name: "adamw";
}

/** The optimiser that {@link rmsprop} makes, with its settings. */
export interface Rmsprop extends Optimizer, ParameterSettings, Readonly<Required<Omit<RmspropOptions, keyof ParameterOptions>>> {
  readonly name: "rmsprop";
}

/** The optimiser that {@link lion} makes, with its settings. */
export interface Lion extends Optimizer, ParameterSettings, Readonly<Required<Omit<LionOptions, keyof ParameterOptions>>> {
  readonly name: "lion";
}

/** The optimiser that {@link lars} makes, with its settings. */
export interface Lars extends Optimizer, ParameterSettings, Readonly<Required<Omit<LarsOptions, keyof ParameterOptions>>> {
  readonly name: "lars";
}

/** The optimiser that {@link muon} makes, with its settings. */
export interface Muon extends Optimizer, ParameterSettings, Readonly<Required<Omit<MuonOptions, keyof ParameterOptions>>> {
  readonly name: "muon";
}

const beta = numberWithin(0, 1, "most");
const betas = list(beta, "two finite numbers from 0 to below 1", 2) as Rule<readonly [number, number]>;
const adamRules = { lr: number(0), betas, eps: number(0), weightDecay: number(0), ...parameterRules };

/**
 * Stochastic gradient descent, as PyTorch defines it (momentum of Sutskever et al., 2013).
 *
 * @example
 * ```ts
 * fit(model, data, { optimizer: sgd({ lr: 0.01, momentum: 0.9 }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function sgd(options?: SgdOptions): Sgd {
  const fractions = { momentum: number(0, 1), dampening: number(0, 1) };
  const rules = { lr: number(0), ...fractions, nesterov: boolean, weightDecay: number(0), ...parameterRules };
  const given = checkOptions(options, rules);
  const { lr = 0.1, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0 } = given;
  for (const [name, needs] of Object.entries({ nesterov, dampening: dampening > 0 })) {
    if (needs && momentum === 0) throw new ResNetError("ERR_INVALID_ARGUMENT", `momentum: expected more than 0 with ${name}, got 0`);
  }
  if (nesterov && dampening > 0) throw new ResNetError("ERR_INVALID_ARGUMENT", `dampening: expected 0 with nesterov, got ${dampening}`);
  return makeOptimizer<Sgd>({ name: "sgd", lr, momentum, dampening, nesterov, weightDecay, ...parameterSettings(given) });
}

/**
 * Adam (Kingma and Ba, 2015: Adam, a Method for Stochastic Optimization), as PyTorch defines it. Weight decay is part of the gradient.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function adam(options?: AdamOptions): Adam {
  const given = checkOptions(options, adamRules);
  const { lr = 1e-3, eps = 1e-8, weightDecay = 0 } = given;
  return makeOptimizer<Adam>({ name: "adam", lr, betas: pair(given.betas ?? [0.9, 0.999]), eps, weightDecay, ...parameterSettings(given) });
}

/**
 * AdamW (Loshchilov and Hutter, 2019: Decoupled Weight Decay Regularization), as PyTorch defines it, but that norms and biases do not
 * decay unless `decayNormsAndBiases` is true. Decay is apart from the gradient.
 *
 * @example
 * ```ts
 * fit(model, data, { optimizer: adamw({ weightDecay: 0.05, groups: [{ layers: "fc", lrFactor: 10 }] }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function adamw(options?: AdamOptions): AdamW {
  const given = checkOptions(options, adamRules);
  const { lr = 1e-3, eps = 1e-8, weightDecay = 0.01 } = given;
  return makeOptimizer<AdamW>({ name: "adamw", lr, betas: pair(given.betas ?? [0.9, 0.999]), eps, weightDecay, ...parameterSettings(given, false) });
}

/**
 * RMSprop (Tieleman and Hinton, 2012: lecture 6.5 of Neural Networks for Machine Learning), as PyTorch defines it, not centred.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function rmsprop(options?: RmspropOptions): Rmsprop {
  const rules = { lr: number(0), alpha: beta, eps: number(0), momentum: number(0, 1), weightDecay: number(0), ...parameterRules };
  const given = checkOptions(options, rules);
  const { lr = 0.01, alpha = 0.99, eps = 1e-8, momentum = 0, weightDecay = 0 } = given;
  return makeOptimizer<Rmsprop>({ name: "rmsprop", lr, alpha, eps, momentum, weightDecay, ...parameterSettings(given) });
}

/**
 * Lion (Chen et al., 2023: Symbolic Discovery of Optimization Algorithms). Only the sign of a mean of gradients counts, so rates are some
 * three to ten times smaller than AdamW's, and decay as much larger.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function lion(options?: LionOptions): Lion {
  const given = checkOptions(options, { lr: number(0), betas, weightDecay: number(0), ...parameterRules });
  const { lr = 1e-4, weightDecay = 0 } = given;
  return makeOptimizer<Lion>({ name: "lion", lr, betas: pair(given.betas ?? [0.9, 0.99]), weightDecay, ...parameterSettings(given) });
}

/**
 * LARS (You et al., 2017: Large Batch Training of Convolutional Networks): SGD with momentum in which each convolution's and linear
 * layer's weight has a rate of its own, `trustCoefficient` · ‖w‖ / (‖g‖ + `weightDecay` · ‖w‖) times the learning rate.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function lars(options?: LarsOptions): Lars {
  const rules = { lr: number(0), momentum: number(0, 1), weightDecay: number(0), trustCoefficient: number(0), ...parameterRules };
  const given = checkOptions(options, rules);
  const { lr = 1, momentum = 0.9, weightDecay = 0, trustCoefficient = 1e-3 } = given;
  return makeOptimizer<Lars>({ name: "lars", lr, momentum, weightDecay, trustCoefficient, ...parameterSettings(given) });
}

/**
 * Muon (Jordan et al., 2024: https://kellerjordan.github.io/posts/muon), as PyTorch defines it: the update of each convolution's and
 * linear layer's weight, as a matrix (out, in · height · width), is brought near an orthogonal one by five steps of Newton-Schulz, here in
 * f32; that takes about as long as the rest of a step. Norms and biases are updated as {@link adamw} does, with the same learning rate, `betas` of [0.9, 0.95], and without decay unless
 * `decayNormsAndBiases` is true.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function muon(options?: MuonOptions): Muon {
  const adjustments = oneOf<"original" | "matchRmsAdamw">("original", "matchRmsAdamw");
  const own = { lr: number(0), momentum: number(0, 1), nesterov: boolean, weightDecay: number(0), adjustLr: adjustments };
  const given = checkOptions(options, { ...own, ...parameterRules });
  const { lr = 1e-3, momentum = 0.95, nesterov = true, weightDecay = 0.1, adjustLr = "original" } = given;
  return makeOptimizer<Muon>({ name: "muon", lr, momentum, nesterov, weightDecay, adjustLr, ...parameterSettings(given, false) });
}

/** A copy that stays as it is. */
function pair([first, second]: readonly [number, number]): readonly [number, number] {
  return Object.freeze([first, second] as const);
}
