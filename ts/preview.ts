import { type BatchOptions, batchRules, batchSettings, type Dataset, nativeDataOf } from "./data.js";
import { checkOptions, filePath, path, unexpected } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { writeMade } from "./written-file.js";

/** Options of {@link previewBatch}: those of a pass, and where the picture goes. */
export interface PreviewOptions extends Omit<BatchOptions, "dropLast" | "loaderThreads">, SignalOptions {
  /** The PNG that is written; one that is there is replaced. */
  path: string | URL;
  /** Samples that are shown, default 32. */
  batchSize?: number;
}

const { dropLast: _, loaderThreads: __, ...passRules } = batchRules;

/**
 * Writes what a training step sees as a PNG: the first batch of a pass with these options, each image above the name of its class. Letters
 * beyond ASCII are spelt by their numbers, as `\u{e9}`.
 *
 * @example
 * ```ts
 * await previewBatch(data.train, { path: "batch.png", shuffle: true, augment: [flip(), trivialAugment()] });
 * ```
 *
 * Rejects with `ERR_IO` if the file cannot be written, `ERR_DATA_CORRUPT` if a picture cannot be read, `ERR_INVALID_ARGUMENT` for options
 * that cannot be.
 */
export async function previewBatch(data: Dataset, options: PreviewOptions): Promise<void> {
  const { path: to, signal, ...pass } = checkOptions(options, { ...signalRules, ...passRules, path });
  if (to === undefined) throw unexpected("path", path.expected, to);
  const file = filePath("path", to);
  const native = nativeDataOf(data);
  const settings = { batchSize: 32, ...pass };
  const names = (settings.augment ?? []).map(({ name }) => name);
  const shown = Math.min(settings.batchSize, data.length);
  const changed = names.length > 0 ? `changed by ${names.join(", ")}` : "unchanged";
  const title = `${shown} of ${data.length} training images as a step of epoch ${settings.epoch ?? 1} sees them, ${changed}`;
  await writeMade(file, async () => {
    const png = await cancellable(signal, () => native.preview(batchSettings(settings), title));
    signal?.throwIfAborted();
    return png;
  });
}
