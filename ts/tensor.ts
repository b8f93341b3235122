import type { NamedTensor } from "./binding.js";
import { ResNetError } from "./errors.js";
import { check, list, MAX_U32, shown, size, unexpected } from "./options.js";

/** Values with their shape, in row-major order; images are (N, C, H, W), logits (N, classes). */
export interface Tensor {
  /** The values. */
  readonly data: Float32Array;
  /** The sizes; their product is the number of values. */
  readonly shape: readonly number[];
}

/** Numbers, as an array or a typed array (a `Buffer` is one). */
export type Numbers =
  | readonly number[]
  | Uint8Array
  | Uint8ClampedArray
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

const shapeRule = list(size, "an array of integers of at least 1");

/**
 * Values with their shape. Bytes (`Uint8Array`, `Uint8ClampedArray`, `Buffer`) are taken for pixels and divided by 255.
 *
 * @example
 * ```ts
 * const image = tensor(new Float32Array(28 * 28), [1, 1, 28, 28]);
 * ```
 * @throws `ERR_SHAPE` if there are not as many values as the shape has.
 */
export function tensor(data: Numbers, shape: readonly number[]): Tensor {
  const values = checkNumbers("data", data);
  const floats = isBytes(values) ? fromBytes(values) : Float32Array.from(values);
  return checkTensor("tensor", { data: floats, shape: checkShape("shape", shape) });
}

/** Returns the tensor, if it is one. */
export function checkTensor(parameter: string, value: Tensor): Tensor {
  if (!(value?.data instanceof Float32Array)) {
    throw unexpected(parameter, "a tensor (see `tensor(data, shape)`)", value);
  }
  const count = checkShape(`${parameter}.shape`, value.shape).reduce((product, side) => product * side, 1);
  if (count !== value.data.length) {
    const got = `${value.data.length} for shape ${shown(value.shape)}`;
    throw new ResNetError("ERR_SHAPE", `${parameter}: expected ${count} values, got ${got}`);
  }
  return value;
}

/** Returns the shape, if it is one. */
export function checkShape(parameter: string, shape: readonly number[]): number[] {
  return [...check(parameter, shape, shapeRule)];
}

/** Returns numbers, if that is what they are. */
export function checkNumbers(parameter: string, values: Numbers): Numbers {
  const typed = ArrayBuffer.isView(values) && !(values instanceof DataView) && !isBigInts(values);
  if (!typed && !(Array.isArray(values) && values.every((value) => typeof value === "number"))) {
    throw unexpected(parameter, "an array or typed array of numbers", values);
  }
  return values;
}

/** Labels as the addon takes them. Whether they are classes is the addon's to say, which knows how many there are. */
export function checkLabels(parameter: string, labels: Numbers): Uint32Array {
  const values = checkNumbers(parameter, labels);
  // What is stored as an unsigned integer is one.
  if (isBytes(values) || values instanceof Uint16Array || values instanceof Uint32Array) return Uint32Array.from(values);
  const wrong = values.findIndex((label: number) => !(Number.isInteger(label) && label >= 0 && label <= MAX_U32));
  if (wrong >= 0) {
    throw new ResNetError(
      "ERR_LABEL",
      `${parameter}[${wrong}]: expected an integer of at least 0, got ${values[wrong]}`,
    );
  }
  return Uint32Array.from(values);
}

/** Whether values are bytes, and so pixels from 0 to 255. */
export function isBytes(values: unknown): values is Uint8Array | Uint8ClampedArray {
  return values instanceof Uint8Array || values instanceof Uint8ClampedArray;
}

/** Tensors by name, in the addon's order. */
export function toMap(tensors: readonly NamedTensor[]): Map<string, Tensor> {
  return new Map(tensors.map(({ name, tensor }) => [name, tensor]));
}

function isBigInts(values: ArrayBufferView): boolean {
  return values instanceof BigInt64Array || values instanceof BigUint64Array;
}

function fromBytes(bytes: Uint8Array | Uint8ClampedArray): Float32Array {
  const scaled = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) scaled[i] = bytes[i]! / 255;
  return scaled;
}
