import { ResNetError } from "./errors.js";
import { describeOptimizer, type Optimizer, optimizerRule } from "./optimizer.js";
import { sgd } from "./optimizers.js";
import { positive, type Rules, size } from "./options.js";

/** Options of whatever makes updates. */
export interface UpdateOptions {
  /** The optimiser, by default `sgd()` with its learning rate of 0.1. */
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
}

/** Their rules. */
export const updateRules: Rules<UpdateOptions> = { optimizer: optimizerRule, clipNorm: positive, clipValue: positive, accumulate: size };

/** The options as the addon reads them. */
export function describeUpdates({ optimizer = sgd(), clipNorm, clipValue, accumulate = 1 }: UpdateOptions): object {
  if (clipNorm !== undefined && clipValue !== undefined) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", `clipValue: expected none beside clipNorm, got ${clipValue}`);
  }
  const clip = clipNorm === undefined ? clipValue && { value: clipValue } : { norm: clipNorm };
  return { ...describeOptimizer(optimizer), clip, accumulate };
}
