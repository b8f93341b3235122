import { type Dataset, datasetRule } from "./data.js";
import { check, checkNames, object, properties } from "./options.js";

/**
 * A training set, with a validation set if there is one. Without one, properties of other names are refused, so that a `val` does not go
 * unnoticed; but for `source` and `skipped`, which our sources add.
 */
export interface TrainingData {
  /** The samples that updates are made on. */
  readonly train: Dataset;
  /** The samples that loss and accuracy are measured on after each epoch, or as `validateEvery` says; by default there are none. */
  readonly validation?: Dataset;
}

const NAMES = ["train", "validation"];
/** What sources tell beside their sets. */
const TOLD = ["source", "skipped"];

/** The sets of a training. */
export function partsOf(data: Dataset | TrainingData): Partial<TrainingData> {
  if (datasetRule.accepts(data)) return { train: data as Dataset };
  const expected = `${datasetRule.expected}, or { ${NAMES.join(", ")} } of such`;
  const parts = properties("data", expected, check("data", data, { ...object, expected }) as TrainingData, NAMES);
  // Beside a validation set nothing can have been meant for one.
  if (parts.train !== undefined && parts.validation === undefined) checkNames("data", data, `sets named ${NAMES.join(" and ")}`, [...NAMES, ...TOLD]);
  return parts;
}
