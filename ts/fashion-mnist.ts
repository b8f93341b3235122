import { stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, download, type DownloadProgress, FASHION_MNIST, FILES, hasFile, mirror, MNIST } from "./download.js";
import { ResNetError } from "./errors.js";
import { filePath } from "./options.js";
import type { SignalOptions } from "./signal.js";

/** What is looked for: a published set of four files, under these names of folders, and maybe in the system's. */
interface IdxSet {
  readonly title: string;
  readonly published: typeof FASHION_MNIST;
  readonly folders: readonly string[];
  /** Where a package of the system puts the files. */
  readonly system?: string;
  /** Ways to get the files that this set alone has. */
  readonly ways: readonly [first: readonly string[], last: readonly string[]];
}

export const FASHION: IdxSet = {
  title: "fashionMnist",
  published: FASHION_MNIST,
  folders: ["fashion-mnist", join("FashionMNIST", "raw")],
  system: "/usr/share/datasets/fashion-mnist",
  ways: [["Debian, Ubuntu: apt-get install dataset-fashion-mnist"], ['use the option source: "sample", the few thousand images that come with this package']],
};

export const DIGITS: IdxSet = {
  title: "mnist",
  published: MNIST,
  folders: ["mnist", join("MNIST", "raw")],
  ways: [[], []],
};

/** Whether and how files that are nowhere are downloaded. */
export interface Fetching extends SignalOptions {
  download?: boolean;
  onProgress?: (progress: DownloadProgress) => void;
}

/** The folder that has the four files: one at or below `root`, if that is given, or else the first of the known places. */
export async function locate(
  root: string | URL | undefined,
  { download: allowed = true, signal, onProgress }: Fetching,
  set: IdxSet = FASHION,
): Promise<string> {
  // What a folder that was named for all sets holds itself is Fashion-MNIST's, as MNIST's files have the same names.
  const below = (folder: string, itself: boolean) => [...(itself ? [folder] : []), ...set.folders.map((name) => join(folder, name))];
  const environment = process.env["RESNET_NATIVE_DATA"];
  const cache = cacheFolder(set.published);
  const places = root
    ? below(filePath("root", root), true)
    : [...(environment ? below(environment, set === FASHION) : []), ...(cache ? [cache] : []), ...(set.system ? [set.system] : [])];
  const notFound = (places: readonly string[], downloads: readonly string[], cause?: unknown) => missing(set, places, downloads, cause);
  const source = mirror(set.published);
  for (const place of places) if ((await lacking(place)).length === 0) return place;
  signal?.throwIfAborted();
  if (root || !allowed) throw await notFound(places, []);
  if (!cache) throw await notFound(places, ["the user's cache, for which there is no home folder, so that nothing was downloaded"]);
  try {
    return await download(cache, signal, onProgress, set.published.files, source);
  } catch (cause) {
    signal?.throwIfAborted();
    // Why there is no connection is told by the cause of what fetch throws.
    const { message, cause: deeper } = cause as Error & { cause?: { code?: string } };
    throw await notFound(places, [`${source} (${[message, deeper?.code].filter(Boolean).join(": ")})`], cause);
  }
}

/** Names of the files that a folder lacks. */
async function lacking(folder: string): Promise<string[]> {
  const there = await Promise.all(FILES.map(({ name }) => hasFile(folder, name)));
  return FILES.map(({ name }) => name).filter((_, i) => !there[i]);
}

async function missing({ title, published, ways: [first, last] }: IdxSet, places: readonly string[], downloads: readonly string[], cause?: unknown): Promise<ResNetError> {
  const lines = [...(await Promise.all(places.map(looked))), ...downloads];
  const ways = [
    ...first,
    `download them from ${mirror(published)}`,
    "give their folder as the option root, or in the environment variable RESNET_NATIVE_DATA",
    ...last,
  ];
  const list = (lines: readonly string[]) => lines.map((line) => `  - ${line}`).join("\n");
  const message = `${title}: expected the files ${FILES.map(({ name }) => `${name}.gz`).join(", ")} in one of these places, got none:
${list(lines)}
Ways to get them:
${list(ways)}`;
  return new ResNetError("ERR_DATA_NOT_FOUND", message, { cause });
}

/** A place, with what is nearly right in it. */
async function looked(folder: string): Promise<string> {
  const lacks = await lacking(folder);
  for (const name of lacks) {
    const dotted = name.replace("-idx", ".idx");
    if (await hasFile(folder, dotted)) return `${folder} (it has ${dotted}: the name must be ${name})`;
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found?.isDirectory()) return `${folder} (its ${name} is a folder, not a file)`;
  }
  return lacks.length < FILES.length ? `${folder} (it lacks ${lacks.join(", ")})` : folder;
}
