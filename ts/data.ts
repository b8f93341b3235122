import { inspect } from "node:util";
import { type Augmentation, augmentRule, describeAugment } from "./augmentation.js";
import { addon, type NativeBatches, type NativeDataset } from "./binding.js";
import { translated } from "./errors.js";
import type { LabelKind } from "./labels.js";
import { boolean, check, checkOptions, integer, made, number, type Rule, type Rules, seed as seedRule, size } from "./options.js";
import { type Sampler, samplerRule } from "./sampler.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { checkNumbers, type Numbers, type Tensor } from "./tensor.js";
import { type Normalise, normaliseRule, parseTransform, type PictureTransform } from "./transform.js";

/** Some images (N, C, H, W) with their labels. */
export interface Batch {
  /** Pixels, scaled to [0, 1] if they are bytes, and normalised if the data set is. */
  readonly images: Tensor;
  /**
   * A class for each image, counting from 0: a `Uint32Array`. Of data whose `labelKind` is `"multi"` a `Uint8Array`, the matrix (N, classes)
   * with 1 for the classes that an image is of, else 0.
   */
  readonly labels: Uint32Array | Uint8Array;
  /** Where each image's sample stands in the data set. */
  readonly indices: Uint32Array;
  /** What was mixed into the images, if something was: see {@link mixup}. */
  readonly mixed?: Mixed;
}

/** What was mixed into the images of a batch, each with the image before it. */
export interface Mixed {
  /** The labels of the other images, as a batch has them. */
  readonly labels: Uint32Array | Uint8Array;
  /** Share of the images' own labels, from 0 to 1. */
  readonly share: number;
}

/** Files that could not be read. */
export interface Unreadable {
  /** How many. */
  readonly count: number;
  /** The first hundred, each with what it is instead of a picture. */
  readonly files: readonly UnreadableFile[];
}

/** A file that could not be read as a picture. */
export interface UnreadableFile {
  /** Where it is. */
  readonly path: string;
  /** What it is instead, or why it cannot be read. */
  readonly got: string;
}

/** Options of {@link Dataset.split}. */
export interface SplitOptions {
  /** The share of the samples that is kept apart, default 0.2. */
  fraction?: number;
  /**
   * Whether that is a share of each class, default true; every class of two samples or more is in both parts then. Samples of any number of
   * classes are parted at random all the same.
   */
  stratified?: boolean;
  /** Seed of what is kept apart, default 0. */
  seed?: number;
}

/** The two parts of a data set that {@link Dataset.split} makes. */
export interface Splits {
  /** For training. */
  readonly train: Dataset;
  /** What was kept apart. */
  readonly validation: Dataset;
}

/** Options of {@link Dataset.batches}. */
export interface BatchOptions {
  /** Samples of a batch, default 128; the last one may have fewer. */
  batchSize?: number;
  /** Whether samples come in a random order, default false. */
  shuffle?: boolean;
  /** Which samples come, instead of each once: see {@link balancedSampler}. */
  sampler?: Sampler;
  /** How images are changed at random, by default not at all. */
  augment?: readonly Augmentation[];
  /** Seed of order and changes, default 0. */
  seed?: number;
  /** Which epoch's order and changes, counting from 1 (default). */
  epoch?: number;
  /** Whether a last batch that is not full is left out, default false. */
  dropLast?: boolean;
  /** Threads that prepare batches, default 1, or where pictures are decoded as many as there are cores, up to 8. They change nothing else. */
  loaderThreads?: number;
}

/** The addon's handle of a data set. Throws if it is none. */
export let nativeDataOf: (data: Dataset, parameter?: string) => NativeDataset;
/** The rule for a parameter that is a data set. */
export let datasetRule: Rule<Dataset>;

const nativeRule = made<NativeDataset>("a call of fromArrays or imageFolder, say, which make data sets", (value) => value instanceof addon.NativeDataset);

/** How images for validation were chosen, by the images that were left for training, as a report tells it. */
export const splitOf = new WeakMap<Dataset, Required<SplitOptions>>();

/** The rule for a number of threads that prepare batches. */
export const loaderThreadsRule = integer(0, 64);
export const batchRules: Rules<BatchOptions> = {
  batchSize: size,
  shuffle: boolean,
  sampler: samplerRule,
  augment: augmentRule,
  seed: seedRule,
  epoch: size,
  dropLast: boolean,
  loaderThreads: loaderThreadsRule,
};
const indexRule = integer(0, 2 ** 32 - 1);
const splitRules: Rules<SplitOptions> = { fraction: number(1e-6, 1 - 1e-6), stratified: boolean, seed: seedRule };

/** Images with their labels, in memory or in files; see {@link fromArrays}, {@link imageFolder} and {@link fashionMnist}. */
export class Dataset {
  readonly #native: NativeDataset;

  /** @internal */
  constructor(native: NativeDataset) {
    this.#native = check("Dataset", native, nativeRule);
  }

  static {
    datasetRule = made("a data set such as fromArrays(…) makes", (value) => #native in value);
    nativeDataOf = (data, parameter = "data") => check(parameter, data, datasetRule).#native;
  }

  /** @internal */
  [inspect.custom](): string {
    nativeDataOf(this, "this");
    return `Dataset(${this.length} images of ${this.imageShape.join("×")}, ${this.numClasses} classes)`;
  }

  /** Number of samples. */
  get length(): number {
    return nativeDataOf(this, "this").length;
  }

  /** Channels, height and width of an image. */
  get imageShape(): readonly number[] {
    return nativeDataOf(this, "this").imageShape;
  }

  /** Number of classes; labels are below it. */
  get numClasses(): number {
    return nativeDataOf(this, "this").numClasses;
  }

  /** Names of the classes by label, if there are any. */
  get classNames(): readonly string[] | undefined {
    return nativeDataOf(this, "this").classNames ?? undefined;
  }

  /** A class for each sample: a `Uint32Array`; or the matrix (samples, classes) as a batch has it, where `labelKind` is `"multi"`. */
  get labels(): Uint32Array | Uint8Array {
    return nativeDataOf(this, "this").labels;
  }

  /** Whether samples are of one class each, or of any number. */
  get labelKind(): LabelKind {
    return nativeDataOf(this, "this").labelKind as LabelKind;
  }

  /**
   * What is done to a picture to become an image of this set: plain data, to be kept with a model and given to {@link preprocess}. There is
   * none of images that were given as numbers, or have other channels than 1 or 3.
   */
  get transform(): PictureTransform | undefined {
    return parseTransform(nativeDataOf(this, "this").transform);
  }

  /** The files that passes over this set have left out so far, where it was made with `onError: "skip"`. */
  get unreadable(): Unreadable {
    return nativeDataOf(this, "this").unreadable();
  }

  /**
   * The first `count` samples, or all if there are fewer; shares the images.
   * @throws `ERR_INVALID_ARGUMENT` if `count` is no integer of at least 1.
   */
  take(count: number): Dataset {
    const native = nativeDataOf(this, "this");
    check("count", count, size);
    return new Dataset(translated(() => native.take(count)));
  }

  /**
   * The samples at these places, in this order; one may come several times. Shares the images.
   * @throws `ERR_INVALID_ARGUMENT` if there is none, or a place is outside the set.
   */
  subset(indices: Numbers): Dataset {
    const native = nativeDataOf(this, "this");
    const places = checkNumbers("indices", indices);
    const wrong = places.findIndex((place: number) => !indexRule.accepts(place));
    if (wrong >= 0) check(`indices[${wrong}]`, places[wrong], indexRule);
    return new Dataset(translated(() => native.subset(Uint32Array.from(places))));
  }

  /**
   * Parts the samples at random, by default a fifth of each class for validation. Shares the images.
   *
   * @example
   * ```ts
   * const { train, validation } = data.split({ fraction: 0.1 });
   * ```
   * @throws `ERR_INVALID_ARGUMENT` if a part would be empty.
   */
  split(options?: SplitOptions): Splits {
    const native = nativeDataOf(this, "this");
    const { fraction = 0.2, stratified = true, seed = 0 } = checkOptions(options, splitRules);
    const { train, validation } = translated(() => native.split(fraction, stratified, seed));
    const parts = { train: new Dataset(train), validation: new Dataset(validation!) };
    splitOf.set(parts.train, { fraction, stratified, seed });
    return parts;
  }

  /**
   * The samples of this set and then those of others, whose images have the same shape and whose classes are the same.
   * @throws `ERR_SHAPE` if shapes differ, `ERR_INVALID_ARGUMENT` if classes do.
   */
  concat(...others: readonly Dataset[]): Dataset {
    const parts = [nativeDataOf(this, "this"), ...others.map((other, i) => nativeDataOf(other, `others[${i}]`))];
    return new Dataset(translated(() => addon.NativeDataset.concat(parts)));
  }

  /**
   * A weight for each class, in proportion to 1 over its frequency to a power (default 1), such that the mean over all samples is 1: for
   * the option `classWeights` of {@link fit}. A class without samples has 0.
   * @throws `ERR_INVALID_ARGUMENT` if samples are of any number of classes.
   */
  classWeights(options?: { power?: number }): number[] {
    const native = nativeDataOf(this, "this");
    const { power = 1 } = checkOptions(options, { power: number(0, 10) });
    return translated(() => native.classWeights(power));
  }

  /**
   * The same samples, normalised in this way when a batch is made, instead of in another.
   * @throws `ERR_INVALID_ARGUMENT` if there is not one mean and deviation for each channel.
   */
  normalised(normalise: Normalise): Dataset {
    const native = nativeDataOf(this, "this");
    const { mean, std } = check("normalise", normalise, normaliseRule);
    return new Dataset(translated(() => native.normalised({ mean: [...mean], std: [...std] })));
  }

  /**
   * Mean and standard deviation of each channel over all pixels of all images, before they are normalised.
   *
   * Rejects with `ERR_DATA_CORRUPT` or `ERR_IO` if a picture cannot be read.
   */
  async measure(options?: SignalOptions): Promise<Normalise> {
    const native = nativeDataOf(this, "this");
    const { signal } = checkOptions(options, signalRules);
    return cancellable(signal, (flag) => native.measure(flag));
  }

  /**
   * Goes through the samples once, batch by batch. A thread prepares them, from the first one asked for until the iteration is left.
   *
   * @example
   * ```ts
   * for await (const { images, labels } of data.validation.batches({ batchSize: 32 })) {
   *   console.log(model.accuracy(await model.predict(images), labels));
   * }
   * ```
   * @throws `ERR_INVALID_ARGUMENT` for options that cannot be.
   */
  batches(options?: BatchOptions): AsyncGenerator<Batch, void, void> {
    const native = nativeDataOf(this, "this");
    const settings = batchSettings(checkOptions(options, batchRules));
    return drain(translated(() => native.batches(settings)));
  }
}

/** A pass as the addon reads it. */
export function batchSettings(options: BatchOptions) {
  const { batchSize = 128, shuffle = false, sampler, seed = 0, epoch = 1, dropLast = false, loaderThreads } = options;
  const augment = JSON.stringify(describeAugment(options.augment ?? []));
  return { batchSize, shuffle, balance: sampler?.power, dropLast, augment, seed, epoch, loaderThreads };
}

/** The batches of a pass, whose thread begins with the first one and ends when the iteration is left. */
async function* drain(batches: NativeBatches): AsyncGenerator<Batch, void, void> {
  try {
    for (;;) {
      const batch = await cancellable(undefined, () => batches.next());
      if (!batch) return;
      yield batch;
    }
  } finally {
    batches.close();
  }
}
