import { inspect } from "node:util";
import { addon, type NativeBatches, type NativeDataset } from "./binding.js";
import { translated } from "./errors.js";
import { boolean, check, checkOptions, instance, made, type Rule, type Rules, seed as seedRule, size } from "./options.js";
import { cancellable } from "./signal.js";
import type { Tensor } from "./tensor.js";

/** Some images (N, C, H, W) with a label each. */
export interface Batch {
  /** Pixels, scaled to [0, 1] if they are bytes. */
  readonly images: Tensor;
  /** A class for each image, counting from 0. */
  readonly labels: Uint32Array;
}

/** Options of {@link Dataset.batches}. */
export interface BatchOptions {
  /** Samples of a batch, default 128; the last one may have fewer. */
  batchSize?: number;
  /** Whether samples come in a random order, default false. */
  shuffle?: boolean;
  /** Seed of that order, default 0. */
  seed?: number;
  /** Whether a last batch that is not full is left out, default false. */
  dropLast?: boolean;
}

/** The addon's handle of a data set. Throws if it is none. */
export let nativeDataOf: (data: Dataset, parameter?: string) => NativeDataset;
/** The rule for a parameter that is a data set. */
export let datasetRule: Rule<Dataset>;

const nativeRule = instance<NativeDataset>("a call of fromArrays or fashionMnist, which make data sets", addon.NativeDataset);

const batchRules: Rules<BatchOptions> = { batchSize: size, shuffle: boolean, seed: seedRule, dropLast: boolean };

/** Images with their labels, in memory; see {@link fromArrays} and {@link fashionMnist}. */
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
    const { batchSize = 128, shuffle = false, seed = 0, dropLast = false } = checkOptions(options, batchRules);
    const order = shuffle ? seed : undefined;
    return drain(translated(() => native.batches({ batchSize, shuffle: order, dropLast })));
  }
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
