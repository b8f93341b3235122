import { getSystemErrorMap } from "node:util";

/**
 * What went wrong, for a program to tell; these strings stay as they are.
 *
 * **Numbers that are not finite.** NaN and infinity are refused where they come in for good and noticed in the step that makes them,
 * alike on CPUs and GPUs:
 *
 * | where | what becomes of them |
 * |---|---|
 * | options such as rates, momentum, decay and eps | `ERR_INVALID_ARGUMENT`, as for numbers beyond f32 |
 * | pixels of {@link fromArrays} | `ERR_INVALID_ARGUMENT` tells the place |
 * | values of a {@link tensor} | they stay; `forward` and `predict` give what arithmetic makes of them, a step the next row |
 * | the loss of a step | `ERR_NON_FINITE_LOSS`, of {@link fit} with epoch and step; the step changes nothing |
 * | gradients, updates, running statistics | `ERR_NON_FINITE_WEIGHTS` names the first parameter or statistic that became so, of {@link fit} with epoch and step. **These weights are lost**: every later step and `save` say so too, until `loadWeights` brings others. A GPU tells with the next step, at the latest at the epoch's end |
 * | the validation loss of an epoch | `ERR_NON_FINITE_LOSS` tells the epoch, and `onEpochEnd` is not called; the weights are those of the last step |
 * | so events and the {@link History} | have finite numbers only |
 * | weights in a file, also if they are beyond f32 | `ERR_NON_FINITE_WEIGHTS` names the tensor; the model stays as it was |
 * | `save` of such weights | `ERR_NON_FINITE_WEIGHTS` names the tensor; the file that is there stays as it was |
 * | logits | wherever accuracy is told, a sample is right if its largest logit stands at the label: infinity is the largest, of equal ones the first counts, and **a sample with a NaN is never right**. With a NaN, or infinity as the largest, its loss is NaN; with minus infinity at the label it is infinite. Of samples of any number of classes a NaN is taken for none, and its decision is never right |
 * | {@link evaluate} | tells the loss that it finds, NaN or infinite too, which the command line's JSON has as `null` |
 * | {@link plot} | leaves a gap |
 */
export type ErrorCode =
  | "ERR_INVALID_ARGUMENT"
  | "ERR_SHAPE"
  | "ERR_LABEL"
  | "ERR_NOT_BUILT"
  | "ERR_BUSY"
  | "ERR_DATA_NOT_FOUND"
  | "ERR_DATA_CORRUPT"
  | "ERR_STATE_DICT"
  | "ERR_MODEL_FILE"
  | "ERR_CHECKPOINT"
  | "ERR_IO"
  | "ERR_NO_THREAD"
  | "ERR_NON_FINITE_LOSS"
  | "ERR_NON_FINITE_WEIGHTS"
  | "ERR_ABORTED"
  | "ERR_DISPOSED"
  | "ERR_DEVICE"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_DISTRIBUTED"
  | "ERR_INTERNAL"
  | "ERR_ADDON";

/** Every error that this package raises. The message names the parameter, what was expected and what was given. */
export class ResNetError extends Error {
  /** What went wrong, for a program to tell. */
  readonly code: ErrorCode;

  /** @internal */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  static {
    Object.defineProperty(this.prototype, "name", { value: "ResNetError", configurable: true, writable: true });
  }
}

/** The error of a call to a model that has been disposed of. */
export function disposed(): ResNetError {
  return new ResNetError("ERR_DISPOSED", "model: expected one in use, got one that was disposed of");
}

/** The addon's errors come as `CODE: message`. */
export function translate(error: unknown): unknown {
  const [, code, message] = (error instanceof Error && /^(ERR_[A-Z_]+): (.*)$/s.exec(error.message)) || [];
  return code === undefined ? error : new ResNetError(code as ErrorCode, message ?? "");
}

/** Runs a synchronous call of the addon. */
export function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw translate(error);
  }
}

/** What the system says of a call that failed, without Node's code, call and paths, which name temporary files. */
export function systemReason(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message;
}
