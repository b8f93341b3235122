import { fields } from "./description.js";
import { ResNetError } from "./errors.js";
import type { Monitor } from "./history.js";
import { boolean, check, checkOptions, either, integer, MAX_U32, number, numberWithin, object, oneOf, type Rules, size } from "./options.js";

/** Settings of {@link CourseOptions.ema}. */
export interface EmaOptions {
  /** Weight of the average before in the one after each update, from 0 to below 1. */
  decay: number;
  /** Whether the decay after n updates is at most (1 + n) / (10 + n), so that the first weights are soon forgotten; default false. */
  warmup?: boolean;
}

/** Settings of {@link CourseOptions.earlyStopping}. */
export interface EarlyStoppingOptions {
  /** What is looked at, default `"validationLoss"`. */
  monitor?: Monitor;
  /** How many values in a row may be no improvement: the run ends with the last of them. 0 is as 1. */
  patience: number;
  /** By how much more than this a value has to be better than the best one to be an improvement, default 0. */
  minDelta?: number;
}

/** When the validation set is evaluated, by epochs. */
export interface EveryEpochs {
  /** After epochs whose number is a multiple. */
  epochs: number;
}

/** When the validation set is evaluated, by steps. */
export interface EverySteps {
  /** After updates whose number in the run is a multiple. */
  steps: number;
}

/** Options of how a run goes through its epochs. */
export interface CourseOptions {
  /**
   * Epochs that count as done, less than `epochs`, default 0: the run goes on with the orders, augmentations and learning rates of the epochs
   * after them, as Keras' `initial_epoch` does. The optimiser has kept nothing of them.
   */
  initialEpoch?: number;
  /**
   * Decay of an exponential moving average of weights and running statistics, as timm's `ModelEma` has it: from the weights at the
   * beginning, after each update average = decay·average + (1 − decay)·weights. It is what is evaluated, what the model has in
   * `onEvaluate` and `onEpochEnd`, and what it has in the end; a run that is aborted within an epoch leaves the weights that were trained.
   */
  ema?: number | EmaOptions;
  /** Ends the run when no improvement comes in time, as Keras' `EarlyStopping` does. */
  earlyStopping?: EarlyStoppingOptions;
  /**
   * Whether the run ends with its best weights instead of the last ones, default false; with `true` by what `earlyStopping` looks at, by
   * default `"validationLoss"`. Of equal accuracies those with the smaller loss are better. A run that is aborted does not go back to them.
   */
  restoreBest?: boolean | Monitor;
  /**
   * When the validation set is evaluated, by default after each epoch: after epochs whose number is a multiple of `epochs`, or after
   * updates whose number in the run is a multiple of `steps`. An epoch without an evaluation after its last update has none in its row. What
   * looks at the validation, such as `earlyStopping` and `reduceOnPlateau`, counts evaluations.
   */
  validateEvery?: EveryEpochs | EverySteps;
  /**
   * One epoch of so many batches, with `true` of one, and as many of the validation set, to see that all goes well before hours are spent.
   * `earlyStopping`, `restoreBest`, `validateEvery`, `checkpoint` and `resume` do nothing then. Default false.
   */
  fastDevRun?: boolean | number;
  /**
   * So many batches make an epoch, the first ones in the data set's order in every epoch, and nothing is validated: a network that is
   * right learns them by heart. By default the whole set.
   */
  overfitBatches?: number;
  /** Whether step events tell the norm of the gradients, default false. */
  gradientNorm?: boolean;
}

const monitor = oneOf<Monitor>("validationLoss", "validationAccuracy", "loss", "accuracy");
const decay = numberWithin(0, 1, "most");
const patience = integer(0, MAX_U32);
const emaRules: Rules<EmaOptions> = { decay, warmup: boolean };
const stoppingRules: Rules<EarlyStoppingOptions> = { monitor, patience, minDelta: number(0) };
const everyRules = { epochs: size, steps: size };

/** Their rules. */
export const courseRules: Rules<CourseOptions> = {
  initialEpoch: patience,
  ema: either(decay, object) as Rules<CourseOptions>["ema"],
  earlyStopping: object as Rules<CourseOptions>["earlyStopping"],
  restoreBest: either(boolean, monitor),
  validateEvery: object as Rules<CourseOptions>["validateEvery"],
  fastDevRun: either(boolean, size),
  overfitBatches: size,
  gradientNorm: boolean,
};

/** The options as the addon reads them. */
export function describeCourse(options: CourseOptions): object {
  const { initialEpoch, restoreBest = false, fastDevRun, overfitBatches, gradientNorm } = options;
  const stopping = describeStopping(options.earlyStopping);
  const watched = typeof restoreBest === "string" ? { monitor: restoreBest } : (stopping?.watch ?? { monitor: "validationLoss" });
  return fields({
    initialEpoch,
    ema: describeEma(options.ema),
    earlyStopping: stopping,
    restoreBest: restoreBest === false ? undefined : watched,
    validateEvery: describeEvery(options.validateEvery),
    fastDevRun: typeof fastDevRun === "boolean" ? Number(fastDevRun) || undefined : fastDevRun,
    overfitBatches,
    gradientNorm,
  });
}

function describeEma(ema: CourseOptions["ema"]): object | undefined {
  if (ema === undefined || typeof ema === "number") return ema === undefined ? undefined : { decay: ema };
  const given = checkOptions(ema, emaRules, "ema");
  check("ema.decay", given.decay, decay);
  return given;
}

function describeStopping(options: EarlyStoppingOptions | undefined) {
  if (options === undefined) return undefined;
  const given = checkOptions(options, stoppingRules, "earlyStopping");
  check("earlyStopping.patience", given.patience, patience);
  const { monitor = "validationLoss", minDelta = 0 } = given;
  return { watch: { monitor, min_delta: minDelta }, patience: given.patience };
}

function describeEvery(every: CourseOptions["validateEvery"]): object | undefined {
  if (every === undefined) return undefined;
  const given = checkOptions<{ epochs?: number; steps?: number }>(every, everyRules, "validateEvery");
  const count = Object.keys(given).length;
  if (count !== 1) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", `validateEvery: expected either epochs or steps, got ${count === 0 ? "neither" : "both"}`);
  }
  return given;
}
