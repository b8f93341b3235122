import { fileURLToPath } from "node:url";
import { types } from "node:util";
import { ResNetError } from "./errors.js";

// Our types name these; in a project that has neither Node's types nor a browser's they would be unknown.
declare global {
  interface AbortSignal {
    throwIfAborted(): void;
  }
  interface URL {
    toJSON(): string;
  }
}

/** What a value must be. */
export interface Rule<T> {
  readonly expected: string;
  /** May throw, as a look at a revoked proxy does: such a value is not accepted. */
  readonly accepts: (value: unknown) => boolean;
  /** How long an array may be, by default {@link MOST_ITEMS}. */
  readonly most?: number;
  /** Carries the type. */
  readonly type?: T;
}

/** A rule for each option; `undefined` always means that the option was not given. */
export type Rules<Options> = { readonly [Name in keyof Required<Options>]: Rule<NonNullable<Options[Name]>> };

function rule<T>(expected: string, accepts: (value: unknown) => boolean): Rule<T> {
  return { expected, accepts };
}

export const MAX_U32 = 2 ** 32 - 1;
/** The largest f32. */
const MAX_F32 = 2 ** 128 - 2 ** 104;
/** More blocks, names or epochs than anybody has. */
const MOST_ITEMS = 2 ** 20;
/** Of a text that a message shows. */
const MOST_LETTERS = 40;

export const boolean = rule<boolean>("a boolean", (value) => typeof value === "boolean");
export const string = rule<string>("a string", (value) => typeof value === "string");
/** A text that is kept. */
const keptString = rule<string>(string.expected, (value) => {
  // It would be another text wherever it is kept, or none.
  if (typeof value === "string" && /\p{Surrogate}/u.test(value)) throw new Error("half of a surrogate pair is in it");
  return typeof value === "string";
});
/** Names of classes, by which they can be told apart. */
export const classNamesRule = rule<readonly string[]>("an array of strings, each once", (value) => {
  return list(keptString, "").accepts(value) && new Set(value as readonly string[]).size === (value as readonly string[]).length;
});
export const callback = rule<(...values: never[]) => unknown>("a function", (value) => typeof value === "function");
export const abortSignal = rule<AbortSignal>("an AbortSignal", (value) => {
  // What only inherits from a signal throws here.
  return value instanceof AbortSignal && typeof value.aborted === "boolean";
});
export const size = integer(1, MAX_U32);
/** Channels, classes and strides: far beyond any use, far from any overflow. */
export const count = integer(1, 2 ** 20);
export const f32 = number(-MAX_F32);
export const seed = integer(0, Number.MAX_SAFE_INTEGER);
export const path = rule<string | URL>("a path or a file URL", (value) => {
  // Said of whatever comes after "got", in brackets.
  if (/^(https?|ftp|s3|gs|data):/i.test(String(value instanceof URL ? value.href : value))) throw new Error("it must be on this machine: download it first");
  const given = value instanceof URL ? fileURLToPath(value) : value;
  if (typeof given === "string" && given.includes("\0")) throw new Error("a NUL character is in it");
  return keptString.accepts(given) && given !== "";
});
export const object = rule<object>("an object", (value) => {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
});

/** An object of properties by names that are anybody's to choose; see {@link textsOf}. */
export function record(expected: string): Rule<Readonly<Record<string, string>>> {
  // A Map or a Set is an object too, but has no properties that count.
  return rule(expected, (value) => object.accepts(value) && Object.prototype.toString.call(value) === "[object Object]");
}

export function integer(least: number, most: number): Rule<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return rule(`an integer ${range}`, (value) => Number.isSafeInteger(value) && within(value, least, most));
}

/** A number that is finite as f32 too, with which the addon computes. */
export function number(least: number, most = MAX_F32): Rule<number> {
  const accepts = (value: unknown) => Number.isFinite(value) && within(value, least, most);
  return rule(`a finite number from ${least} to ${most}`, accepts);
}

/** The same without one of the ends. */
export function numberWithin(least: number, most: number, without: "least" | "most"): Rule<number> {
  const [end, range] = without === "least" ? [least, `above ${least}, at most ${most}`] : [most, `from ${least} to below ${most}`];
  return rule(`a finite number ${range}`, (value) => number(least, most).accepts(value) && value !== end);
}

/** Of what is left out at random. A number that is nearer to 1 is 1 as f32. */
export const probability: Rule<number> = { ...number(0, 1 - 2 ** -24), expected: "a number from 0 to below 1" };

export const positive = numberWithin(0, MAX_F32, "least");

export function oneOf<T extends string>(...names: readonly T[]): Rule<T> {
  return rule(names.map((name) => JSON.stringify(name)).join(" or "), (value) => names.includes(value as T));
}

export function instance<T>(expected: string, type: abstract new (...values: never[]) => T): Rule<T> {
  return rule(expected, (value) => value instanceof type);
}

/** An object that a class made, told by a private field, which what only inherits from the class has not. */
export function made<T>(expected: string, hasField: (value: object) => boolean): Rule<T> {
  return rule(expected, (value) => typeof value === "object" && value !== null && hasField(value));
}

export function list<T>(of: Rule<T>, expected: string, length?: number): Rule<readonly T[]> {
  return rule(expected, (value) => {
    if (!Array.isArray(value) || value.length !== (length ?? value.length)) return false;
    // Unlike every(), it looks at holes too.
    return value.findIndex((item) => !of.accepts(item)) < 0;
  });
}

export function either<A, B>(first: Rule<A>, second: Rule<B>): Rule<A | B> {
  const accepts = (value: unknown) => first.accepts(value) || second.accepts(value);
  return rule(`${first.expected} or ${second.expected}`, accepts);
}

function within(value: unknown, least: number, most: number): boolean {
  return (value as number) >= least && (value as number) <= most;
}

/** The error for a parameter that is not what it should be, or that threw when it was looked at. */
export function unexpected(parameter: string, expected: string, got: unknown, cause?: unknown): ResNetError {
  const why = cause instanceof Error ? ` (${cause.message})` : "";
  const message = `${parameter}: expected ${expected}, got ${shown(got)}${why}`;
  return new ResNetError("ERR_INVALID_ARGUMENT", message, cause === undefined ? undefined : { cause });
}

/** Returns the value, if it is what the rule says. */
export function check<T>(parameter: string, value: unknown, { expected, accepts, most = MOST_ITEMS }: Rule<T>): T {
  const length = look(parameter, expected, value, () => (Array.isArray(value) ? value.length : 0));
  if (length > most) throw unexpected(parameter, `at most ${most} items`, length);
  if (!look(parameter, expected, value, () => accepts(value))) throw unexpected(parameter, expected, value);
  return value as T;
}

/** What a look at a value tells. */
function look<T>(parameter: string, expected: string, value: unknown, tell: () => T): T {
  try {
    return tell();
  } catch (cause) {
    throw unexpected(parameter, expected, value, cause);
  }
}

/** Those of an object's properties that it has, its own and inherited ones. They are read once: what is checked is what is used. */
export function properties<T>(parameter: string, expected: string, value: T, names: readonly string[]): Partial<T> {
  const found = look(parameter, expected, value, () => names.map((name) => [name, value?.[name as keyof T]] as const));
  return Object.fromEntries(found.filter(([, property]) => property !== undefined)) as Partial<T>;
}

/**
 * Returns the options, if each of them exists and is what its rule says. A signal that was raised before all comes first. Options within
 * others have their place for a name.
 */
export function checkOptions<Options extends object>(given: Options | undefined, rules: Rules<Options>, where?: string): Options {
  if (given === undefined) return {} as Options;
  const all = where ?? "options";
  check(all, given, object);
  const names = Object.keys(rules);
  const options: { signal?: unknown } = properties(all, object.expected, given, names);
  if (options.signal !== undefined) check("signal", options.signal, abortSignal).throwIfAborted();
  checkNames(all, given, `options named ${names.join(", ")}`, names);
  const inner = where === undefined ? "" : `${where}.`;
  for (const [name, value] of Object.entries(options)) check(inner + name, value, (rules as Record<string, Rule<unknown>>)[name]!);
  return options as Options;
}

/** Refuses an object with properties, its own or inherited ones, of other names than these. */
export function checkNames(parameter: string, given: object, expected: string, names: readonly string[]): void {
  const unknown = look(parameter, object.expected, given, () => namesIn(given).find((name) => !names.includes(name)));
  if (unknown === undefined) return;
  const got = `${unknown.slice(0, MOST_LETTERS)}${didYouMean(unknown, names)}`;
  throw new ResNetError("ERR_INVALID_ARGUMENT", `${parameter}: expected ${expected}, got ${got}`);
}

/** The texts of an object that {@link record} accepts, each with its name and read once. */
export function textsOf(parameter: string, value: Readonly<Record<string, string>>): [name: string, text: string][] {
  const names = look(parameter, object.expected, value, () => namesIn(value));
  const texts = Object.entries(properties(parameter, object.expected, value, names));
  return texts.map(([name, text]) => [name, check(`${parameter}[${shown(name)}]`, text, keptString)]);
}

/** Names of an object's properties, its own and inherited ones. */
function namesIn(value: object): string[] {
  const names = [];
  for (const name in value) names.push(name);
  return names;
}

/** Whether a value is an array; a revoked proxy is none. */
export function isList(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** The path of a file. */
export function filePath(parameter: string, value: string | URL): string {
  const given = check(parameter, value, path);
  return given instanceof URL ? fileURLToPath(given) : given;
}

/** A value as a message shows it. */
export function shown(value: unknown): string {
  try {
    return typeof value === "object" && value !== null ? shownObject(value) : shownPrimitive(value);
  } catch {
    return "an object that cannot be read";
  }
}

function shownPrimitive(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > MOST_LETTERS ? `${value.slice(0, MOST_LETTERS)}…` : value);
  if (typeof value === "function") return "a function";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

function shownObject(value: object): string {
  if (types.isProxy(value)) return "a Proxy";
  if (value instanceof URL) return value.href;
  const inner = (item: unknown) => (typeof item === "object" ? "…" : shown(item));
  const more = (all: readonly unknown[], most: number) => (all.length > most ? ["…"] : []);
  if (Array.isArray(value)) return `[${[...Array.from(value.slice(0, 8), inner), ...more(value, 8)].join(", ")}]`;
  const type = value.constructor?.name;
  if (type !== undefined && type !== "Object") return `an object of type ${type}`;
  const entries = Object.entries(value);
  const items = entries.slice(0, 4).map(([name, item]) => `${name}: ${inner(item)}`);
  return items.length === 0 ? "{}" : `{ ${[...items, ...more(entries, 4)].join(", ")} }`;
}

/** What a message adds about a name that is not known, if one that is known is near. */
export function didYouMean(name: string, names: readonly string[]): string {
  if (name.length > MOST_LETTERS) return "";
  const away = names.map((other) => distance(name.toLowerCase(), other.toLowerCase()));
  const least = Math.min(...away);
  return least <= Math.min(2, Math.max(1, name.length / 3)) ? ` (did you mean ${names[away.indexOf(least)]}?)` : "";
}

/** How many letters must be put in, taken out, changed or exchanged with the next (Levenshtein, Damerau). */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const [row, above] = [[i], rows[i - 1]!];
    for (let j = 1; j <= b.length; j++) {
      const changed = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2]![j - 2]! + 1 : Infinity;
      row.push(Math.min(changed, exchanged, above[j]! + 1, row[j - 1]! + 1));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
