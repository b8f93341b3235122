import { integer, number, type Rule } from "../options.js";

/** An option, or an operand, of a command. */
export interface Option<T> {
  /** What it is for. */
  readonly help: string;
  /** What stands for its value in help; a flag has none. */
  readonly value?: string;
  /** What it is if it is not given; an operand without it must be given. */
  readonly fallback: T;
  /** What its value must be. */
  readonly rule: Rule<T>;
  /** The value that a text stands for. */
  readonly convert: (text: string) => unknown;
  /** Names to suggest where a value is near one. */
  readonly names?: readonly string[];
}

/** Options by name; in camel case, as the library has them. */
export type Options = Readonly<Record<string, Option<unknown>>>;

/** What options and operands come to. */
export type Values<O extends Options> = { readonly [Name in keyof O]: O[Name] extends Option<infer T> ? T : never };

/** An option that is there or not. */
export function flag(help: string): Option<boolean> {
  return { help, fallback: false, rule: { expected: "no value", accepts: () => true }, convert: () => true };
}

/** A whole number. */
export function whole<T extends number | undefined>(help: string, fallback: T, least: number, most: number): Option<T | number> {
  return { help, value: "N", fallback, rule: integer(least, most), convert: numeric };
}

/** A number. */
export function real(help: string, fallback: number, least: number, most?: number): Option<number> {
  return { help, value: "X", fallback, rule: number(least, most), convert: numeric };
}

/** Any text. */
export function text<T extends string | undefined>(
  help: string,
  value: string,
  fallback: T,
  expected: string,
): Option<T | string> {
  return { help, value, fallback, rule: { expected, accepts: (text) => text !== "" }, convert: (text) => text };
}

/** One of some names, in capitals or not. */
export function choice<Name extends string, T extends Name | undefined>(
  help: string,
  value: string,
  names: readonly Name[],
  fallback: T,
  expected = names.join(" or "),
): Option<T | Name> {
  const convert = (text: string) => names.find((name) => name.toLowerCase() === text.toLowerCase()) ?? text;
  return { help, value, fallback, rule: { expected, accepts: (name) => names.includes(name as Name) }, convert, names };
}

/** No number where `Number` sees one in an empty text. */
function numeric(text: string): unknown {
  return text.trim() === "" ? text : Number(text);
}

/** An option's name as it is typed. */
export function typed(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
