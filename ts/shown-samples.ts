import type { Augmentation } from "./augmentation.js";
import type { CourseOptions } from "./course.js";
import type { BatchOptions, Dataset } from "./data.js";
import { labelsOf } from "./mistakes.js";
import { type Model, nativeOf } from "./models.js";
import type { Missing, Samples } from "./report/findings.js";
import { shownImages, unshowable } from "./shown-pictures.js";

/** Images that are shown at most. */
const SAMPLES = 12;

/** What of a run's options says which images a step takes, and what it makes of them. */
export interface SampleSettings extends Pick<BatchOptions, "seed" | "shuffle" | "sampler">, Pick<CourseOptions, "overfitBatches"> {
  readonly augment?: readonly Augmentation[];
  readonly batchSize?: number;
}

/** The first images of an epoch as its first step sees them, each with the names of its classes or what was mixed, or why there are none. */
export async function shownSamples(model: Model, train: Dataset, settings: SampleSettings, epoch: number, signal?: AbortSignal): Promise<Samples | Missing> {
  const impossible = unshowable(train);
  if (impossible) return impossible;
  // What is mixed with what depends on the whole batch.
  const { augment = [], batchSize = 128, overfitBatches, shuffle = true, sampler } = settings;
  const order = overfitBatches === undefined ? { shuffle, sampler } : { shuffle: false };
  const seed = settings.seed ?? (await nativeOf(model).seed());
  const names = train.classNames ?? [];
  const named = (labels: number[]) => labels.map((label) => names[label] ?? String(label)).join(", ") || "none";
  for await (const { images, indices, labels, mixed } of train.batches({ batchSize, ...order, augment, seed, epoch, loaderThreads: 1 })) {
    const [count, ...shape] = [Math.min(indices.length, SAMPLES), ...images.shape.slice(1)];
    const data = images.data.subarray(0, count * (images.data.length / indices.length));
    const pictures = await shownImages({ data, shape: [count, ...shape] }, train, { signal });
    const told = (i: number) => {
      const own = named(labelsOf({ labels, indices }, i));
      return mixed ? `${mixed.share.toFixed(2)} ${own}, ${(1 - mixed.share).toFixed(2)} ${named(labelsOf({ labels: mixed.labels, indices }, i))}` : own;
    };
    return { samples: pictures.map(({ picture }, i) => ({ picture, told: told(i) })), by: augment.map(({ name }) => name) };
  }
  return { samples: [], by: [] };
}
