import { fileURLToPath } from "node:url";
import { types } from "node:util";
import { addon } from "./binding.js";
import { Dataset } from "./data.js";
import { describe, type Description } from "./description.js";
import type { DownloadProgress } from "./download.js";
import { translated } from "./errors.js";
import { locateCifar } from "./cifar.js";
import { DIGITS, locate } from "./fashion-mnist.js";
import { checkAnyLabels, type LabelMatrix } from "./labels.js";
import { boolean, callback, checkOptions, classNamesRule, either, integer, list, oneOf, path, type Rule, type Rules } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { checkNumbers, checkShape, floats, isBytes, type Numbers } from "./tensor.js";

/** What {@link fromArrays} takes. */
export interface Arrays {
  /** Pixels of all images, (N, C, H, W) in row-major order. Bytes are kept as such and divided by 255 in batches. */
  images: Numbers;
  /** (N, C, H, W). */
  shape: readonly number[];
  /** A label for each image, counting from 0; or, of images that are of any number of classes, a matrix `{ data, shape: [N, classes] }` of 0 and 1. */
  labels: Numbers | LabelMatrix;
  /** Names of the classes by label; without them the largest label, or the matrix, tells how many classes there are. */
  classNames?: readonly string[];
}

const anything: Rule<never> = { expected: "anything", accepts: () => true };
/** Numbers and shapes are looked at more closely below. */
const arraysRules: Rules<Arrays> = {
  images: anything,
  shape: anything,
  labels: anything,
  classNames: classNamesRule,
};

/**
 * A data set of images that are already in memory; they are copied.
 *
 * @example
 * ```ts
 * const data = fromArrays({ images: new Uint8Array(2 * 28 * 28), shape: [2, 1, 28, 28], labels: [0, 1] });
 * ```
 * @throws `ERR_SHAPE` if lengths do not fit the shape, `ERR_LABEL` if a label is outside the classes,
 * `ERR_INVALID_ARGUMENT` for an empty set, a wrong type or a pixel that is NaN or infinite.
 */
export function fromArrays(arrays: Arrays): Dataset {
  const { images, shape, labels, classNames } = checkOptions(arrays, arraysRules);
  const pixels = addonPixels(checkNumbers("images", images));
  const sizes = checkShape("shape", shape);
  const classes = checkAnyLabels("labels", labels);
  const names = classNames && [...classNames];
  return new Dataset(translated(() => addon.NativeDataset.fromArrays(pixels, sizes, classes, names)));
}

/** Pixels as the addon takes them, which copies them: bytes or floats. */
function addonPixels(pixels: Numbers): Uint8Array | Float32Array {
  if (isBytes(pixels)) return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
  return types.isFloat32Array(pixels) ? pixels : floats("images", pixels);
}

/** Options of {@link mnist}, {@link cifar10} and {@link cifar100}. */
export interface PublishedSetOptions extends SignalOptions {
  /** Folder that holds the files, or CIFAR's archive; no other place is looked at then. */
  root?: string | URL;
  /** Height and width that images are brought to, as a pair or one number; by default they stay 28x28. */
  resize?: number | readonly [height: number, width: number];
  /** How: `"pil"` (default) rounds as Pillow does, `"float"` is PyTorch's `interpolate`. */
  interpolation?: "pil" | "float";
  /** Whether files that are nowhere are downloaded, default true. */
  download?: boolean;
  /** Called while files are downloaded. */
  onProgress?: (progress: DownloadProgress) => void;
}

/** Options of {@link fashionMnist}. */
export interface FashionMnistOptions extends PublishedSetOptions {
  /** `"full"` (default): 60,000 + 10,000 images. `"sample"`: the 4,096 + 1,024 of them that come with this package. */
  source?: "full" | "sample";
}

/** A data set that its authors published in two parts. */
export interface PublishedSet {
  /** For training. */
  readonly train: Dataset;
  /** For validation. */
  readonly validation: Dataset;
  /** The folder or archive that it came from. */
  readonly source: string;
}

/** Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 60,000 images for training and 10,000 for validation, or 4,096 and 1,024 in the sample. */
export interface FashionMnist extends PublishedSet {
  /** The folder that it came from, or `"sample"`. */
  readonly source: string;
}

const side = integer(1, 16384);
const publishedRules: Rules<PublishedSetOptions> = {
  ...signalRules,
  root: path,
  resize: either(side, list(side, "a pair [height, width] of such", 2)) as Rules<PublishedSetOptions>["resize"],
  interpolation: oneOf("pil", "float"),
  download: boolean,
  onProgress: callback as Rules<PublishedSetOptions>["onProgress"],
};
const rules: Rules<FashionMnistOptions> = { ...publishedRules, source: oneOf("full", "sample") };

/**
 * Loads Fashion-MNIST: 28x28 grey images of ten kinds of clothing, scaled to [0, 1] in batches.
 *
 * It is looked for in `root`, or else in the folder that the environment variable `RESNET_NATIVE_DATA` names, the
 * user's cache and the folder of Debian's package `dataset-fashion-mnist`; then it is downloaded into the cache.
 *
 * @example
 * ```ts
 * const data = await fashionMnist({ resize: [96, 96] });
 * await fit(new ResNet18(), data, { epochs: 10, optimizer: sgd({ lr: 0.01 }) });
 * ```
 *
 * Rejects with `ERR_DATA_NOT_FOUND`, which lists the places and the ways to get the files, or `ERR_DATA_CORRUPT`.
 */
export async function fashionMnist(options?: FashionMnistOptions): Promise<FashionMnist> {
  const { root, resize, interpolation, source = "full", ...fetching } = checkOptions(options, rules);
  const sample = fileURLToPath(new URL("../data/fashion-mnist-sample", import.meta.url));
  const folder = source === "sample" ? sample : await locate(root, fetching);
  const transforms = describeTransforms({ resize, interpolation });
  const splits = await load(describe("fashion_mnist", { folder }), transforms, fetching.signal);
  return { ...splits, source: source === "sample" ? "sample" : folder };
}

/**
 * Loads MNIST (LeCun et al., 1998): 28x28 grey images of handwritten digits, 60,000 for training and 10,000 for validation, from the four
 * files in `root`, a folder `mnist` or `MNIST/raw` there or in what `RESNET_NATIVE_DATA` names, or the user's cache, into which they are
 * downloaded if they are nowhere.
 *
 * Rejects with `ERR_DATA_NOT_FOUND`, which lists the places and the ways to get the files, or `ERR_DATA_CORRUPT`.
 */
export async function mnist(options?: PublishedSetOptions): Promise<PublishedSet> {
  const { root, resize, interpolation, ...fetching } = checkOptions(options, publishedRules);
  const folder = await locate(root, fetching, DIGITS);
  const splits = await load(describe("mnist", { folder }), describeTransforms({ resize, interpolation }), fetching.signal);
  return { ...splits, source: folder };
}

/**
 * Loads CIFAR-10 (Krizhevsky, 2009): 32x32 pictures of ten kinds of things, 50,000 for training and 10,000 for validation, from the
 * authors' binary files or the archive of them (`cifar-10-binary.tar.gz`): `root`, or in the folder that `RESNET_NATIVE_DATA` names or the
 * user's cache, into which the archive is downloaded if it is nowhere, 170 MB.
 *
 * Rejects with `ERR_DATA_NOT_FOUND`, which lists the places and the ways to get the files, or `ERR_DATA_CORRUPT`.
 */
export async function cifar10(options?: PublishedSetOptions): Promise<PublishedSet> {
  return cifar("cifar10", options);
}

/** Loads CIFAR-100, of a hundred kinds of things, as {@link cifar10} does; labels are the fine ones. */
export async function cifar100(options?: PublishedSetOptions): Promise<PublishedSet> {
  return cifar("cifar100", options);
}

async function cifar(kind: "cifar10" | "cifar100", options?: PublishedSetOptions): Promise<PublishedSet> {
  const { root, resize, interpolation, ...fetching } = checkOptions(options, publishedRules);
  const path = await locateCifar(kind, root, fetching);
  const splits = await load(describe("cifar", { kind, path }), describeTransforms({ resize, interpolation }), fetching.signal);
  return { ...splits, source: path };
}

/** What is done to images on their way into a batch, in order, as the addon reads it. */
function describeTransforms(options: Pick<FashionMnistOptions, "resize" | "interpolation">): Description[] {
  const { resize, interpolation = "pil" } = options;
  if (resize === undefined) return [];
  return [describe("resize", { size: typeof resize === "number" ? [resize, resize] : resize, interpolation })];
}

/** Reads the files of a data set. */
async function load(source: Description, transforms: readonly Description[], signal: AbortSignal | undefined) {
  const [from, through] = [JSON.stringify(source), JSON.stringify(transforms)];
  const { train, validation } = await cancellable(signal, (flag) => addon.loadDataset(from, through, flag));
  signal?.throwIfAborted();
  return { train: new Dataset(train), validation: new Dataset(validation!) };
}
