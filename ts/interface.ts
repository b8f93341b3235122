import { type LabelKind, labelKindRule } from "./labels.js";
import { check, classNamesRule, number, object, properties } from "./options.js";
import { checkTransform, type PictureTransform } from "./transform.js";

/** What pictures a model takes and what its outputs mean; it is kept in the model's file. */
export interface ModelInterface {
  /** What is done to a picture before the network sees it. */
  readonly transform?: PictureTransform | undefined;
  /** Names of the classes, in the order of the outputs; the last outputs may have none. */
  readonly classNames?: readonly string[] | undefined;
  /** Whether a picture is of one class, or of any number; one, unless it says otherwise. */
  readonly labelKind?: LabelKind | undefined;
  /** What logits are divided by before they become probabilities, above 0; default 1. See {@link calibrate}. */
  readonly temperature?: number | undefined;
}

const fields = ["transform", "classNames", "labelKind", "temperature"] as const;
const temperatureRule = number(1e-6, 1e6);

/** What the addon tells. */
export function parseInterface(json: string): ModelInterface & { readonly temperature: number } {
  const { transform, class_names: classNames, label_kind: labelKind, temperature } = JSON.parse(json) as Record<string, never>;
  return { transform, classNames, labelKind, temperature: temperature! };
}

/** The same as the addon reads it. */
export function describeInterface(given: ModelInterface): string {
  const { transform, classNames, labelKind, temperature = 1 } = properties("interface", object.expected, check("interface", given, object) as ModelInterface, fields);
  return JSON.stringify({
    transform: transform && checkTransform("interface.transform", transform),
    class_names: classNames && check("interface.classNames", classNames, classNamesRule),
    label_kind: labelKind && check("interface.labelKind", labelKind, labelKindRule),
    temperature: check("interface.temperature", temperature, temperatureRule),
  });
}
