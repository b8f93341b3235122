import { ResNetError } from "./errors.js";
import { checkOptions, integer, list, MAX_U32, number, numberWithin, oneOf, type Rule } from "./options.js";
import { makeSchedule, type Schedule, scheduleRule } from "./schedule.js";

/** Options of {@link stepDecay}. */
export interface StepDecayOptions {
  /** Epochs with the same rate, default 30. */
  every?: number;
  /** What the rate is then multiplied by, from 0 to 1, default 0.1. */
  gamma?: number;
}

/** Options of {@link multiStep}. */
export interface MultiStepOptions {
  /** Epochs after which the rate becomes smaller, each more than the one before. */
  milestones: readonly number[];
  /** What the rate is then multiplied by, from 0 to 1, default 0.1. */
  gamma?: number;
}

/** Options of {@link exponential}. */
export interface ExponentialOptions {
  /** What the rate is multiplied by after each epoch, from 0 to 1, default 0.9. */
  gamma?: number;
}

/** Options of {@link polynomial}. */
export interface PolynomialOptions {
  /** Power of the share of updates that are left, default 1: a straight line. */
  power?: number;
  /** Epochs until the rate is 0, by default all of the run. */
  epochs?: number;
}

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** The least rate, default 0. */
  minLr?: number;
  /** Epochs of the first cycle, after which the rate starts again from the top; by default the run is one cycle. */
  cycle?: number;
  /** How much longer each cycle is than the one before, at least 1, the default; needs `cycle`. */
  cycleFactor?: number;
}

/** Options of {@link oneCycle}. */
export interface OneCycleOptions {
  /** The largest rate, by default the optimiser's. */
  max?: number;
  /** Share of the run in which the rate rises, from 0 to 1, default 0.3. */
  rise?: number;
  /** How much smaller than the largest rate the first is, at least 1, default 25. */
  divFactor?: number;
  /** How much smaller than the first rate the last is, at least 1, default 10,000. */
  finalDivFactor?: number;
  /** The way up and down, default `"cosine"`. */
  anneal?: "cosine" | "linear";
}

/** Options of {@link reduceOnPlateau}. */
export interface ReduceOnPlateauOptions {
  /** What the rate is multiplied by, from 0 to 1, default 0.1. */
  factor?: number;
  /** Epochs without a better loss that are waited for, default 10. */
  patience?: number;
  /** By which share of the least loss so far a loss must be below it to be better, default 0.0001. */
  threshold?: number;
  /** Epochs after a change of the rate that do not count, default 0. */
  cooldown?: number;
  /** The least rate, default 0. */
  minLr?: number;
}

/** Options of {@link warmup}. */
export interface WarmupOptions {
  /** Epochs of the warm-up, fewer than the run's. */
  epochs: number;
  /** Share of the rate that the warm-up begins with, from 0 to 1, default ⅓. */
  startFactor?: number;
  /** What follows, by default the same rate. */
  followedBy?: Schedule;
}

const epochs = numberWithin(0, MAX_U32, "least");
const whole = integer(0, MAX_U32);
const share = number(0, 1);
const factor = number(1);

/** The optimiser's learning rate, from the first update to the last: what a run has without a schedule. */
export function constant(): Schedule {
  return makeSchedule({ name: "constant" });
}

/**
 * A learning rate that becomes smaller after every so many epochs; PyTorch's `StepLR`, its steps being epochs.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function stepDecay(options?: StepDecayOptions): Schedule {
  const { every = 30, gamma = 0.1 } = checkOptions(options, { every: epochs, gamma: share });
  return makeSchedule({ name: "stepDecay", every, gamma });
}

/**
 * A learning rate that becomes smaller after certain epochs; PyTorch's `MultiStepLR`, its steps being epochs.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function multiStep(options: MultiStepOptions): Schedule {
  const rising: Rule<readonly number[]> = {
    expected: "an array of numbers of epochs above 0, each more than the one before",
    accepts: (value) => {
      const all = value as readonly number[];
      return list(epochs, "").accepts(all) && all.length > 0 && all.every((milestone, i) => i === 0 || milestone > all[i - 1]!);
    },
  };
  const { milestones, gamma = 0.1 } = checkOptions(options ?? ({} as MultiStepOptions), { milestones: rising, gamma: share });
  if (milestones === undefined) throw new ResNetError("ERR_INVALID_ARGUMENT", `milestones: expected ${rising.expected}, got undefined`);
  return makeSchedule({ name: "multiStep", milestones: Object.freeze([...milestones]), gamma });
}

/**
 * A learning rate that becomes smaller after each epoch; PyTorch's `ExponentialLR`, its steps being epochs.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function exponential(options?: ExponentialOptions): Schedule {
  const { gamma = 0.9 } = checkOptions(options, { gamma: share });
  return makeSchedule({ name: "exponential", gamma });
}

/**
 * A learning rate that is a power of the share of updates that are left; PyTorch's `PolynomialLR`, update by update.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function polynomial(options?: PolynomialOptions): Schedule {
  const { power = 1, epochs: length } = checkOptions(options, { power: number(0), epochs });
  return makeSchedule({ name: "polynomial", power, epochs: length });
}

/**
 * A learning rate that falls as half a cosine, update by update, once or again and again (Loshchilov and Hutter, 2017: SGDR, Stochastic
 * Gradient Descent with Warm Restarts); PyTorch's `CosineAnnealingLR` and `CosineAnnealingWarmRestarts`.
 *
 * @example
 * ```ts
 * fit(model, data, { epochs: 30, optimizer: adamw(), schedule: warmup({ epochs: 2, followedBy: cosine() }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function cosine(options?: CosineOptions): Schedule {
  const { minLr = 0, cycle, cycleFactor } = checkOptions(options, { minLr: number(0), cycle: epochs, cycleFactor: factor });
  if (cycleFactor !== undefined && cycle === undefined) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", "cycle: expected a number of epochs beside cycleFactor, got undefined");
  }
  return makeSchedule({ name: "cosine", minLr, cycle, cycleFactor: cycleFactor ?? 1 });
}

/**
 * A learning rate that rises to the largest and falls to almost nothing, update by update (Smith and Topin, 2019: Super-Convergence);
 * PyTorch's `OneCycleLR`, but that momentum stays as it is.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function oneCycle(options?: OneCycleOptions): Schedule {
  const rules = { max: number(0), rise: share, divFactor: factor, finalDivFactor: factor, anneal: oneOf<"cosine" | "linear">("cosine", "linear") };
  const { max, rise = 0.3, divFactor = 25, finalDivFactor = 1e4, anneal = "cosine" } = checkOptions(options, rules);
  return makeSchedule({ name: "oneCycle", max, rise, divFactor, finalDivFactor, anneal });
}

/**
 * A learning rate that becomes smaller when the validation's loss, or without a validation set the training's, falls no more; PyTorch's
 * `ReduceLROnPlateau`.
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function reduceOnPlateau(options?: ReduceOnPlateauOptions): Schedule {
  const rules = { factor: share, patience: whole, threshold: share, cooldown: whole, minLr: number(0) };
  const { factor = 0.1, patience = 10, threshold = 1e-4, cooldown = 0, minLr = 0 } = checkOptions(options, rules);
  return makeSchedule({ name: "reduceOnPlateau", factor, patience, threshold, cooldown, minLr });
}

/**
 * A learning rate that rises in a straight line to what another schedule begins with, update by update, and goes on as that one does, for
 * which the run begins after the warm-up (Goyal et al., 2017: Accurate, Large Minibatch SGD).
 *
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range. A run that is over before its warm-up is rejected with it too.
 */
export function warmup(options: WarmupOptions): Schedule {
  const given = checkOptions(options ?? ({} as WarmupOptions), { epochs, startFactor: share, followedBy: scheduleRule });
  const { epochs: length, startFactor = 1 / 3, followedBy = constant() } = given;
  if (length === undefined) throw new ResNetError("ERR_INVALID_ARGUMENT", `epochs: expected ${epochs.expected}, got undefined`);
  if (followedBy.name === "warmup") throw new ResNetError("ERR_INVALID_ARGUMENT", "followedBy: expected a schedule without a warm-up of its own, got one");
  return makeSchedule({ name: "warmup", epochs: length, startFactor, followedBy } as Schedule);
}
