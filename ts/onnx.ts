import type { NativeModel } from "./binding.js";
import { boolean, checkOptions, filePath, list, oneOf, type Rule, type Rules, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** Options of {@link Model.exportOnnx}. */
export interface ExportOnnxOptions extends SignalOptions {
  /**
   * (N, C, H, W), or (C, H, W): the network's images, whatever `input` is; by default those that the model takes (`transform`). Height and
   * width are fixed in the file. N counts with `dynamicBatch: false` alone.
   */
  shape?: readonly number[];
  /** Whether any number of images may go in at a time, default true; else N, or one. */
  dynamicBatch?: boolean;
  /**
   * Whether batch norms go into the convolutions before them, which makes the network faster and changes logits by rounding alone; default
   * true. Without, all parameters are in the file as they are in the state dict.
   */
  foldNorms?: boolean;
  /**
   * What goes in, under the name `images`; default `"normalised"`. All but that want a model that knows its `transform`.
   *
   * | | type | shape | values |
   * |---|---|---|---|
   * | `"normalised"` | float32 | (N, C, H, W) | what `predict` takes |
   * | `"unit"` | float32 | (N, C, H, W) | from 0 to 1; mean and deviation are in the file |
   * | `"bytes"` | uint8 | (N, H, W, C) | from 0 to 255, as sharp and Pillow give them; likewise |
   * | `"rgba"` | uint8 | (N, H, W, 4) | as a canvas gives them; likewise. Alpha does not count. A network of grey images gets Pillow's grey |
   */
  input?: "normalised" | "unit" | "bytes" | "rgba";
  /**
   * Whether `probabilities` come out in place of `logits`, default false: what {@link Model.classify} tells. That is the softmax of the
   * logits over the model's temperature, or of a model whose `labelKind` is `"multi"` the sigmoid of each.
   */
  probabilities?: boolean;
  /**
   * How weights are kept and layers compute, default `"fp32"`. `"fp16"` halves the file, and costs what 10 bits of fraction cost: logits of
   * the named networks with random weights changed by up to 5e-3 of the largest, those of deep pre-activation networks by up to 7e-2
   * (`tools/onnx_peers.py`). What goes in and comes out, normalisation and probabilities stay float32.
   */
  precision?: "fp32" | "fp16";
}

/** A value that goes into a network in a file, or comes out. */
export interface OnnxPort {
  /** Its name. */
  readonly name: string;
  /** What it is made of. */
  readonly type: "float32" | "uint8";
  /** Its sizes; `"N"` may be any. */
  readonly shape: readonly (number | "N")[];
}

/** What {@link Model.exportOnnx} has written. */
export interface OnnxFile {
  /** What goes in: `images`. */
  readonly input: OnnxPort;
  /** What comes out: `logits` or `probabilities` (N, classes); `output` (N, C, H, W) of a network that ends with maps. */
  readonly output: OnnxPort;
  /** Bytes of the file. */
  readonly bytes: number;
}

const rules: Rules<ExportOnnxOptions> = {
  ...signalRules,
  shape: { ...list(size, "[N, C, H, W] or [C, H, W], integers of at least 1"), most: 4 } as Rule<readonly number[]>,
  dynamicBatch: boolean,
  foldNorms: boolean,
  input: oneOf("normalised", "unit", "bytes", "rgba"),
  probabilities: boolean,
  precision: oneOf("fp32", "fp16"),
};

/** See {@link Model.exportOnnx}. */
export async function exportWith(native: () => NativeModel, path: string | URL, options?: ExportOnnxOptions): Promise<OnnxFile> {
  const { signal, shape, ...given } = checkOptions(options, rules);
  const { dynamicBatch = true, foldNorms = true, input = "normalised", probabilities = false, precision = "fp32" } = given;
  const model = native();
  const file = filePath("path", path);
  const described = JSON.stringify({ shape, dynamic_batch: dynamicBatch, fold_norms: foldNorms, input, probabilities, precision });
  const written = await cancellable(signal, (flag) => model.exportOnnx(file, described, flag));
  const port = ({ name, element, shape }: typeof written.input): OnnxPort => {
    return { name, type: element as OnnxPort["type"], shape: shape.map((size) => (size < 0 ? "N" : size)) };
  };
  return { input: port(written.input), output: port(written.output), bytes: written.bytes };
}
