import { addon } from "./binding.js";
import { Dataset, splitOf, type UnreadableFile } from "./data.js";
import { describe } from "./description.js";
import { type LabelKind, labelKindRule } from "./labels.js";
import {
  boolean,
  checkOptions,
  classNamesRule,
  either,
  filePath,
  integer,
  number,
  oneOf,
  type Rule,
  type Rules,
  seed as seedRule,
} from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { backgroundRule, channelsRule, type Fit, fitRule, type Normalise, normaliseRule, sizeRule } from "./transform.js";

/** Options of {@link imageFolder}. */
export interface ImageFolderOptions extends SignalOptions {
  /** Height and width that pictures are brought to, as a pair or one number; default 224. */
  size?: number | readonly [height: number, width: number];
  /** What becomes of other aspect ratios, default `"pad"`: nothing is cut off. */
  fit?: Fit;
  /** 3 (default): red, green and blue. 1: grey. */
  channels?: 1 | 3;
  /** Red, green and blue of borders and of what is behind transparent pixels; default white, [255, 255, 255]. */
  background?: readonly [red: number, green: number, blue: number];
  /**
   * How values from 0 to 1 are normalised, by default not at all: by given mean and deviation of each channel; `"imagenet"`, as weights
   * that were trained on it want; `"measured"`, by those of the pictures for training, all of which are read at the beginning then.
   */
  normalise?: Normalise | "imagenet" | "measured";
  /** The share of each class that is kept apart for validation, where the folder does not say; by default none is. */
  split?: number;
  /** Whether that is a share of each class (default) or of all, as it always is of pictures that are of any number of classes. */
  stratified?: boolean;
  /** Seed of what is kept apart, default 0. */
  seed?: number;
  /**
   * Of a list, how many classes a picture may be of: one (`"single"`, default), or any number (`"multi"`): a cell `cat|dog` in CSV, an
   * array `["cat", "dog"]` in JSONL; an empty cell or array is a picture of none.
   */
  labels?: LabelKind;
  /** The classes in the order of their labels; by default all there are, in their natural order (`class2` before `class10`). */
  classNames?: readonly string[];
  /**
   * What a file that is no picture, though its name says so, leads to: an error that names it (`"throw"`, default), or it is left out and
   * counted (`"skip"`). Its first bytes are looked at here; what is wrong behind them shows when it is read.
   */
  onError?: "throw" | "skip";
  /**
   * Whether all pictures are decoded once here, so that nothing of that kind comes up in training; default false. With `onError: "skip"` the
   * data sets have none then that cannot be read.
   */
  verify?: boolean;
  /** Bytes of prepared pictures that are kept in memory, default 512 MiB; the others are decoded anew in each epoch. */
  cache?: number;
}

/** What {@link imageFolder} passed over. */
export interface Skipped {
  /** Files and folders whose names begin with a dot. */
  readonly hidden: number;
  /** Symbolic links. */
  readonly links: number;
  /** Files that are no pictures by their names, what is no file, and folders whose names are no Unicode. */
  readonly others: number;
  /** Files that are no pictures by their bytes: the first ones, or with the option `verify` all of them. */
  readonly unreadable: readonly UnreadableFile[];
  /** Classes without pictures. */
  readonly emptyClasses: readonly string[];
  /** Classes of the pictures for validation that there are none of to train on. */
  readonly untrainedClasses: readonly string[];
  /** Pictures of a part `test`, which is left alone where there is one for validation. */
  readonly test: number;
}

/** Pictures for training and validation. */
export interface ImageFolder {
  /** For training. */
  readonly train: Dataset;
  /** For validation, if the folder has such pictures or the option `split` was given. */
  readonly validation?: Dataset;
  /** What was passed over. */
  readonly skipped: Skipped;
}

/** Mean and deviation of ImageNet's pictures, as torchvision has them. */
const IMAGENET: Normalise = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

const rules: Rules<ImageFolderOptions> = {
  ...signalRules,
  size: sizeRule,
  fit: fitRule,
  channels: channelsRule,
  background: backgroundRule,
  normalise: either(oneOf("imagenet", "measured"), normaliseRule) as Rule<Normalise | "imagenet" | "measured">,
  split: number(1e-6, 1 - 1e-6),
  stratified: boolean,
  seed: seedRule,
  labels: labelKindRule,
  classNames: classNamesRule,
  onError: oneOf("throw", "skip"),
  verify: boolean,
  cache: integer(0, Number.MAX_SAFE_INTEGER),
};

/**
 * Pictures in folders: one for each class, or such folders within `train` and `val` (or `validation`, `valid`; or `test`, where there is
 * none of these); or a list of them, a file `.csv` (a header with `path` and `label`) or `.jsonl` (an object with those fields a line),
 * where `split` may say `train`, `validation` or `test` likewise; with `labels: "multi"` a picture of a list may be of any number of
 * classes. JPEG, PNG and WebP, upright by their EXIF orientation, of any number: they are read and decoded on threads while a network
 * trains. Files within folders of a class count too; links are not followed.
 *
 * @example
 * ```ts
 * const data = await imageFolder("pictures/", { size: 96, split: 0.2 });
 * const model = new ResNet18({ numClasses: data.train.numClasses });
 * await fit(model, data, { epochs: 10, augment: [flip(), randomCrop({ padding: 8 })] });
 * ```
 *
 * Rejects with `ERR_DATA_NOT_FOUND` if there are not two classes with pictures, `ERR_DATA_CORRUPT` for a file that is none (see `onError`),
 * `ERR_IO` if a folder cannot be read, `ERR_INVALID_ARGUMENT` for options that cannot be.
 */
export async function imageFolder(path: string | URL, options: ImageFolderOptions & { readonly split: number }): Promise<ImageFolder & Required<Pick<ImageFolder, "validation">>>;
export async function imageFolder(path: string | URL, options?: ImageFolderOptions): Promise<ImageFolder>;
export async function imageFolder(path: string | URL, options?: ImageFolderOptions): Promise<ImageFolder> {
  const { size = 224, fit = "pad", channels = 3, background = [255, 255, 255], normalise, signal, ...given } = checkOptions(options, rules);
  const { split, stratified = true, seed = 0, labels = "single", classNames, onError = "throw", verify = false, cache = 2 ** 29 } = given;
  const byChannel = normalise === "imagenet" ? IMAGENET : normalise;
  const transform = {
    size: typeof size === "number" ? [size, size] : [...size],
    fit,
    channels,
    background: [...background],
    normalise: byChannel === "measured" ? undefined : byChannel && { mean: [...byChannel.mean], std: [...byChannel.std] },
  };
  const measured = normalise === "measured";
  const source = { path: filePath("path", path), transform, measured, split, stratified, seed, labels, classNames, onError, verify, cache };
  const from = JSON.stringify(describe("image_folder", source));
  const { train, validation, skipped } = await cancellable(signal, (flag) => addon.loadDataset(from, "[]", flag));
  signal?.throwIfAborted();
  const parts = { train: new Dataset(train), skipped };
  if (split !== undefined) splitOf.set(parts.train, { fraction: split, stratified, seed });
  return validation === null ? parts : { ...parts, validation: new Dataset(validation) };
}
