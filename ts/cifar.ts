import { stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, CIFAR_10, CIFAR_100, download, mirror } from "./download.js";
import { ResNetError } from "./errors.js";
import type { Fetching } from "./fashion-mnist.js";
import { filePath } from "./options.js";

/** Which of the two, with the folder in its archive and a file that tells it from others. */
const KINDS = {
  cifar10: { published: CIFAR_10, folder: "cifar-10-batches-bin", sign: "test_batch.bin" },
  cifar100: { published: CIFAR_100, folder: "cifar-100-binary", sign: "test.bin" },
};

/** The folder of the binary files or the archive of them: at or below `root`, if that is given, or else in the first of the known places. */
export async function locateCifar(
  kind: keyof typeof KINDS,
  root: string | URL | undefined,
  { download: allowed = true, signal, onProgress }: Fetching,
): Promise<string> {
  const { published, folder, sign } = KINDS[kind];
  const archive = published.files[0]!.name;
  const [environment, cache] = [process.env["RESNET_NATIVE_DATA"], cacheFolder(published)];
  const places = root ? [filePath("root", root)] : [environment, cache].filter((place) => place !== undefined && place !== "");
  for (const place of places as readonly string[]) {
    if (await isFile(place)) return place;
    for (const inner of [place, join(place, folder)]) if (await isFile(join(inner, sign))) return inner;
    if (await isFile(join(place, archive))) return join(place, archive);
  }
  signal?.throwIfAborted();
  const looked = [...places];
  let cause: unknown;
  if (!root && allowed && cache) {
    try {
      return join(await download(cache, signal, onProgress, published.files, mirror(published)), archive);
    } catch (error) {
      signal?.throwIfAborted();
      cause = error;
      looked.push(`${mirror(published)} (${(error as Error).message})`);
    }
  }
  const message = `${kind}: expected ${archive} or its folder ${folder} in one of these places, got neither:
${looked.map((place) => `  - ${place}`).join("\n")}
Ways to get it:
  - download ${mirror(published)}${archive}
  - give it or its folder as the option root, or its folder in the environment variable RESNET_NATIVE_DATA`;
  throw new ResNetError("ERR_DATA_NOT_FOUND", message, { cause });
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then((found) => found.isFile(), () => false);
}
