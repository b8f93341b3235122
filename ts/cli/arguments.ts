import { parseArgs } from "node:util";
import type { Command } from "./command.js";
import { Misuse } from "./failure.js";
import { type Option, type Options, typed } from "./option.js";
import { didYouMean } from "./suggestion.js";

/** A command's values from the words after its name. */
export function valuesOf(words: readonly string[], { operands, options }: Command): Record<string, unknown> {
  const byType = new Map(Object.entries(options).map(([name, option]) => [typed(name), { name, option }]));
  const config = [...byType].map(([name, { option }]) => {
    const type = option.value === undefined ? ("boolean" as const) : ("string" as const);
    return [name.slice(2), { type, ...(option.short !== undefined && { short: option.short }) }] as const;
  });
  // What is wrong is told in our own words, so nothing is strict here.
  const { tokens } = parseArgs({
    args: [...words],
    options: Object.fromEntries(config),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const values = fallbacks({ ...operands, ...options });
  const given: string[] = [];
  const told = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional") given.push(token.value);
    if (token.kind !== "option") continue;
    const known = byType.get(token.rawName) ?? [...byType.values()].find(({ option }) => option.short !== undefined && `-${option.short}` === token.rawName);
    if (known === undefined) throw unknownOption(token.rawName, [...byType.keys()]);
    const { name, option } = known;
    if (option.value === undefined && token.value !== undefined) throw new Misuse(`${token.rawName}: takes no value`);
    // A word with a dash is the next option, unless it is a number.
    const missing = token.value === undefined || (!token.inlineValue && /^-[^\d.]/.test(token.value));
    if (option.value !== undefined && missing) throw new Misuse(`${token.rawName}: expected ${option.expected} after it`);
    if (option.isOnce && told.has(name)) throw new Misuse(`${token.rawName}: expected once, got it again`);
    told.add(name);
    values[name] = valueOf(token.rawName, token.value ?? "", option);
  }
  return { ...values, ...operandsOf(given, operands) };
}

function unknownOption(name: string, known: readonly string[]): Misuse {
  return new Misuse(`${name}: there is no such option${didYouMean(name, known)}`);
}

function operandsOf(given: readonly string[], operands: Options): Record<string, unknown> {
  const wanted = Object.entries(operands);
  const last = wanted.at(-1)?.[1];
  if (given.length > wanted.length && !last?.many) {
    throw new Misuse(`${quoted(given[wanted.length]!)}: expected an option, or nothing more`);
  }
  const values = wanted.map(([name, option], i) => {
    const word = given[i];
    if (word !== undefined && option.many) return [name, given.slice(i).map((word) => valueOf(option.value!, word, option))];
    if (word !== undefined) return [name, valueOf(option.value!, word, option)];
    if (option.fallback === undefined) throw new Misuse(`${option.value}: expected ${option.expected}, got nothing`);
    return [name, option.fallback];
  });
  return Object.fromEntries(values);
}

function fallbacks(options: Options): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([name, { fallback }]) => [name, fallback]));
}

function valueOf(parameter: string, text: string, { expected, accepts, convert, names = [] }: Option<unknown>): unknown {
  const value = convert(text);
  if (accepts(value)) return value;
  const given = Number.isNaN(value) ? text : value;
  const got = typeof given === "string" ? quoted(given) : given;
  throw new Misuse(`${parameter}: expected ${expected}, got ${got}${didYouMean(text, names)}`);
}

/** A word as a message shows it. */
function quoted(word: string): string {
  return JSON.stringify(word.length > 40 ? `${word.slice(0, 40)}…` : word);
}
