import { describe, type Description, fields } from "./description.js";
import { type Rule } from "./options.js";

/** What training makes small. Made by {@link crossEntropy}, {@link focal} and {@link binaryCrossEntropy}. */
export interface Loss {
  /** Which one it is, such as `"focal"`. */
  readonly name: string;
}

/** The losses that were made here, whose settings are known to be in their ranges, as the addon reads them. */
const made = new WeakMap<Loss, Description>();

/** The loss of these settings, which have been checked. */
export function makeLoss<T extends Loss>(settings: T): T {
  const { name, ...rest } = settings;
  const type = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  made.set(settings, describe(type, rest));
  return Object.freeze(settings);
}

/** The rule for an option that is a loss. */
export const lossRule: Rule<Loss> = {
  expected: "a loss such as focal({ gamma: 2 })",
  accepts: (value) => made.has(value as Loss),
};

/** Whether a loss is for samples of any number of classes; one that is not given is for one class each. */
export function isForSets(loss: Loss | undefined): boolean {
  return loss?.name === "binaryCrossEntropy";
}

/** A loss, and what is said beside it, as the addon reads it. */
export function describeLoss(loss: Loss | undefined, labelSmoothing: number | undefined, classWeights: readonly number[] | undefined): object {
  return { ...(loss && { of: made.get(loss) }), ...fields({ labelSmoothing, classWeights }) };
}
