import type { Dataset } from "./data.js";
import type { Model } from "./models.js";

/** The name of a network's class, if it has one of its own. */
export function networkName({ constructor: { name } }: Model): string | undefined {
  return name === "Network" ? undefined : name;
}

/** What stands above a page about a model: the network, and height and width of its images. */
export function titleOf(model: Model, { imageShape: [, ...sides] }: Dataset): string {
  return `${networkName(model) ?? "A network"} at ${sides.join(" × ")}`;
}
