// A generator of numbers that a seed repeats (mulberry32).

/** Numbers that follow from a seed, and from names that tell streams of it apart. */
export class Random {
  #state;

  constructor(...seed) {
    // FNV-1a, so that near seeds have nothing in common.
    this.#state = [...seed.join("/")].reduce((hash, letter) => Math.imul(hash ^ letter.codePointAt(0), 0x01000193), 0x811c9dc5);
  }

  /** From 0 to below 1. */
  real() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from 0 to below `end`. */
  below(end) {
    return Math.floor(this.real() * end);
  }

  /** From `least` to below `end`. */
  between(least, end) {
    return least + this.real() * (end - least);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  chance(probability) {
    return this.real() < probability;
  }

  /** A seed for a generator elsewhere. */
  seed() {
    return this.below(2 ** 31);
  }
}
