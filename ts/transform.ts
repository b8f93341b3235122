import { types } from "node:util";
import { addon, type NativePicture, type NativePixels } from "./binding.js";
import {
  check,
  checkOptions,
  either,
  filePath,
  integer,
  isList,
  list,
  number,
  object,
  oneOf,
  path,
  properties,
  type Rule,
  type Rules,
  unexpected,
} from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { isBytes, type Tensor } from "./tensor.js";

/**
 * What becomes of a picture with another aspect ratio: `"pad"` shows it whole, with borders of the background at two sides, `"crop"` fills
 * the shape and cuts off what is beyond it, `"stretch"` distorts it.
 */
export type Fit = "pad" | "crop" | "stretch";

/** What is taken off values from 0 to 1, and what they are divided by then: one of each for every channel. */
export interface Normalise {
  /** What is taken off. */
  readonly mean: readonly number[];
  /** What the rest is divided by, more than 0. */
  readonly std: readonly number[];
}

/**
 * All that is done to a picture before a network sees it, the same in training, evaluation and prediction; augmentation is not part of it.
 * Plain data, to be kept with a model.
 */
export interface PictureTransform {
  /** Height and width, each from 1 to 16384. */
  readonly size: readonly [height: number, width: number];
  /** What becomes of another aspect ratio. */
  readonly fit: Fit;
  /** 3: red, green and blue. 1: grey. */
  readonly channels: number;
  /** Red, green and blue, from 0 to 255, of borders and of what is behind transparent pixels. */
  readonly background: readonly [red: number, green: number, blue: number];
  /** How values are normalised, if they are. */
  readonly normalise?: Normalise;
}

/** Decoded pixels, as `sharp(file).raw().toBuffer({ resolveWithObject: true })` gives them. */
export interface RawPixels {
  /** (height, width, channels), bytes. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** How they are laid out. */
  readonly info: {
    /** Pixels of a row. */
    readonly width: number;
    /** Rows. */
    readonly height: number;
    /** 1: grey, 2: grey and alpha, 3: red, green and blue, 4: with alpha. */
    readonly channels: number;
  };
}

/** A picture: the path of a file, the bytes of one, or pixels. JPEG, PNG and WebP are told apart by their bytes. */
export type Picture = string | URL | Uint8Array | ArrayBuffer | RawPixels;

const side = integer(1, 16384);
/** The rule for a size, one number for both sides or a pair. */
export const sizeRule = either(side, list(side, "a pair [height, width] of such", 2)) as Rule<number | readonly [number, number]>;
export const fitRule = oneOf("pad", "crop", "stretch");
export const channelsRule: Rule<1 | 3> = { expected: "1 or 3", accepts: (value) => value === 1 || value === 3 };
const colour = list(integer(0, 255), "[red, green, blue], each from 0 to 255", 3);
export const backgroundRule = colour as Rule<readonly [number, number, number]>;

/** The rule for mean and deviation; whether there is one of each for every channel is the addon's to say. */
export const normaliseRule: Rule<Normalise> = {
  expected: "{ mean, std }, finite numbers for each channel, those of std above 0",
  accepts(value) {
    const { mean, std } = value as Partial<Normalise>;
    const numbers = (least: number) => list(number(least), "numbers");
    return numbers(-1e30).accepts(mean) && numbers(1e-30).accepts(std) && mean?.length === std?.length;
  },
};

const fields = ["size", "fit", "channels", "background", "normalise"] as const;
const bytes: Rule<Uint8Array | ArrayBuffer> = {
  expected: "the bytes of a file",
  // Without its buffer a typed array has no values and throws, as a view of a detached buffer does.
  accepts: (value) => types.isArrayBuffer(value) ? new Uint8Array(value as ArrayBuffer).length >= 0 : types.isUint8Array(value) && value.values() !== undefined,
};
const pictureRule = { ...either(path, bytes), expected: "a picture: a path, a file URL, the bytes of a file, or pixels { data, info: { width, height, channels } }" };
const pixelDataRule: Rule<Uint8Array | Uint8ClampedArray> = {
  expected: "bytes",
  accepts: (value) => isBytes(value) && value.values() !== undefined,
};
const pixelsRule: Rule<NativePixels> = {
  expected: "width and height from 1 to 16384 and 1 to 4 channels",
  accepts(value) {
    const { width, height, channels } = value as NativePixels;
    return side.accepts(width) && side.accepts(height) && integer(1, 4).accepts(channels);
  },
};

/** Returns the transform, if it is one. */
export function checkTransform(parameter: string, transform: PictureTransform): PictureTransform {
  const rules: Rules<PictureTransform> = {
    size: list(side, "a pair [height, width] of integers from 1 to 16384", 2) as Rule<readonly [number, number]>,
    fit: fitRule,
    channels: channelsRule as Rule<number>,
    background: backgroundRule,
    normalise: normaliseRule,
  };
  const expected = "a transform such as data.train.transform";
  const given = properties(parameter, expected, transform, fields) as Record<string, unknown>;
  for (const name of fields) {
    if (name === "normalise" && given[name] === undefined) continue;
    if (given[name] === undefined) throw unexpected(parameter, expected, transform);
    check(`${parameter}.${name}`, given[name], rules[name] as Rule<unknown>);
  }
  return given as unknown as PictureTransform;
}

/**
 * Makes of pictures what a data set with this transform makes of them: images (N, C, H, W), to be given to `predict`.
 *
 * @example
 * ```ts
 * const logits = await model.predict(await preprocess("photo.jpg", data.train.transform));
 * ```
 *
 * Rejects with `ERR_DATA_CORRUPT` for what is no JPEG, PNG or WebP, `ERR_IO` for a file that cannot be read, `ERR_INVALID_ARGUMENT` for a
 * transform that cannot be.
 */
export async function preprocess(
  pictures: Picture | readonly Picture[],
  transform: PictureTransform,
  options?: SignalOptions,
): Promise<Tensor> {
  const { signal } = checkOptions(options, signalRules);
  const described = JSON.stringify(checkTransform("transform", transform));
  const all = isList(pictures) ? (pictures as readonly Picture[]) : [pictures as Picture];
  if (all.length === 0) throw unexpected("pictures", "at least one picture", pictures);
  const given = Array.from(all, (picture, i) => {
    const name = isList(pictures) ? `pictures[${i}]` : "pictures";
    return describePicture(name, picture);
  });
  return cancellable(signal, (flag) => addon.preprocess(given, described, flag));
}

/** A picture as the addon takes it. */
export function describePicture(name: string, picture: Picture): NativePicture {
  if (isRaw(picture)) {
    const { data, info } = properties(name, pictureRule.expected, picture, ["data", "info"]);
    const given = check(`${name}.info`, info, { ...object, expected: "{ width, height, channels }" }) as RawPixels["info"];
    const { width, height, channels } = properties(`${name}.info`, pixelsRule.expected, given, ["width", "height", "channels"]);
    const size = { height: height!, width: width!, channels: channels! };
    check(`${name}.info`, size, pixelsRule);
    const { buffer, byteOffset, byteLength } = check(`${name}.data`, data, pixelDataRule);
    return { bytes: new Uint8Array(buffer, byteOffset, byteLength), size };
  }
  const found = check(name, picture, pictureRule);
  if (types.isArrayBuffer(found)) return { bytes: new Uint8Array(found as ArrayBuffer) };
  return types.isUint8Array(found) ? { bytes: found } : { path: filePath(name, found as string | URL) };
}

/** Whether it has the form of pixels; a look at a revoked proxy throws, and is no such form. */
function isRaw(picture: Picture): picture is RawPixels {
  try {
    return typeof picture === "object" && picture !== null && "data" in picture;
  } catch {
    return false;
  }
}

/** The transform that the addon tells. */
export function parseTransform(json: string | null): PictureTransform | undefined {
  return json === null ? undefined : (JSON.parse(json) as PictureTransform);
}
