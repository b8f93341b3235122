import type { Dataset } from "./data.js";
import type { Model } from "./models.js";

/** The name of a model's JavaScript class, if the network has one of its own. */
export function classNameOf({ constructor: { name } }: Model): string | undefined {
  return name === "Network" ? undefined : name;
}

/** What stands above a page about a model: the network, and height and width of its images. */
export function titleOf(model: Model, { imageShape: [, ...sides] }: Dataset): string {
  return `${classNameOf(model) ?? "A network"} at ${sides.join(" × ")}`;
}
