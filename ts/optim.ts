import { describe } from "./description.js";
import { ResNetError } from "./errors.js";
import { boolean, checkOptions, number, type Rule } from "./options.js";

/** An optimiser: how updates follow from gradients. Made by {@link sgd}. */
export interface Optimizer {
  /** Which one it is, such as `"sgd"`. */
  readonly name: string;
  /** Learning rate. */
  readonly lr: number;
}

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

/** The optimisers that were made here, whose settings are known to be in their ranges. */
const made = new WeakSet<Optimizer>();

/** The rule for an option that is an optimiser. */
export const optimizer: Rule<Optimizer> = {
  expected: "an optimiser such as sgd({ lr: 0.1 })",
  accepts: (value) => made.has(value as Optimizer),
};

/** An optimiser as the addon reads it. */
export function optimizerJson({ name, ...settings }: Optimizer): string {
  return JSON.stringify(describe(name, settings));
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
  return make<Sgd>({ name: "sgd", lr, momentum, nesterov, weightDecay });
}

function make<T extends Optimizer>(settings: T): T {
  made.add(settings);
  return Object.freeze(settings);
}
