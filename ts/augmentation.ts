import { describe, type Description } from "./description.js";
import { list, type Rule } from "./options.js";

/** A way to change images at random, made by {@link flip} and its kin. The same seed, epoch and sample give the same change. */
export interface Augmentation {
  /** Which one it is, such as `"flip"`. */
  readonly name: string;
}

/** Those that were made here, whose settings are known to be in their ranges. */
const made = new WeakMap<Augmentation, Description>();

const one: Rule<Augmentation> = { expected: "an augmentation", accepts: (value) => made.has(value as Augmentation) };
/** The rule for a list of augmentations. */
export const augmentRule = list(one, "a list of augmentations such as [flip(), randomCrop({ padding: 4 })]");

/** A list of augmentations as the addon reads it. */
export function describeAugment(augmentations: readonly Augmentation[]): Description[] {
  return augmentations.map((augmentation) => made.get(augmentation)!);
}

/** The augmentation of these settings, which have been checked. */
export function makeAugmentation(name: string, settings: object, type = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)): Augmentation {
  const augmentation = Object.freeze({ name, ...settings });
  made.set(augmentation, describe(type, settings));
  return augmentation;
}
