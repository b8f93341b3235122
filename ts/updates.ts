import { ResNetError } from "./errors.js";
import { describeOptimizer, type Optimizer, optimizerRule } from "./optimizer.js";
import { describeLoss, type Loss, lossRule } from "./loss.js";
import { list, number, numberWithin, positive, type Rules, size } from "./options.js";
import { defaultOptimizer } from "./default-training.js";

/** Options of whatever makes updates. */
export interface UpdateOptions {
  /** The optimiser; by default SGD with a learning rate of 0.02, a Nesterov momentum of 0.9 and a weight decay of 5e-4, but for norms and biases. */
  optimizer?: Optimizer;
  /**
   * Norm of all gradients together to which they are scaled down if it is larger, as PyTorch's `clip_grad_norm_` does; above 0. Frozen
   * parameters do not count. By default gradients are not clipped.
   */
  clipNorm?: number;
  /** Largest distance of a gradient from 0, as PyTorch's `clip_grad_value_` has it; above 0. Not beside `clipNorm`. */
  clipValue?: number;
  /**
   * Batches of an update, default 1: with 4, four batches of 32 make the update of one of 128, but that batch norms see 32 images, unless
   * they are frozen ({@link ParameterGroup.frozenNorms}). Each sample counts the same.
   */
  accumulate?: number;
  /**
   * What training makes small, by default what the data ask for: {@link crossEntropy} where samples have one label each,
   * {@link binaryCrossEntropy} where they have any number. Evaluation and validation tell the plain loss of that kind, whatever is said here.
   */
  loss?: Loss;
  /** The share of a sample that all classes have in equal parts, from 0 (default) to below 1 (Szegedy et al., 2016), in training alone. */
  labelSmoothing?: number;
  /**
   * A weight for each class in the loss of training, by default 1: see {@link Dataset.classWeights}. The mean is then that over the weights, as
   * PyTorch's; with `mixup` or `cutmix` over the samples, with any number of labels over samples and classes.
   */
  classWeights?: readonly number[];
}

/** Their rules. */
export const updateRules: Rules<UpdateOptions> = {
  optimizer: optimizerRule,
  clipNorm: positive,
  clipValue: positive,
  accumulate: size,
  loss: lossRule,
  labelSmoothing: numberWithin(0, 1, "most"),
  classWeights: list(number(0), "an array of numbers of at least 0"),
};

/** The options as the addon reads them. */
export function describeUpdates(options: UpdateOptions): object {
  const { optimizer = defaultOptimizer(), clipNorm, clipValue, accumulate = 1, loss, labelSmoothing, classWeights } = options;
  if (clipNorm !== undefined && clipValue !== undefined) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", `clipValue: expected none beside clipNorm, got ${clipValue}`);
  }
  const clip = clipNorm === undefined ? clipValue && { value: clipValue } : { norm: clipNorm };
  return { ...describeOptimizer(optimizer), clip, accumulate, loss: describeLoss(loss, labelSmoothing, classWeights) };
}
