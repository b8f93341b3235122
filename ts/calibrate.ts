import { type Dataset, nativeDataOf } from "./data.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** What {@link calibrate} found. */
export interface Calibration {
  /** What logits are divided by, from 0.5 to 20. */
  readonly temperature: number;
  /** Mean loss over the data with a temperature of 1. */
  readonly lossBefore: number;
  /** Mean loss over the data with that temperature. */
  readonly lossAfter: number;
}

/**
 * Finds the temperature that makes a model's probabilities fit samples that it was not trained on, so that of the pictures that it is 90 %
 * sure of 90 % are right (Guo et al., 2017, https://arxiv.org/abs/1706.04599): the one with the least plain loss, of any number of labels
 * for each sample the binary one. It is kept with the model, and changes no order of classes.
 *
 * @example
 * ```ts
 * await calibrate(model, data.validation);
 * ```
 *
 * Rejects with `ERR_SHAPE`, `ERR_LABEL` if the data do not fit the network, `ERR_NON_FINITE_LOSS` if logits are not finite, `ERR_BUSY`
 * during a fit.
 */
export async function calibrate(
  model: Model,
  data: Dataset,
  options?: SignalOptions & { batchSize?: number },
): Promise<Calibration> {
  const { batchSize = 128, signal } = checkOptions(options, { ...signalRules, batchSize: size });
  const native = nativeOf(model);
  const samples = nativeDataOf(data);
  return cancellable(signal, (flag) => native.calibrate(samples, batchSize, flag));
}
