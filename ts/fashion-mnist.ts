import { access } from "node:fs/promises";
import { join } from "node:path";
import { addon } from "./binding.js";
import { cacheFolder, download, type DownloadProgress, mirror } from "./download.js";
import { ResNetError } from "./errors.js";
import { filePath } from "./options.js";
import type { SignalOptions } from "./signal.js";

/** Where Debian's package puts the files. */
const SYSTEM = "/usr/share/datasets/fashion-mnist";

/** Whether and how files that are nowhere are downloaded. */
interface Fetching extends SignalOptions {
  download?: boolean;
  onProgress?: (progress: DownloadProgress) => void;
}

/** The folder that has the four files: one at or below `root`, if that is given, or else the first of the known places. */
export async function locate(
  root: string | URL | undefined,
  { download: allowed = true, signal, onProgress }: Fetching,
): Promise<string> {
  const below = (folder: string) => [folder, join(folder, "fashion-mnist"), join(folder, "FashionMNIST", "raw")];
  const environment = process.env["RESNET_NATIVE_DATA"];
  const cache = cacheFolder();
  const places = root ? below(filePath("root", root)) : [...(environment ? below(environment) : []), cache, SYSTEM];
  for (const place of places) if (await isComplete(place)) return place;
  signal?.throwIfAborted();
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
