import type { Description } from "../description.js";
import { architectureOf, classesOf } from "./architectures.js";
import { type Fields, type Header, isFields, OWN, shown } from "./config.js";

/**
 * What there is to tell of `config.json` beside weights whose own header describes them, and which it is not read for. Throws where it claims
 * another model of the same save; that of another save, as one leaves it that was killed between the two files, is told.
 */
export function notesOn(text: string, header: Header, described: (recipe: Description) => string): string[] {
  const config = parsed(text);
  if (!isFields(config)) throw new Error(`expected an object, got ${shown(config)}`);
  const saved = isFields(config["resnet_native"]) ? config["resnet_native"]["weights"] : undefined;
  if (saved !== undefined && saved !== header.resnet_native_sha256) {
    return ["config.json is of another save than model.safetensors, as where saving was killed; the model is that of model.safetensors, and saveFolder makes both anew"];
  }
  const { network, interface: known } = JSON.parse(header.resnet_native!) as { network: object; interface?: { class_names?: readonly string[] } };
  const description = JSON.stringify(network);
  const classes = classesOf(description);
  claims(config, "num_classes", classes);
  claims(config, "label_names", known?.class_names);
  // A table with more architectures may know one that was written as none.
  if (config["architecture"] !== OWN) claims(config, "architecture", architectureOf(description, classes, described)?.name ?? OWN);
  return [];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`expected JSON, got ${text === "" ? "an empty file" : `other text: ${(cause as Error).message}`}`, { cause });
  }
}

/** Refuses a field that says something else than the weights' header; one that is not there says nothing. */
function claims(config: Fields, field: string, expected: unknown): void {
  const claimed = config[field];
  if (claimed === undefined || claimed === null || JSON.stringify(claimed) === JSON.stringify(expected)) return;
  throw new Error(`${field}: expected ${expected === undefined ? "none" : shown(expected)}, as the header of model.safetensors has it, got ${shown(claimed)}`);
}
