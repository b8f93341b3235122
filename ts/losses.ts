import { type Loss, makeLoss } from "./loss.js";
import { checkOptions, list, number } from "./options.js";

/** The loss that {@link crossEntropy} makes. */
export interface CrossEntropy extends Loss {
  readonly name: "crossEntropy";
}

/** The loss that {@link focal} makes, with its setting. */
export interface Focal extends Loss {
  readonly name: "focal";
  /** At least 0. */
  readonly gamma: number;
}

/** The loss that {@link binaryCrossEntropy} makes, with its setting. */
export interface BinaryCrossEntropy extends Loss {
  readonly name: "binaryCrossEntropy";
  /** A weight for each class, at least 0. */
  readonly positiveWeights?: readonly number[];
}

/**
 * Softmax cross-entropy, the loss of samples of one class each unless another is given: as PyTorch's `cross_entropy` defines it, also with
 * the options `labelSmoothing` and `classWeights` and with classes that `mixup` or `cutmix` mixed.
 */
export function crossEntropy(): CrossEntropy {
  return makeLoss<CrossEntropy>({ name: "crossEntropy" });
}

/**
 * The focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002) in its softmax form, for samples of one class each, of which few are
 * hard: the sum over classes of -w t (1 - p)^gamma log p, where p is a class's probability, t what is wanted of it and w its weight, the
 * paper's alpha: the option `classWeights`. The mean is cross-entropy's, which this is with gamma 0 (default 2).
 *
 * @example
 * ```ts
 * await fit(model, data, { loss: focal({ gamma: 2 }), classWeights: data.train.classWeights({ power: 0.5 }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for a gamma below 0.
 */
export function focal(options?: { gamma?: number }): Focal {
  const { gamma = 2 } = checkOptions(options, { gamma: number(0) });
  return makeLoss<Focal>({ name: "focal", gamma });
}

/**
 * Binary cross-entropy of each class by itself, the loss of samples of any number of classes: as PyTorch's `BCEWithLogitsLoss` defines it,
 * the mean over samples and classes. `positiveWeights` are its `pos_weight`, for classes that are seldom there; the option `classWeights` is
 * its `weight`; `labelSmoothing` draws what is wanted towards a half, as Keras has it.
 *
 * @example
 * ```ts
 * const trainer = new Trainer(model, { loss: binaryCrossEntropy() }); // whose steps take a matrix of labels, (N, classes)
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for weights that are none.
 */
export function binaryCrossEntropy(options?: { positiveWeights?: readonly number[] }): BinaryCrossEntropy {
  const { positiveWeights } = checkOptions(options, { positiveWeights: list(number(0), "an array of numbers of at least 0") });
  return makeLoss<BinaryCrossEntropy>({ name: "binaryCrossEntropy", ...(positiveWeights && { positiveWeights: Object.freeze([...positiveWeights]) }) });
}
