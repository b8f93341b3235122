import { checkOptions, number, type Rule } from "./options.js";

/** Which samples an epoch takes, made by {@link balancedSampler}. */
export interface Sampler {
  /** Which one it is. */
  readonly name: "balanced";
  /** From 0 to 1. */
  readonly power: number;
}

const samplers = new WeakSet<Sampler>();
/** The rule for an option that is a sampler. */
export const samplerRule: Rule<Sampler> = {
  expected: "a sampler such as balancedSampler()",
  accepts: (value) => samplers.has(value as Sampler),
};

/**
 * Takes as many samples in an epoch as there are, of rare classes some several times and of frequent ones not all: a class with n samples
 * comes in proportion to n^(1 - power). With power 1, the default, all classes are equally frequent; with 0 all is as it is. Of samples of
 * any number of classes nothing is of a class by itself: with such data it is refused, `ERR_INVALID_ARGUMENT`.
 */
export function balancedSampler(options?: { power?: number }): Sampler {
  const { power = 1 } = checkOptions(options, { power: number(0, 1) });
  const sampler: Sampler = Object.freeze({ name: "balanced", power });
  samplers.add(sampler);
  return sampler;
}
