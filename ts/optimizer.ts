import { describe, type Description } from "./description.js";
import { describeParameters, type ParameterSettings } from "./groups.js";
import type { Rule } from "./options.js";

/** An optimiser: how updates follow from gradients. Made by {@link sgd}, {@link adam}, {@link adamw} and others. */
export interface Optimizer {
  /** Which one it is, such as `"sgd"`. */
  readonly name: string;
}

/** The optimisers that were made here, whose settings are known to be in their ranges. */
const made = new WeakSet<Optimizer>();

/** The optimiser of these settings, which have been checked. */
export function makeOptimizer<T extends Optimizer & ParameterSettings>(settings: T): T {
  made.add(settings);
  return Object.freeze(settings);
}

/** The rule for an option that is an optimiser. */
export const optimizerRule: Rule<Optimizer> = {
  expected: "an optimiser such as sgd({ lr: 0.1 })",
  accepts: (value) => made.has(value as Optimizer),
};

/** An optimiser as the addon reads it: its own settings, and what is not the same for all parameters. */
export function describeOptimizer(optimizer: Optimizer): { optimizer: Description; parameters: object } {
  const { name, groups, decayNormsAndBiases, layerDecay, ...settings } = optimizer as Optimizer & ParameterSettings;
  return { optimizer: describe(name, settings), parameters: describeParameters({ groups, decayNormsAndBiases, layerDecay }) };
}
