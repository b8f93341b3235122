import { type Dataset, nativeDataOf } from "./data.js";
import { parseInterface } from "./interface.js";
import { type Model, nativeOf } from "./models.js";
import { boolean, checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import type { Metrics } from "./trainer.js";

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends SignalOptions {
  /** Images that are computed at a time, default 128. */
  batchSize?: number;
  /** Whether logits are averaged over images and their mirror images, default false. */
  flips?: boolean;
  /** How many of the largest logits the label may be among for `topKAccuracy`, at most as many as there are classes. */
  topK?: number;
  /** Whether each class is told of, default false. */
  byClass?: boolean;
}

/** What {@link evaluate} measured. Where something is divided by 0, it is 0, as scikit-learn has it. */
export interface Evaluation extends Metrics {
  /** Share of samples whose label is among the `topK` largest logits. */
  readonly topKAccuracy?: number;
  /** With `byClass`: each output of the network. */
  readonly classes?: readonly ClassMetrics[];
  /**
   * With `byClass`, of samples of one class each: how many of each class (row) were taken for each class (column). What has a NaN among
   * its logits is taken for none.
   */
  readonly confusion?: readonly (readonly number[])[];
  /**
   * With `byClass`, and always where samples are of any number of classes: the mean of the classes' F1, in the former case of those that
   * there are or that something was taken for.
   */
  readonly macroF1?: number;
  /** Where samples are of any number of classes: F1 of all decisions together. */
  readonly microF1?: number;
  /** Where samples are of any number of classes: the share of samples of which all decisions are right. */
  readonly exactMatch?: number;
}

/** What {@link evaluate} measured of a class. */
export interface ClassMetrics {
  /** Its name; its label as a text if it has none. */
  readonly name: string;
  /** The output that stands for it, counting from 0. */
  readonly label: number;
  /** Share of what was taken for it that is of it. */
  readonly precision: number;
  /** Share of what is of it that was taken for it. */
  readonly recall: number;
  /** Harmonic mean of both. */
  readonly f1: number;
  /** Samples of it. */
  readonly support: number;
}

const rules = { ...signalRules, batchSize: size, flips: boolean, topK: size, byClass: boolean };

/**
 * Mean loss and accuracy over a data set, in batches of `batchSize` (default 128). With `flips` (default false) logits are
 * averaged over images and their mirror images. The loss is the plain one, without what `fit` may add to it.
 *
 * @example
 * ```ts
 * const { accuracy, classes, confusion } = await evaluate(model, data.validation, { byClass: true });
 * ```
 *
 * Rejects with `ERR_SHAPE` or `ERR_LABEL` if the data do not fit the network, `ERR_INVALID_ARGUMENT` for options that do not fit the data. A loss that is NaN or infinite is told, see {@link ErrorCode}.
 */
export async function evaluate(model: Model, data: Dataset, options?: EvaluateOptions): Promise<Evaluation> {
  const { batchSize = 128, flips = false, topK, byClass = false, signal } = checkOptions(options, rules);
  const native = nativeOf(model);
  const samples = nativeDataOf(data);
  const { classes, ...measured } = await cancellable(signal, (flag) => native.evaluate(samples, batchSize, flips, topK, byClass, flag));
  if (!classes) return measured;
  const names = samples.classNames ?? parseInterface(native.interface).classNames ?? [];
  return { ...measured, classes: classes.map((one, label) => ({ name: names[label] ?? String(label), label, ...one })) };
}
