import type { NativeMatrix } from "./binding.js";
import { ResNetError } from "./errors.js";
import { oneOf, properties, type Rule } from "./options.js";
import { checkLabels, checkNumbers, checkShape, isTensor, type Numbers } from "./tensor.js";

/** How many classes a sample may be of: one, or any number. */
export type LabelKind = "single" | "multi";

/** Which classes each sample is of. */
export interface LabelMatrix {
  /** 1 for the classes that a sample is of, else 0; row by row. */
  readonly data: Numbers;
  /** (N, classes). */
  readonly shape: readonly number[];
}

/** The rule for an option that is a kind of labels. */
export const labelKindRule: Rule<LabelKind> = oneOf("single", "multi");

/** A class for each sample, or a matrix, as the addon takes them. */
export function checkAnyLabels(parameter: string, labels: Numbers | LabelMatrix): Uint32Array | NativeMatrix {
  if (!isTensor(labels)) return checkLabels(parameter, labels as Numbers);
  const { data, shape } = properties(parameter, "labels", labels as LabelMatrix, ["data", "shape"]);
  const sizes = checkShape(`${parameter}.shape`, shape!);
  const [samples = 0, classes = 0] = sizes;
  if (sizes.length !== 2) throw new ResNetError("ERR_SHAPE", `${parameter}.shape: expected (N, classes), got [${sizes}]`);
  return checkMatrix(`${parameter}.data`, data!, samples, classes);
}

/** Rows of labels for so many samples, as many as there are values for. */
export function checkRows(parameter: string, labels: Numbers, samples: number): NativeMatrix {
  const { length } = checkNumbers(parameter, labels);
  if (length === 0 || length % samples !== 0) {
    throw new ResNetError("ERR_SHAPE", `${parameter}: expected (N, classes) values for ${samples} samples, got ${length}`);
  }
  return checkMatrix(parameter, labels, samples, length / samples);
}

function checkMatrix(parameter: string, labels: Numbers, samples: number, classes: number): NativeMatrix {
  const values = checkNumbers(parameter, labels);
  if (values.length !== samples * classes) {
    throw new ResNetError("ERR_SHAPE", `${parameter}: expected ${samples * classes} values, got ${values.length}`);
  }
  const wrong = values.findIndex((value: number) => value !== 0 && value !== 1);
  if (wrong >= 0) {
    const expected = "1 for a class that the sample is of, or 0";
    throw new ResNetError("ERR_LABEL", `${parameter}[${wrong}]: expected ${expected}, got ${values[wrong]}`);
  }
  return { data: Uint8Array.from(values), classes };
}
