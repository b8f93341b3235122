import { access } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { addon } from "./binding.js";
import { Dataset } from "./data.js";
import { cacheFolder, download, type DownloadProgress, mirror } from "./download.js";
import { ResNetError } from "./errors.js";
import { boolean, callback, checkOptions, either, filePath, integer, list, oneOf, path, type Rules } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** Options of {@link fashionMnist}. */
export interface FashionMnistOptions extends SignalOptions {
  /** Folder that holds the four files; no other place is looked at then. */
  root?: string | URL;
  /** Height and width that images are brought to, as a pair or one number; by default they stay 28x28. */
  resize?: number | readonly [height: number, width: number];
  /** How: `"pil"` (default) rounds as Pillow does, `"float"` is PyTorch's `interpolate`. */
  interpolation?: "pil" | "float";
  /** `"full"` (default): 60,000 + 10,000 images. `"sample"`: the 4,096 + 1,024 of them that come with this package. */
  source?: "full" | "sample";
  /** Whether files that are nowhere are downloaded, default true. */
  download?: boolean;
  /** Called while files are downloaded. */
  onProgress?: (progress: DownloadProgress) => void;
}

/** Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017). */
export interface FashionMnist {
  /** For training: 60,000 images, or 4,096 in the sample. */
  readonly train: Dataset;
  /** For validation: 10,000 images, or 1,024 in the sample. */
  readonly validation: Dataset;
  /** The folder that it came from, or `"sample"`. */
  readonly source: string;
}

const side = integer(1, 16384);
const rules: Rules<FashionMnistOptions> = {
  ...signalRules,
  root: path,
  resize: either(side, list(side, "a pair [height, width] of such", 2)) as Rules<FashionMnistOptions>["resize"],
  interpolation: oneOf("pil", "float"),
  source: oneOf("full", "sample"),
  download: boolean,
  onProgress: callback as Rules<FashionMnistOptions>["onProgress"],
};

const SYSTEM = "/usr/share/datasets/fashion-mnist";

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
  const { root, resize, interpolation = "pil", source = "full", ...fetching } = checkOptions(options, rules);
  const sample = fileURLToPath(new URL("../data/fashion-mnist-sample", import.meta.url));
  const folder = source === "sample" ? sample : await locate(root, fetching);
  const [height, width] = typeof resize === "number" ? [resize, resize] : (resize ?? []);
  const size =
    height && width ? { size: [height, width] as [number, number], pil: interpolation === "pil" } : undefined;
  const splits = await cancellable(fetching.signal, () => addon.loadFashionMnist(folder, size));
  const [train, validation] = [new Dataset(splits.train), new Dataset(splits.validation)];
  return { train, validation, source: source === "sample" ? "sample" : folder };
}

async function locate(
  root: string | URL | undefined,
  { download: allowed = true, signal, onProgress }: FashionMnistOptions,
): Promise<string> {
  const below = (folder: string) => [folder, join(folder, "fashion-mnist"), join(folder, "FashionMNIST", "raw")];
  const environment = process.env["RESNET_NATIVE_DATA"];
  const cache = cacheFolder();
  const places = root ? below(filePath("root", root)) : [...(environment ? below(environment) : []), cache, SYSTEM];
  for (const place of places) if (await isComplete(place)) return place;
  if (root || !allowed) throw notFound(places, []);
  try {
    return await download(cache, signal, onProgress);
  } catch (cause) {
    signal?.throwIfAborted();
    throw notFound(places, [`${mirror()} (${(cause as Error).message})`], cause);
  }
}

/** Whether a folder has the four files, packed or not. */
async function isComplete(folder: string): Promise<boolean> {
  const there = (name: string) =>
    access(join(folder, name)).then(
      () => true,
      () => false,
    );
  const files = addon
    .fashionMnistFiles()
    .map(async ({ name }) => (await there(name)) || there(name.replace(/\.gz$/, "")));
  return (await Promise.all(files)).every(Boolean);
}

function notFound(places: readonly string[], downloads: readonly string[], cause?: unknown): ResNetError {
  const files = addon.fashionMnistFiles().map(({ name }) => name);
  const message = `fashionMnist: expected the files ${files.join(", ")} in one of these places, got none:
${[...places, ...downloads].map((place) => `  - ${place}`).join("\n")}
Ways to get them:
  - Debian, Ubuntu: apt-get install dataset-fashion-mnist
  - download them from ${mirror()}
  - give their folder as the option root, or in the environment variable RESNET_NATIVE_DATA
  - use the option source: "sample", the few thousand images that come with this package`;
  return new ResNetError("ERR_DATA_NOT_FOUND", message, { cause });
}
