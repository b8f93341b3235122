import { stat } from "node:fs/promises";
import { type DownloadProgress, type FashionMnist, fashionMnist, ResNetError } from "../index.js";
import { Failure, Misuse } from "./failure.js";
import { flag, text, type Values, whole } from "./option.js";
import type { Screen } from "./screen.js";

/** Height and width that images have unless told otherwise: the chapter's. */
export const SIZE = 96;

/** The option for the size of images. */
export const sizeOption = { size: whole("height and width of the images", SIZE, 1, 1024) };

/** Options of where Fashion-MNIST comes from. */
export const imageOptions = {
  ...sizeOption,
  data: text("folder of Fashion-MNIST's four files; by default several are looked at", "FOLDER", undefined, "a folder"),
  sample: flag("takes the 4,096 + 1,024 images that come with this package"),
  noDownload: flag("never downloads the files, 31 MB, where they are nowhere on this machine"),
};

/** Loads Fashion-MNIST, and shows a download. */
export async function loadImages(
  { size, data, sample, noDownload }: Values<typeof imageOptions>,
  { status }: Screen,
  signal?: AbortSignal,
): Promise<FashionMnist> {
  if (data !== undefined && sample) throw new Misuse("--sample: expected without --data, got both");
  if (data !== undefined && !(await stat(data).catch(() => undefined))?.isDirectory()) {
    const message = `--data: expected a folder with Fashion-MNIST's files, got ${data}, which is none`;
    throw new Failure("ERR_DATA_NOT_FOUND", `${message}; --sample needs no files`);
  }
  const onProgress = ({ file, received, total }: DownloadProgress) => {
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
    if (received === total) status.note(`Downloaded ${file}, ${megabytes(total)} MB`);
    else status.show(`Downloading ${file}  ${megabytes(received)} of ${megabytes(total)} MB`);
  };
  try {
    const source = sample ? "sample" : "full";
    return await fashionMnist({ root: data, source, download: !noDownload, resize: size, signal, onProgress });
  } catch (error) {
    if (!(error instanceof ResNetError) || error.code !== "ERR_DATA_NOT_FOUND") throw error;
    throw new Failure(error.code, notFound(error.message));
  }
}

/** The library's message in the words of the command line, on one line: its list of places comes first. */
function notFound(message: string): string {
  const places = message.split(/\nWays/, 1)[0]!.split("\n  - ").slice(1);
  const fix = "--sample takes the images that come with this package, --data FOLDER another folder";
  return `Fashion-MNIST: its four files are not in ${places.join(", ")}; ${fix}`;
}
