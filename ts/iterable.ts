import { freemem, totalmem } from "node:os";
import { addon, type NativeMatrix } from "./binding.js";
import { Dataset } from "./data.js";
import { ResNetError, translated } from "./errors.js";
import { type LabelKind, labelKindRule } from "./labels.js";
import { check, checkOptions, classNamesRule, isList, properties, type Rule, type Rules, unexpected } from "./options.js";
import { cancellable, type SignalOptions, signalRules, untilAborted } from "./signal.js";
import {
  backgroundRule,
  channelsRule,
  checkTransform,
  describePicture,
  type Fit,
  fitRule,
  type Normalise,
  normaliseRule,
  type Picture,
  sizeRule,
} from "./transform.js";

/** A picture with its class: a name, or a number counting from 0. With `labels: "multi"` with any number of them. */
export interface Sample {
  /** The path of a file, or the bytes of one. */
  readonly image: Picture;
  /** Its class; with `labels: "multi"` an array of its classes, which may be empty. */
  readonly label: string | number | readonly (string | number)[];
}

/** Options of {@link fromIterable}, those of {@link imageFolder} that concern a picture. */
export interface IterableOptions extends SignalOptions {
  /** Height and width that pictures are brought to, as a pair or one number; default 224. */
  size?: number | readonly [height: number, width: number];
  /** What becomes of other aspect ratios, default `"pad"`. */
  fit?: Fit;
  /** 3 (default): red, green and blue. 1: grey. */
  channels?: 1 | 3;
  /** Red, green and blue of borders and of what is behind transparent pixels; default white. */
  background?: readonly [red: number, green: number, blue: number];
  /** How values from 0 to 1 are normalised, by default not at all. */
  normalise?: Normalise;
  /** Whether a picture is of one class (`"single"`, default) or of any number (`"multi"`), all given in an array. */
  labels?: LabelKind;
  /** The classes in the order of their labels; by default those that came, names in the order in which they came first. */
  classNames?: readonly string[];
}

const rules: Rules<IterableOptions> = {
  ...signalRules,
  size: sizeRule,
  fit: fitRule,
  channels: channelsRule,
  background: backgroundRule,
  normalise: normaliseRule,
  labels: labelKindRule,
  classNames: classNamesRule,
};

const iterableRule: Rule<Iterable<Sample> | AsyncIterable<Sample>> = {
  expected: "an iterable or async iterable of { image, label }",
  accepts(value) {
    const { [Symbol.iterator]: sync, [Symbol.asyncIterator]: async } = value as Partial<Iterable<Sample> & AsyncIterable<Sample>>;
    // A typed array has numbers, and none where its memory has gone elsewhere.
    return typeof value === "object" && !ArrayBuffer.isView(value) && (typeof sync === "function" || typeof async === "function");
  },
};

/**
 * A data set of the pictures that an iterable gives, from a database or a network, say. The next one is asked for when the one before has
 * been decoded; each is kept in the network's size, as bytes.
 *
 * **All of them are in memory**: channels · height · width bytes each, 150 kB of a colour picture at 224x224, 1.5 GB of 10,000 of them, and
 * twice that for a moment when the last one has come. Files on a disc need none of it: {@link imageFolder}, also by a list.
 *
 * @example
 * ```ts
 * async function* rows() {
 *   for await (const { photo, kind } of database.query("…")) yield { image: photo, label: kind };
 * }
 * const { train, validation } = (await fromIterable(rows(), { size: 96 })).split();
 * ```
 *
 * Rejects with `ERR_DATA_CORRUPT` for what is no picture, `ERR_IO` for a file that cannot be read, `ERR_LABEL` for a label that is no class,
 * `ERR_INVALID_ARGUMENT` for no samples and options that cannot be, `ERR_OUT_OF_MEMORY` as soon as twice what has come is more than this
 * process may have, and with what the iterable throws.
 */
export async function fromIterable(samples: Iterable<Sample> | AsyncIterable<Sample>, options?: IterableOptions): Promise<Dataset> {
  const { size = 224, fit = "pad", channels = 3, background = [255, 255, 255], normalise, labels = "single", classNames, signal } = checkOptions(options, rules);
  check("samples", samples, iterableRule);
  const [height, width] = typeof size === "number" ? [size, size] : size;
  const given = { size: [height, width], fit, channels, background, ...(normalise && { normalise }) } as const;
  const transform = JSON.stringify(checkTransform("transform", given));
  const bytes = channels * height * width;
  const names = new Map((classNames ?? []).map((name, i) => [name, i]));
  const found: number[][] = [];
  const [room, kinds] = [new Room(bytes), new Set<string>()];
  for await (const { item: sample } of untilAborted(signal, samples)) {
    const name = `samples[${found.length}]`;
    const { image, label } = properties(name, iterableRule.expected, sample, ["image", "label"]);
    const picture = describePicture(`${name}.image`, image!);
    const given = labelsOf(`${name}.label`, label, labels);
    for (const one of given) kinds.add(typeof one);
    if (kinds.size > 1) throw unexpected(`${name}.label`, "names or numbers, not both", label);
    const fitted = await cancellable(signal, () => addon.fitPicture(name, picture, transform));
    room.put(fitted);
    found.push(given.map((one) => labelOf(`${name}.label`, one, names, classNames)));
  }
  const classes = classNames ? [...classNames] : kinds.has("string") ? [...names.keys()] : undefined;
  if (found.length === 0) throw unexpected("samples", "at least one sample", samples);
  const told = labels === "single" ? Uint32Array.from(found.flat()) : matrixOf(found, classes?.length);
  return new Dataset(translated(() => addon.NativeDataset.fromFitted(room.parts, transform, told, classes)));
}

/** The classes of a sample, each once. */
function labelsOf(name: string, label: unknown, kind: LabelKind): unknown[] {
  if (kind === "single") return [label];
  if (!isList(label)) throw unexpected(name, 'an array of classes with labels: "multi"', label);
  return [...new Set(label)];
}

/** Which classes each sample is of, of so many, or of those that came. */
function matrixOf(samples: readonly (readonly number[])[], count?: number): NativeMatrix {
  const classes = count ?? samples.flat().reduce((most, label) => Math.max(most, label + 1), 0);
  if (classes === 0) throw new ResNetError("ERR_LABEL", "samples: expected at least one class, got none");
  const data = roomFor(samples.length * classes, []);
  for (const [i, labels] of samples.entries()) for (const label of labels) data[i * classes + label] = 1;
  return { data, classes };
}

/** The class of a sample. A name that is new becomes one, unless all are given. */
function labelOf(name: string, label: unknown, names: Map<string, number>, classNames: readonly string[] | undefined): number {
  if (typeof label === "string") {
    const known = names.get(label);
    if (known !== undefined) return known;
    if (classNames) throw new ResNetError("ERR_LABEL", `${name}: expected one of ${JSON.stringify(classNames)}, got ${JSON.stringify(label)}`);
    names.set(label, names.size);
    return names.size - 1;
  }
  const most = classNames ? classNames.length - 1 : 2 ** 32 - 2;
  if (Number.isInteger(label) && (label as number) >= 0 && (label as number) <= most) return label as number;
  throw new ResNetError("ERR_LABEL", `${name}: expected a name or an integer from 0 to ${most}, got ${String(label)}`);
}

/** Bytes of images that are asked for at a time, or those of one image if it has more. */
const PART = 2 ** 24;

/** Room for images of one length; it grows part by part, so that nothing is copied. */
class Room {
  readonly #image: number;
  readonly #full: Uint8Array<ArrayBuffer>[] = [];
  #part = new Uint8Array();
  #used = 0;

  constructor(image: number) {
    this.#image = image;
  }

  put(image: Uint8Array): void {
    if (this.#part.length < this.#used + this.#image) {
      if (this.#used > 0) this.#full.push(this.#part.subarray(0, this.#used));
      this.#part = roomFor(Math.max(1, Math.floor(PART / this.#image)) * this.#image, this.#full);
      this.#used = 0;
    }
    this.#part.set(image, this.#used);
    this.#used += this.#image;
  }

  /** What was put in, in order. */
  get parts(): Uint8Array[] {
    return [...this.#full, this.#part.subarray(0, this.#used)];
  }
}

/** So many bytes beside those that there are, if all of them can be had twice: in the end they are handed over as a copy. */
function roomFor(length: number, before: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const kept = before.reduce((sum, part) => sum + part.length, 0);
  const full = (cause?: unknown) => {
    const message = `samples: out of memory: ${kept + length} bytes and a copy of them asked for`;
    return new ResNetError("ERR_OUT_OF_MEMORY", message, cause === undefined ? undefined : { cause });
  };
  // Systems give out memory that they do not have, and end the process that uses it.
  if (available() < kept + 2 * length) throw full();
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw full(cause);
  }
}

/** Bytes that this process may still ask for, as far as can be told: pages that only cache files do not count as taken. */
function available(): number {
  const limit = Math.min(process.constrainedMemory() || Infinity, totalmem()) - process.memoryUsage.rss();
  // Elsewhere what is free leaves out what is only kept at hand.
  return process.platform === "linux" ? Math.min(limit, freemem()) : limit;
}
