// What a benchmark is told on the command line.

import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./report.mjs";

/** Threads that compute, and the folder of the carried sample: what options of these names are by default. */
export const threads = availableParallelism();
export const sample = join(root, "data/fashion-mnist-sample");

/** The sides that `--sides A,B` names, made by the functions of those names. */
export function makeSides(text, makers) {
  const names = text.split(",");
  const unknown = names.find((name) => !Object.hasOwn(makers, name));
  if (unknown !== undefined) throw new Error(`--sides: expected some of ${Object.keys(makers).join(", ")}, got ${unknown}`);
  return names.map((name) => makers[name]());
}

/** The options `--some-name VALUE` by `someName`. One whose default is a number is an integer of at least 1. */
export function parse(args, defaults) {
  const names = Object.keys(defaults);
  const option = (name) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const types = names.map((name) => [option(name), { type: "string", default: String(defaults[name]) }]);
  const { values } = parseArgs({ args, options: Object.fromEntries(types) });
  const value = (name) => {
    const given = values[option(name)];
    if (typeof defaults[name] === "string") return given;
    const number = Number(given);
    if (!Number.isInteger(number) || number < 1) throw new Error(`--${option(name)}: expected an integer of at least 1, got ${given}`);
    return number;
  };
  return Object.fromEntries(names.map((name) => [name, value(name)]));
}
