/** An option, or an operand, of a command. */
export interface Option<T> {
  /** What it is for. */
  readonly help: string;
  /** A letter that names it too, after one dash. */
  readonly short?: string;
  /** What stands for its value in help; a flag has none. */
  readonly value?: string;
  /** What it is if it is not given; an operand without it must be given. */
  readonly fallback: T;
  /** What its value must be, in words. */
  readonly expected: string;
  /** Whether a value is that. */
  readonly accepts: (value: unknown) => boolean;
  /** The value that a text stands for. */
  readonly convert: (text: string) => unknown;
  /** Names to suggest where a value is near one. */
  readonly names?: readonly string[];
  /** Where its numbers lie, for help. */
  readonly range?: string;
  /** Whether it is refused where it is told again, as of what is written: of others the last one counts, as shells' aliases want it. */
  readonly isOnce?: boolean;
  /** Whether an operand, the last one, takes all words that are left, at least one. */
  readonly many?: boolean;
}

/** Options by name; in camel case, as the library has them. */
export type Options = Readonly<Record<string, Option<unknown>>>;

/** What options and operands come to. */
export type Values<O extends Options> = { readonly [Name in keyof O]: O[Name] extends Option<infer T> ? T : never };

/** The largest f32, with which the library computes. */
const MAX_F32 = 2 ** 128 - 2 ** 104;

/** An option that is there or not. */
export function flag(help: string): Option<boolean> {
  return { help, fallback: false, expected: "no value", accepts: () => true, convert: () => true };
}

/** A whole number. */
export function whole<T extends number | undefined>(help: string, fallback: T, least: number, most?: number): Option<T | number> {
  return { help, value: "N", fallback, ...bounded("an integer", Number.isSafeInteger, least, most) };
}

/** A number. Where nothing else bounds it, f32 does, which help does not have to say. */
export function real(help: string, fallback: number, least: number, most?: number): Option<number> {
  const bounds = bounded("a finite number", Number.isFinite, least, most ?? MAX_F32);
  return { help, value: "X", fallback, ...bounds, range: most === undefined ? `at least ${least}` : bounds.range };
}

/** What numbers of a kind must be. */
function bounded(kind: string, isOne: (value: unknown) => boolean, least: number, most = Infinity) {
  const range = most === Infinity ? `at least ${least}` : `${least} to ${most}`;
  const accepts = (value: unknown) => isOne(value) && (value as number) >= least && (value as number) <= most;
  return { expected: `${kind} ${most === Infinity ? "of" : "from"} ${range}`, range, accepts, convert: numeric };
}

/** Any text. */
export function text<T extends string | undefined>(
  help: string,
  value: string,
  fallback: T,
  expected: string,
): Option<T | string> {
  return { help, value, fallback, expected, accepts: (text) => text !== "", convert: (text) => text };
}

/** All words that are left, at least one: the last operand. */
export function many<T>(option: Option<T | undefined>): Option<readonly T[]> {
  return { ...option, many: true } as unknown as Option<readonly T[]>;
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
  return { help, value, fallback, expected, accepts: (name) => names.includes(name as Name), convert, names };
}

/** No number where `Number` sees one in an empty text. */
function numeric(text: string): unknown {
  return text.trim() === "" ? text : Number(text);
}

/** An option's name as it is typed. */
export function typed(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Options as they are typed to have these values again, each after a space; those that have their default need not be. */
export function typedAgain(options: Options, values: Readonly<Record<string, unknown>>): string {
  const given = Object.entries(options).filter(([name, { fallback }]) => values[name] !== fallback);
  const words = given.map(([name, { value }]) => {
    return value === undefined ? ` ${typed(name)}` : ` ${typed(name)} ${shellWord(String(values[name]))}`;
  });
  return words.join("");
}

/** A name on one line, and without what a terminal would obey. */
export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (control) => (control === "\n" ? String.raw`\n` : String.raw`\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`));
}

/** A value or a file's name as a shell takes it for one word, and this program not for an option. */
export function shellWord(text: string): string {
  const word = text.startsWith("-") ? `./${text}` : text;
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return process.platform === "win32" ? `"${word}"` : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
