import { type Dataset, nativeDataOf } from "./data.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** What {@link quantize} did. */
export interface Quantization {
  /** Convolutions whose weights were rounded, and whose inputs were measured. */
  readonly convolutions: number;
  /** Images by which their inputs were measured. */
  readonly images: number;
}

/**
 * Quantises a model that has been trained: inference multiplies bytes, where the processor has instructions for that
 * (`deviceInfo().cpu.int8`), and files of it are about a quarter as long. Weights of convolutions are rounded to 255 steps for each output, and
 * what the input of each lies between is measured on up to `images` (default 512) of the data, drawn at random, the same ones each time: a
 * part of those it was trained on will do. Convolutions with groups, a first one that alone reads images of up to four channels, and linear layers are
 * left as they are. With `strict`, on other processors, and on GPUs it computes in f32 with the rounded weights, as `exportOnnx` writes them. An input
 * beyond what was measured is taken for the end of it, and images must be finite. Single pictures and 1x1 convolutions gain most; large batches of
 * 3x3 convolutions may be slower than in f32, where Winograd's kernels save products.
 *
 * It changes the model (`model.quantized`), which can be saved and moved, but not trained any more: save it before, or keep the file it came from.
 *
 * @example
 * ```ts
 * await model.save("pets.safetensors");
 * await quantize(model, data.train);
 * await model.save("pets-int8.safetensors");
 * ```
 *
 * Rejects with `ERR_SHAPE` if the data do not fit the network, `ERR_INVALID_ARGUMENT` if it is quantised or has no such
 * convolution, `ERR_NON_FINITE_WEIGHTS` or `ERR_NON_FINITE_LOSS` if weights or what a convolution reads are not finite, `ERR_DATA_CORRUPT` if a
 * picture cannot be read, `ERR_BUSY` during a fit, and with the signal's reason; its weights are as they were then.
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
