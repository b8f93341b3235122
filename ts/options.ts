import { fileURLToPath } from "node:url";
import { ResNetError } from "./errors.js";

/** What a value must be. */
export interface Rule<T> {
  readonly expected: string;
  readonly accepts: (value: unknown) => boolean;
  /** Carries the type. */
  readonly type?: T;
}

/** A rule for each option; `undefined` always means that the option was not given. */
export type Rules<Options> = { readonly [Name in keyof Required<Options>]: Rule<NonNullable<Options[Name]>> };

function rule<T>(expected: string, accepts: (value: unknown) => boolean): Rule<T> {
  return { expected, accepts };
}

export const MAX_U32 = 2 ** 32 - 1;

export const boolean = rule<boolean>("a boolean", (value) => typeof value === "boolean");
export const string = rule<string>("a string", (value) => typeof value === "string");
export const callback = rule<(...values: never[]) => unknown>("a function", (value) => typeof value === "function");
export const abortSignal = rule<AbortSignal>("an AbortSignal", (value) => value instanceof AbortSignal);
export const size = integer(1, MAX_U32);
/** Channels, classes and strides: far beyond any use, far from any overflow. */
export const count = integer(1, 2 ** 20);
export const seed = integer(0, Number.MAX_SAFE_INTEGER);
export const path = rule<string | URL>("a path or a file URL", (value) => {
  return value instanceof URL ? value.protocol === "file:" : typeof value === "string" && value !== "";
});

export function integer(least: number, most: number): Rule<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return rule(`an integer ${range}`, (value) => Number.isSafeInteger(value) && within(value, least, most));
}

export function number(least: number, most = Infinity): Rule<number> {
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
  return rule(`a finite number ${range}`, (value) => Number.isFinite(value) && within(value, least, most));
}

export function oneOf<T extends string>(...names: readonly T[]): Rule<T> {
  return rule(names.map((name) => JSON.stringify(name)).join(" or "), (value) => names.includes(value as T));
}

export function instance<T>(expected: string, type: abstract new (...values: never[]) => T): Rule<T> {
  return rule(expected, (value) => value instanceof type);
}

export function list<T>(of: Rule<T>, expected: string, length?: number): Rule<readonly T[]> {
  return rule(expected, (value) => {
    return Array.isArray(value) && value.every(of.accepts) && value.length === (length ?? value.length);
  });
}

export function either<A, B>(first: Rule<A>, second: Rule<B>): Rule<A | B> {
  const accepts = (value: unknown) => first.accepts(value) || second.accepts(value);
  return rule(`${first.expected} or ${second.expected}`, accepts);
}

function within(value: unknown, least: number, most: number): boolean {
  return (value as number) >= least && (value as number) <= most;
}

/** The error for a parameter that is not what it should be. */
export function unexpected(parameter: string, expected: string, got: unknown): ResNetError {
  return new ResNetError("ERR_INVALID_ARGUMENT", `${parameter}: expected ${expected}, got ${shown(got)}`);
}

/** Returns the value, if it is what the rule says. */
export function check<T>(parameter: string, value: unknown, { expected, accepts }: Rule<T>): T {
  if (!accepts(value)) throw unexpected(parameter, expected, value);
  return value as T;
}

/** Returns the options, if each of them exists and is what its rule says. */
export function checkOptions<Options extends object>(given: Options | undefined, rules: Rules<Options>): Options {
  if (given === undefined) return {} as Options;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw unexpected("options", "an object", given);
  }
  const names = Object.keys(rules);
  for (const [name, value] of Object.entries(given)) {
    if (!names.includes(name)) {
      const expected = `options named ${names.join(", ")}`;
      throw new ResNetError("ERR_INVALID_ARGUMENT", `options: expected ${expected}, got ${name}${didYouMean(name, names)}`);
    }
    if (value !== undefined) check(name, value, (rules as Record<string, Rule<unknown>>)[name] as Rule<unknown>);
  }
  return given;
}

/** The path of a file. */
export function filePath(parameter: string, value: string | URL): string {
  const given = check(parameter, value, path);
  return given instanceof URL ? fileURLToPath(given) : given;
}

/** A value as a message shows it. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) {
    const items = value.slice(0, 8).map((item) => (typeof item === "object" ? "…" : shown(item)));
    return `[${items.join(", ")}${value.length > 8 ? ", …" : ""}]`;
  }
  return `an object of type ${value.constructor?.name ?? "null"}`;
}

/** What a message adds about a name that is not known, if one that is known is near. */
export function didYouMean(name: string, names: readonly string[]): string {
  const away = names.map((other) => distance(name.toLowerCase(), other.toLowerCase()));
  const least = Math.min(...away);
  return least <= 2 ? ` (did you mean ${names[away.indexOf(least)]}?)` : "";
}

/** How many letters must be put in, taken out or changed (Levenshtein). */
function distance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(changed, above[j]! + 1, row[j - 1]! + 1));
    }
    above = row;
  }
  return above[b.length]!;
}
