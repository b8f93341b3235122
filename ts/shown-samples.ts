import type { BatchOptions, Dataset } from "./data.js";
import { labelsOf } from "./mistakes.js";
import type { ShownSample } from "./report/findings.js";
import { shownImages } from "./shown-pictures.js";
import type { SignalOptions } from "./signal.js";

/** The first batch of a pass over images for training, as a step sees it, each image with the names of its classes or what was mixed. */
export async function shownSamples(train: Dataset, pass: BatchOptions, { signal }: SignalOptions): Promise<ShownSample[]> {
  const names = train.classNames ?? [];
  for await (const { images, indices, labels, mixed } of train.batches(pass)) {
    const pictures = await shownImages(images, train, { signal });
    const named = (labels: Uint32Array | Uint8Array, i: number) => labelsOf({ labels, indices }, i).map((label) => names[label] ?? String(label)).join(", ") || "none";
    const told = (i: number) => {
      if (!mixed) return named(labels, i);
      return `${mixed.share.toFixed(2)} ${named(labels, i)}, ${(1 - mixed.share).toFixed(2)} ${named(mixed.labels, i)}`;
    };
    return pictures.map(({ picture }, i) => ({ picture, told: told(i) }));
  }
  return [];
}
