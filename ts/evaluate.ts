import { type Dataset, datasetRule, nativeDataOf } from "./data.js";
import { type Model, modelRule, nativeOf } from "./models.js";
import { check, checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import type { Metrics } from "./trainer.js";

/**
 * Mean loss and accuracy over a data set, in batches of `batchSize` (default 128).
 *
 * Rejects with `ERR_SHAPE` or `ERR_LABEL` if the data do not fit the network.
 */
export async function evaluate(
  model: Model,
  data: Dataset,
  options?: SignalOptions & { batchSize?: number },
): Promise<Metrics> {
  const native = nativeOf(check("model", model, modelRule));
  const samples = nativeDataOf(check("data", data, datasetRule));
  const { batchSize = 128, signal } = checkOptions(options, { ...signalRules, batchSize: size });
  return cancellable(signal, (flag) => native.evaluate(samples, batchSize, flag));
}
