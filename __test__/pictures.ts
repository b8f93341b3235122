import { createHash } from "node:crypto";
import { type Batch, type BatchOptions, type Dataset, fromArrays, type Model } from "resnet-native";

/** Bright spots: each class has its place. Small enough to train on in no time. */
export function pictures(count: number, { classes = 4, side = 16, channels = 1 } = {}): Dataset {
  const images = new Uint8Array(count * channels * side * side);
  const labels = Array.from({ length: count }, (_, i) => i % classes);
  for (const [i, label] of labels.entries()) {
    for (let pixel = 0; pixel < channels * side * side; pixel++) {
      const spot = Math.floor((pixel * classes) / (channels * side * side)) === label;
      images[i * channels * side * side + pixel] = ((i * 31 + pixel * 17) % 64) + (spot ? 128 : 0);
    }
  }
  return fromArrays({ images, shape: [count, channels, side, side], labels });
}

/** All batches of a pass. */
export async function collect(data: Dataset, options?: BatchOptions): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of data.batches(options)) batches.push(batch);
  return batches;
}

/** The SHA-256 of all weights and running statistics. */
export async function digest(model: Model): Promise<string> {
  const hash = createHash("sha256");
  for (const [name, { data }] of await model.stateDict()) {
    hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}

/** What a caller without types may give. */
export const any = (value: unknown) => value as never;

/** A promise's rejection. */
export async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error("expected a rejection", { cause: value });
    },
    (error: unknown) => error,
  );
}
