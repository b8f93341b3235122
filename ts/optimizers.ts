import { ResNetError } from "./errors.js";
import { makeOptimizer, type Optimizer } from "./optimizer.js";
import { boolean, checkOptions, number } from "./options.js";

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** Learning rate, default 0.1. */
  lr?: number;
  /** Weight of the previous update, from 0 (default) to 1. */
  momentum?: number;
  /** Whether to look ahead along the new update, default false; needs momentum. */
  nesterov?: boolean;
  /** Weight of the parameters in the gradient, default 0. */
  weightDecay?: number;
}

/** The optimiser that {@link sgd} makes, with its settings. */
export interface Sgd extends Optimizer, Readonly<Required<SgdOptions>> {
  readonly name: "sgd";
}

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
  const rules = { lr: number(0), momentum: number(0, 1), nesterov: boolean, weightDecay: number(0) };
  const { lr = 0.1, momentum = 0, nesterov = false, weightDecay = 0 } = checkOptions(options, rules);
  if (nesterov && momentum === 0) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", "momentum: expected more than 0 with nesterov, got 0");
  }
  return makeOptimizer<Sgd>({ name: "sgd", lr, momentum, nesterov, weightDecay });
}
