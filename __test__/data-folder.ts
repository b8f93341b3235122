import { copyFile, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { colourFolder } from "./png.js";

const packed = fileURLToPath(new URL("../crates/resnet-core/tests/fixtures/torch_files/resnet18.pth.gz", import.meta.url));

/**
 * A folder for programs to run in, with what they take: a Fashion-MNIST of twelve images each, for RESNET_NATIVE_DATA; `pictures/` with three
 * classes of twenty; `parted/`, such pictures in `train` and `val`; `photo.jpg`, another one; `photos.csv`, which has some of them in several classes; torchvision's `resnet18.pth`.
 */
export async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  for (const [part, count] of [["train", 12], ["t10k", 12]] as const) {
    const images = new Uint8Array(16 + count * 784).map((_, i) => (i * 31) % 256);
    images.set([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28]);
    const labels = new Uint8Array(8 + count).map((_, i) => i % 10);
    labels.set([0, 0, 8, 1, 0, 0, 0, count]);
    await writeFile(join(folder, `${part}-images-idx3-ubyte`), images);
    await writeFile(join(folder, `${part}-labels-idx1-ubyte`), labels);
  }
  await writeFile(join(folder, "resnet18.pth"), gunzipSync(await readFile(packed)));
  const names = ["poppies", "leaves", "skies"];
  await colourFolder(join(folder, "pictures"), names, 20);
  for (const [part, count] of [["train", 8], ["val", 4]] as const) await colourFolder(join(folder, "parted", part), names, count);
  await copyFile(join(folder, "pictures", "skies", "7.png"), join(folder, "photo.jpg"));
  const rows = names.flatMap((name) => Array.from({ length: 20 }, (_, n) => `pictures/${name}/${n}.png,${n % 2 > 0 ? `${name}|odd` : name}`));
  await writeFile(join(folder, "photos.csv"), `path,label\n${rows.join("\n")}\n`);
  return folder;
}
