import type { History } from "./history.js";

/** What went wrong, for a program to tell; these strings stay as they are. */
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
  | "ERR_IO"
  | "ERR_NO_THREAD"
  | "ERR_NON_FINITE_LOSS"
  | "ERR_NON_FINITE_WEIGHTS"
  | "ERR_ABORTED"
  | "ERR_DISPOSED"
  | "ERR_DEVICE"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_INTERNAL"
  | "ERR_ADDON";

/** Every error that this package raises. The message names the parameter, what was expected and what was given. */
export class ResNetError extends Error {
  /** What went wrong, for a program to tell. */
  readonly code: ErrorCode;
  /** The epochs that a training run had ended when it failed. */
  declare readonly history?: History;

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
