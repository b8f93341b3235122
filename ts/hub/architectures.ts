import type { Description } from "../description.js";

/** A network of timm's, as it is made here. */
export interface Architecture {
  /** What timm calls it. */
  readonly name: string;
  /** What it is made of; classes come to it. */
  readonly recipe: Description;
  /** What the last linear layer reads. */
  readonly features: number;
  /** State-dict names of the first convolution and of the last linear layer. */
  readonly firstConv: string;
  readonly classifier: string;
  /** Whether timm reads what is written here; its resnetv2 has a convolution for a head, whose weights have another shape. */
  readonly isWritten: boolean;
}

const residual = (name: string, arch: unknown, settings: object = {}, isWide = true): Architecture => {
  const isDeep = "stem" in settings;
  const recipe = { type: "resnet", flavor: "torchvision", arch, ...settings };
  return { name, recipe, features: isWide ? 2048 : 512, firstConv: isDeep ? "conv1.0" : "conv1", classifier: "fc", isWritten: true };
};
const deep = { stem: "deep" };
const variantD = { stem: "deep", shortcut: "avgpool" };
const stages26 = [[2, 64], [2, 128], [2, 256], [2, 512]];
const stages200 = [[3, 64], [24, 128], [36, 256], [3, 512]];
const bottleneck = { block: "bottleneck" };

/** All that can be read. `tools/hub_fixture.py` holds names and shapes of their weights against timm's. */
export const ARCHITECTURES: readonly Architecture[] = [
  ...["resnet18", "resnet34"].flatMap((arch) => [residual(arch, arch, {}, false), residual(`${arch}d`, arch, variantD, false)]),
  ...["resnet50", "resnet101", "resnet152"].flatMap((arch) => [residual(arch, arch), residual(`${arch}c`, arch, deep), residual(`${arch}d`, arch, variantD)]),
  residual("resnet26", stages26, bottleneck),
  residual("resnet26d", stages26, { ...bottleneck, ...variantD }),
  residual("resnet200", stages200, bottleneck),
  residual("resnet200d", stages200, { ...bottleneck, ...variantD }),
  residual("resnext50_32x4d", "resnext50_32x4d"),
  residual("resnext50d_32x4d", "resnext50_32x4d", variantD),
  residual("resnext101_32x4d", "resnet101", { groups: 32, width_per_group: 4 }),
  ...["resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"].map((arch) => residual(arch, arch)),
  ...[18, 34, 50, 101, 152].map((depth) => ({
    ...residual(`resnetv2_${depth}`, `preactresnet${depth}`, {}, depth > 34),
    firstConv: "stem.conv",
    classifier: "head.fc",
    isWritten: false,
  })),
];

/** What a network's description says of what it computes: not how weights are drawn, and not what training leaves out. */
function meaning(network: string): string {
  const parsed = JSON.parse(network) as unknown;
  const without = new Set(["init", "zero_init", "stochastic_depth", "title"]);
  return JSON.stringify(parsed, (field, value: unknown) => {
    if (without.has(field)) return undefined;
    // The order of fields means nothing.
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))) : value;
  });
}

/** The architecture that a network is, if timm has it; `described` tells the network of a recipe in full. */
export function architectureOf(network: string, classes: number | undefined, described: (recipe: Description) => string): Architecture | undefined {
  if (classes === undefined) return undefined;
  const wanted = meaning(network);
  return ARCHITECTURES.find(({ recipe, isWritten }) => isWritten && meaning(described({ ...recipe, num_classes: classes })) === wanted);
}

/** Classes of a network that ends with a linear layer. */
export function classesOf(network: string): number | undefined {
  let layer = JSON.parse(network) as { type?: string; children?: { layer: object }[]; out_features?: number } | undefined;
  while (layer?.children !== undefined) layer = layer.children.at(-1)?.layer as typeof layer;
  return layer?.type === "linear" ? layer.out_features : undefined;
}
