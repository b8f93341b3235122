import { type Augmentation, makeAugmentation as make } from "./augmentation.js";
import { ResNetError } from "./errors.js";
import { boolean, checkOptions, integer, list, number, oneOf, type Rule, type Rules } from "./options.js";

const share = number(0, 1);
const byte = integer(0, 255);
/** A pair of numbers of which the second is not smaller. */
function range(least: number, most: number): Rule<readonly [number, number]> {
  const expected = `a pair [least, most] of numbers from ${least} to ${most}`;
  const pair = list(number(least, most), expected, 2);
  return { expected, accepts: (value) => pair.accepts(value) && (value as number[])[0]! <= (value as number[])[1]! };
}

/** Options of {@link flip}. */
export interface FlipOptions {
  /** How often, from 0 to 1; default 0.5. */
  p?: number;
  /** Whether top becomes bottom instead of left right; default false. */
  vertical?: boolean;
  /** Whether each image is mirrored in every second epoch instead of by chance (Jordan, 2024); default false. */
  alternating?: boolean;
}

/** Mirrors images, left to right. */
export function flip(options?: FlipOptions): Augmentation {
  const rules: Rules<FlipOptions> = { p: share, vertical: boolean, alternating: boolean };
  const { p = 0.5, vertical = false, alternating = false } = checkOptions(options, rules);
  return make("flip", { p, vertical, alternating });
}

/** Options of {@link randomCrop}. */
export interface RandomCropOptions {
  /** Pixels that are added on each side, default 4. */
  padding?: number;
  /** Their value, from 0 (default) to 255. */
  fill?: number;
  /** `"constant"` (default), or `"reflect"`: they mirror the image. */
  mode?: "constant" | "reflect";
}

/** Pads images on all sides and cuts their size out of that at a random place, as torchvision's `RandomCrop`. */
export function randomCrop(options?: RandomCropOptions): Augmentation {
  const rules: Rules<RandomCropOptions> = { padding: integer(1, 4096), fill: byte, mode: oneOf("constant", "reflect") };
  const { padding = 4, fill = 0, mode = "constant" } = checkOptions(options, rules);
  return make("randomCrop", { padding, fill, reflect: mode === "reflect" });
}

/** Options of {@link resizedCrop}. */
export interface ResizedCropOptions {
  /** Least and most of the picture's area, default [0.08, 1]. */
  scale?: readonly [least: number, most: number];
  /** Least and most of width over height, default [3/4, 4/3]. */
  ratio?: readonly [least: number, most: number];
}

/**
 * Shows a random part of a picture in the network's size, as torchvision's `RandomResizedCrop`. It must come first in a list, and is taken
 * from the picture as it came, whatever the data set's `fit`.
 */
export function resizedCrop(options?: ResizedCropOptions): Augmentation {
  const rules: Rules<ResizedCropOptions> = { scale: range(1e-6, 1), ratio: range(1e-3, 1e3) };
  const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3] } = checkOptions(options, rules);
  return make("resizedCrop", { scale: [...scale], ratio: [...ratio] });
}

/** Options of {@link affine}. */
export interface AffineOptions {
  /** Most degrees of a turn, to either side; default 0. */
  degrees?: number;
  /** Most that images are moved, in parts of width and of height, to either side; default [0, 0]. */
  translate?: readonly [x: number, y: number];
  /** Least and most times the size, default [1, 1]. */
  scale?: readonly [least: number, most: number];
  /** Most degrees of shear across and down, to either side; default [0, 0]. */
  shear?: readonly [x: number, y: number];
  /** How the pixels between pixels are found, default `"bilinear"`. */
  interpolation?: "nearest" | "bilinear";
  /** Value, from 0 (default) to 255, of what comes from outside the image. */
  fill?: number;
}

/** Turns, moves, scales and shears images, as torchvision's `RandomAffine` on Pillow's images. */
export function affine(options?: AffineOptions): Augmentation {
  const pair = (least: number, most: number) => list(number(least, most), `a pair of numbers from ${least} to ${most}`, 2) as Rule<readonly [number, number]>;
  const rules: Rules<AffineOptions> = {
    degrees: number(0, 180),
    translate: pair(0, 1),
    scale: range(0.01, 100),
    shear: pair(0, 89),
    interpolation: oneOf("nearest", "bilinear"),
    fill: byte,
  };
  const { degrees = 0, translate = [0, 0], scale = [1, 1], shear = [0, 0], interpolation = "bilinear", fill = 0 } = checkOptions(options, rules);
  return make("affine", { degrees, translate: [...translate], scale: [...scale], shear: [...shear], sampling: interpolation, fill });
}

/** Options of {@link colorJitter}: the first three are most of a factor's distance from 1, `hue` is most of a turn. All default to 0. */
export interface ColorJitterOptions {
  /** Of the factor of brightness. */
  brightness?: number;
  /** Of the factor of contrast. */
  contrast?: number;
  /** Of the factor of saturation. */
  saturation?: number;
  /** Up to 0.5. */
  hue?: number;
}

/** Changes brightness, contrast, saturation and hue in random order, as torchvision's `ColorJitter` on Pillow's images. */
export function colorJitter(options?: ColorJitterOptions): Augmentation {
  const factor = number(0, 100);
  const rules: Rules<ColorJitterOptions> = { brightness: factor, contrast: factor, saturation: factor, hue: number(0, 0.5) };
  const { brightness = 0, contrast = 0, saturation = 0, hue = 0 } = checkOptions(options, rules);
  return make("colorJitter", { brightness, contrast, saturation, hue });
}

/** Options of {@link trivialAugment}. */
export interface TrivialAugmentOptions {
  /** How the pixels between pixels are found, default `"nearest"`. */
  interpolation?: "nearest" | "bilinear";
  /** Value, from 0 (default) to 255, of what comes from outside the image. */
  fill?: number;
}

/** One of 14 changes, with one of 31 strengths (Müller and Hutter, 2021), as torchvision's `TrivialAugmentWide` on Pillow's images. */
export function trivialAugment(options?: TrivialAugmentOptions): Augmentation {
  const rules: Rules<TrivialAugmentOptions> = { interpolation: oneOf("nearest", "bilinear"), fill: byte };
  const { interpolation = "nearest", fill = 0 } = checkOptions(options, rules);
  return make("trivialAugment", { sampling: interpolation, fill });
}

/** Options of {@link erasing}. */
export interface ErasingOptions {
  /** How often, from 0 to 1; default 0.5. */
  p?: number;
  /** Least and most of the image's area, default [0.02, 0.33]. */
  scale?: readonly [least: number, most: number];
  /** Least and most of height over width, default [0.3, 3.3]. */
  ratio?: readonly [least: number, most: number];
  /** What the rectangle is filled with after normalising, default 0; `"noise"` for normal noise. */
  value?: number | "noise";
}

/** Erases a random rectangle (Zhong et al., 2017), after everything else, as torchvision's `RandomErasing`. */
export function erasing(options?: ErasingOptions): Augmentation {
  const value: Rule<number | "noise"> = {
    expected: 'a finite number or "noise"',
    accepts: (given) => given === "noise" || number(-1e30, 1e30).accepts(given),
  };
  const rules: Rules<ErasingOptions> = { p: share, scale: range(1e-6, 1), ratio: range(1e-3, 1e3), value };
  const { p = 0.5, scale = [0.02, 0.33], ratio = [0.3, 3.3], value: fill = 0 } = checkOptions(options, rules);
  return make("erasing", { p, scale: [...scale], ratio: [...ratio], value: fill === "noise" ? undefined : fill });
}

/** Options of {@link mixup} and {@link cutmix}. */
export interface MixOptions {
  /** The share of an image follows Beta(alpha, alpha); more than 0. */
  alpha?: number;
}

/**
 * Mixes each image with another of its batch, and the loss of its label with that of the other's (Zhang et al., 2017), as torchvision's
 * `MixUp`; default alpha 0.2. Training accuracy then counts the label with the larger share.
 */
export function mixup(options?: MixOptions): Augmentation {
  return mix("mixup", 0.2, options);
}

/** The same with a rectangle of the other image (Yun et al., 2019), as torchvision's `CutMix`; default alpha 1. */
export function cutmix(options?: MixOptions): Augmentation {
  return mix("cutmix", 1, options);
}

function mix(name: string, usual: number, options?: MixOptions): Augmentation {
  const { alpha = usual } = checkOptions(options, { alpha: number(0, 1e6) });
  if (alpha === 0) throw new ResNetError("ERR_INVALID_ARGUMENT", "alpha: expected more than 0, got 0");
  return make(name, { alpha });
}
