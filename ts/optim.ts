import { ResNetError } from "./errors.js";
import { boolean, checkOptions, instance, number } from "./options.js";

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

/** An optimiser's settings; see {@link sgd}. */
export interface Optimizer extends Readonly<Required<SgdOptions>> {
  /** What it is. */
  readonly name: "sgd";
}

class Sgd implements Optimizer {
  readonly name = "sgd";
  readonly lr: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;

  constructor({ lr = 0.1, momentum = 0, nesterov = false, weightDecay = 0 }: SgdOptions) {
    this.lr = lr;
    this.momentum = momentum;
    this.nesterov = nesterov;
    this.weightDecay = weightDecay;
  }
}

/** The rule for an option that is an optimiser. */
export const optimizer = instance<Optimizer>("an optimiser such as sgd({ lr: 0.1 })", Sgd);

/**
 * Stochastic gradient descent, as PyTorch defines it (momentum of Sutskever et al., 2013).
 *
 * @example
 * ```ts
 * fit(model, data, { optimizer: sgd({ lr: 0.01, momentum: 0.9 }) });
 * ```
 * @throws `ERR_INVALID_ARGUMENT` for a setting outside its range.
 */
export function sgd(options?: SgdOptions): Optimizer {
  const rules = { lr: number(0), momentum: number(0, 1), nesterov: boolean, weightDecay: number(0) };
  const settings = new Sgd(checkOptions(options, rules));
  if (settings.nesterov && settings.momentum === 0) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", "momentum: expected more than 0 with nesterov, got 0");
  }
  return Object.freeze(settings);
}
