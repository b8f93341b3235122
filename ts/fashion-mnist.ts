import { stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, download, type DownloadProgress, FILES, hasFile, mirror } from "./download.js";
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
  const places = root
    ? below(filePath("root", root))
    : [...(environment ? below(environment) : []), ...(cache ? [cache] : []), SYSTEM];
  for (const place of places) if ((await lacking(place)).length === 0) return place;
  signal?.throwIfAborted();
  if (root || !allowed) throw await notFound(places, []);
  if (!cache) throw await notFound(places, ["the user's cache, for which there is no home folder, so that nothing was downloaded"]);
  try {
    return await download(cache, signal, onProgress);
  } catch (cause) {
    signal?.throwIfAborted();
    // Why there is no connection is told by the cause of what fetch throws.
    const { message, cause: deeper } = cause as Error & { cause?: { code?: string } };
    throw await notFound(places, [`${mirror()} (${[message, deeper?.code].filter(Boolean).join(": ")})`], cause);
  }
}

/** Names of the files that a folder lacks. */
async function lacking(folder: string): Promise<string[]> {
  const there = await Promise.all(FILES.map(({ name }) => hasFile(folder, name)));
  return FILES.map(({ name }) => name).filter((_, i) => !there[i]);
}

async function notFound(places: readonly string[], downloads: readonly string[], cause?: unknown): Promise<ResNetError> {
  const lines = [...(await Promise.all(places.map(looked))), ...downloads];
  const message = `fashionMnist: expected the files ${FILES.map(({ name }) => `${name}.gz`).join(", ")} in one of these places, got none:
${lines.map((line) => `  - ${line}`).join("\n")}
Ways to get them:
  - Debian, Ubuntu: apt-get install dataset-fashion-mnist
  - download them from ${mirror()}
  - give their folder as the option root, or in the environment variable RESNET_NATIVE_DATA
  - use the option source: "sample", the few thousand images that come with this package`;
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
