import { types } from "node:util";
import type { NamedTensor } from "./binding.js";
import { ResNetError } from "./errors.js";
import { check, f32, list, MAX_U32, properties, type Rule, shown, size, unexpected } from "./options.js";

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

const shapeRule = { ...list(size, "an array of integers of at least 1"), most: 64 };
const numbersRule: Rule<Numbers> = {
  expected: "an array or typed array of numbers",
  accepts(value) {
    if (Array.isArray(value)) return value.findIndex((item) => typeof item !== "number") < 0;
    // Without its buffer a typed array has no values and throws.
    return types.isTypedArray(value) && !isBigInts(value) && value.values() !== undefined;
  },
  // What is longer has holes.
  most: 2 ** 27,
};
/** The classes are one more than the largest label, and their number has 32 bits too. */
const MAX_LABEL = MAX_U32 - 1;

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
  const values = floats("data", checkNumbers("data", data));
  return checkTensor("tensor", { data: values, shape: checkShape("shape", shape) });
}

/** Returns data and shape of a tensor, if it is one. */
export function checkTensor(parameter: string, value: Tensor): { data: Float32Array; shape: number[] } {
  const expected = "a tensor (see `tensor(data, shape)`)";
  const { data, shape } = properties(parameter, expected, value, ["data", "shape"]);
  if (!types.isFloat32Array(data)) throw unexpected(parameter, expected, value);
  const sizes = checkShape(`${parameter}.shape`, shape!);
  const count = sizes.reduce((product, side) => product * side, 1);
  if (count !== data.length) {
    const got = `${data.length} for shape ${shown(sizes)}`;
    throw new ResNetError("ERR_SHAPE", `${parameter}: expected ${count} values, got ${got}`);
  }
  return { data, shape: sizes };
}

/** Whether a value has the form of a tensor; a look at a revoked proxy throws, and is no such form. */
export function isTensor(value: unknown): value is Tensor {
  try {
    return typeof value === "object" && value !== null && "data" in value && "shape" in value;
  } catch {
    return false;
  }
}

/** Returns the shape, if it is one. */
export function checkShape(parameter: string, shape: readonly number[]): number[] {
  return [...check(parameter, shape, shapeRule)];
}

/** Returns numbers, if that is what they are. */
export function checkNumbers(parameter: string, values: Numbers): Numbers {
  return check(parameter, values, numbersRule);
}

/** Labels as the addon takes them. Whether they are classes is the addon's to say, which knows how many there are. */
export function checkLabels(parameter: string, labels: Numbers): Uint32Array {
  const values = checkNumbers(parameter, labels);
  const wrong = values.findIndex((label: number) => !(Number.isInteger(label) && label >= 0 && label <= MAX_LABEL));
  if (wrong >= 0) {
    const expected = `an integer from 0 to ${MAX_LABEL}`;
    throw new ResNetError("ERR_LABEL", `${parameter}[${wrong}]: expected ${expected}, got ${values[wrong]}`);
  }
  return Uint32Array.from(values);
}

/** A copy as f32, bytes divided by 255. A finite number that f32 cannot hold is refused. */
export function floats(parameter: string, values: Numbers): Float32Array {
  if (isBytes(values)) return fromBytes(values);
  const copy = Float32Array.from(values);
  const lost = copy.findIndex((value, i) => !Number.isFinite(value) && Number.isFinite(values[i]));
  if (lost >= 0) check(`${parameter}[${lost}]`, values[lost], f32);
  return copy;
}

/** Whether values are bytes, and so pixels from 0 to 255. */
export function isBytes(values: unknown): values is Uint8Array | Uint8ClampedArray {
  return types.isUint8Array(values) || types.isUint8ClampedArray(values);
}

/** Tensors by name, in the addon's order. */
export function toMap(tensors: readonly NamedTensor[]): Map<string, Tensor> {
  return new Map(tensors.map(({ name, tensor }) => [name, tensor]));
}

function isBigInts(values: ArrayBufferView): boolean {
  return types.isBigInt64Array(values) || types.isBigUint64Array(values);
}

function fromBytes(bytes: Uint8Array | Uint8ClampedArray): Float32Array {
  const scaled = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) scaled[i] = bytes[i]! / 255;
  return scaled;
}
