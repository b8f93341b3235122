import { type Dataset, nativeDataOf } from "./data.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** What {@link quantize} did. */
export interface Quantization {
  /** Convolutions that multiply bytes from now on. */
  readonly convolutions: number;
  /** Images by which their inputs were measured. */
  readonly images: number;
}

/**
 * Quantises a model that has been trained: inference multiplies bytes, where the processor has instructions for that
 * (`deviceInfo().cpu.int8`), and files of it are a quarter as long. Weights of convolutions are rounded to 255 steps for each output, and
 * what the input of each lies between is measured on up to `images` (default 512) of the data, drawn at random: a part of those it was
 * trained on will do. Convolutions with groups, one that reads images of up to four channels, and linear layers are left as they are. On
 * other processors and GPUs it computes in f32 with the rounded weights. An input beyond what was measured is taken for the end of it.
 *
 * It changes the model, which can be saved and moved, but not trained any more: save it before, or keep the file it came from.
 *
 * @example
 * ```ts
 * await model.save("pets.safetensors");
 * await quantize(model, data.train);
 * await model.save("pets-int8.safetensors");
 * ```
 *
 * Rejects with `ERR_SHAPE` if the data do not fit the network, `ERR_INVALID_ARGUMENT` if it is quantised or has no such convolution,
 * `ERR_NON_FINITE_LOSS` if an input is not finite, `ERR_BUSY` during a fit, and with the signal's reason; the model is as it was then.
 *
 * (Jacob et al., 2017: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
 * https://arxiv.org/abs/1712.05877.)
 */
export async function quantize(model: Model, data: Dataset, options?: SignalOptions & { images?: number }): Promise<Quantization> {
  const { images = 512, signal } = checkOptions(options, { ...signalRules, images: size });
  const native = nativeOf(model);
  const samples = nativeDataOf(data);
  return cancellable(signal, (flag) => native.quantize(samples, images, flag));
}
