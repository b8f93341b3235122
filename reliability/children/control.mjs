// The page by which the libraries in shims/ are told what to do, and tell what they did.

import { openSync, readSync, writeSync } from "node:fs";

export const KILL = -1;
export const SHORT = -2;
export const KILL_HALF = -3;

/** A page of 64-bit numbers in a file that the library has mapped. */
export class Control {
  #file;

  constructor(path) {
    this.#file = openSync(path, "r+");
  }

  /** Has something happen to the call that comes after so many; 0 for none. */
  set({ at, what = 0, isLasting = false }) {
    writeSync(this.#file, new BigInt64Array([0n, BigInt(at), BigInt(what), BigInt(isLasting), 0n]), 0, 40, 0);
  }

  /** How many calls there were since, and how often it happened. */
  get() {
    const page = new BigInt64Array(5);
    readSync(this.#file, page, 0, 40, 0);
    return { calls: Number(page[0]), done: Number(page[4]) };
  }
}
