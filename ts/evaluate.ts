import { type Dataset, nativeDataOf } from "./data.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import type { Metrics } from "./trainer.js";

/**
 * Mean loss and accuracy over a data set, in batches of `batchSize` (default 128).
 *
 * Rejects with `ERR_SHAPE` or `ERR_LABEL` if the data do not fit the network. A loss that is NaN or infinite is told, see {@link ErrorCode}.
 */
export async function evaluate(
  model: Model,
  data: Dataset,
  options?: SignalOptions & { batchSize?: number },
): Promise<Metrics> {
  const { batchSize = 128, signal } = checkOptions(options, { ...signalRules, batchSize: size });
  const native = nativeOf(model);
  const samples = nativeDataOf(data);
  return cancellable(signal, (flag) => native.evaluate(samples, batchSize, flag));
}
