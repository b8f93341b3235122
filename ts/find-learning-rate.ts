import { type Dataset, nativeDataOf } from "./data.js";
import { fields } from "./description.js";
import { ResNetError } from "./errors.js";
import { type Model, nativeOf } from "./models.js";
import { describeOptimizer, type Optimizer, optimizerRule } from "./optimizer.js";
import { checkOptions, integer, positive, type Rules, seed, size } from "./options.js";
import { defaultOptimizer } from "./default-training.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** Options of {@link findLearningRate}. */
export interface FindLearningRateOptions extends SignalOptions {
  /** The optimiser, by default that of {@link fit}; its own learning rate does not count. */
  optimizer?: Optimizer;
  /** Learning rate of the first step, above 0, default 1e-7. */
  minLr?: number;
  /** Learning rate of the last step, more than `minLr`, default 10. */
  maxLr?: number;
  /** Steps, from 2, default 100; the data are gone through as often as they need. */
  steps?: number;
  /** Samples of a step, default 128. */
  batchSize?: number;
  /** Seed of the sample order, by default the model's. */
  seed?: number;
}

/** A step of {@link findLearningRate}. */
export interface LearningRatePoint {
  /** Its learning rate. */
  readonly lr: number;
  /** The running mean of the losses until it, in nats; each mean has 0.98 of the one before. */
  readonly loss: number;
}

/** What {@link findLearningRate} found. */
export interface LearningRateCurve {
  /** The steps, in order; fewer than asked for where the loss becomes too large. */
  readonly rows: readonly LearningRatePoint[];
  /** The learning rate at which the loss falls fastest; undefined if it nowhere falls, or if there are 11 rows or fewer. */
  readonly suggestion: number | undefined;
}

const rules: Rules<FindLearningRateOptions> = {
  ...signalRules,
  optimizer: optimizerRule,
  minLr: positive,
  maxLr: positive,
  steps: integer(2, 2 ** 20),
  batchSize: size,
  seed,
};

/**
 * Tells which learning rates suit a model and its data: makes some steps with a rate that grows exponentially and looks at the loss
 * (Smith, 2017: Cyclical Learning Rates for Training Neural Networks). The test ends when the loss is four times the least so far. The
 * model is then as it was before; until then other calls wait.
 *
 * @example
 * ```ts
 * const { suggestion } = await findLearningRate(model, data.train, { optimizer: adamw() });
 * ```
 *
 * Rejects with `ERR_BUSY` while another call writes to the model, `ERR_SHAPE` or `ERR_LABEL` if the data do not fit,
 * `ERR_INVALID_ARGUMENT` for options that cannot be, and with the signal's reason.
 */
export async function findLearningRate(model: Model, data: Dataset, options?: FindLearningRateOptions): Promise<LearningRateCurve> {
  const { signal, optimizer = defaultOptimizer(), ...given } = checkOptions(options, rules);
  const { minLr = 1e-7, maxLr = 10, steps = 100, batchSize = 128, seed } = given;
  if (maxLr <= minLr) throw new ResNetError("ERR_INVALID_ARGUMENT", `maxLr: expected more than minLr, ${minLr}, got ${maxLr}`);
  const native = nativeOf(model);
  const samples = nativeDataOf(data, "data");
  const config = JSON.stringify({ ...fields({ minLr, maxLr, steps, batchSize, seed }), ...describeOptimizer(optimizer) });
  const { lrs, losses, suggestion } = await cancellable(signal, (flag) => native.findLearningRate(samples, config, flag));
  return { rows: lrs.map((lr, i) => ({ lr, loss: losses[i]! })), suggestion };
}
