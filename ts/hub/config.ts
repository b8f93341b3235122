import type { Description } from "../description.js";
import type { ModelInterface } from "../interface.js";
import type { PictureTransform } from "../transform.js";
import { type Architecture, ARCHITECTURES } from "./architectures.js";

/** What the header of `model.safetensors` tells beside its tensors, where it was written here. */
export interface Header {
  /** Network and interface, as JSON. */
  readonly resnet_native?: string;
  /** The digest of the file. */
  readonly resnet_native_sha256?: string;
}

/** What stands for an architecture where timm has none. */
export const OWN = "resnet_native";

/** What is known of a model that is written. */
export interface Written {
  readonly architecture: Architecture | undefined;
  readonly classes: number | undefined;
  readonly inChannels: number;
  readonly parameters: number;
  readonly interface: ModelInterface & { readonly temperature: number };
  /** That of `model.safetensors` beside it. */
  readonly header?: Header | undefined;
}

/** How timm names what becomes of another aspect ratio. */
const CROPS = { crop: "center", stretch: "squash", pad: "border" } as const;

/** `config.json` as timm writes it, and beside its fields one of our own that it does not look at. */
export function configOf({ architecture, classes, inChannels, interface: { transform, classNames, labelKind, temperature }, header }: Written): string {
  const isNamed = classNames !== undefined && classNames.length === classes;
  const own = {
    ...(architecture === undefined && { network: "described in the header of model.safetensors (__metadata__.resnet_native); timm has no such architecture" }),
    transform,
    label_kind: labelKind,
    temperature,
    // By which it is told whether both files are of one save.
    weights: header?.resnet_native_sha256,
  };
  const config = {
    architecture: architecture?.name ?? OWN,
    num_classes: classes,
    ...(architecture && { num_features: architecture.features, global_pool: "avg" }),
    ...(isNamed && { label_names: classNames }),
    ...(inChannels !== 3 && { model_args: { in_chans: inChannels } }),
    pretrained_cfg: {
      custom_load: false,
      fixed_input_size: false,
      ...(transform && { input_size: [inChannels, ...transform.size], ...preparation(transform) }),
      ...(classes !== undefined && { num_classes: classes }),
      pool_size: null,
      ...(architecture && { first_conv: architecture.firstConv, classifier: architecture.classifier }),
    },
    resnet_native: own,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

function preparation({ fit, channels, normalise }: PictureTransform) {
  const every = (value: number) => Array.from({ length: channels }, () => value);
  // Pictures are resized as Pillow does with BILINEAR.
  return { interpolation: "bilinear", crop_pct: 1, crop_mode: CROPS[fit], mean: normalise?.mean ?? every(0), std: normalise?.std ?? every(1) };
}

/** A model of a folder that timm wrote. */
export interface Read {
  readonly recipe: Description;
  readonly classifier: string;
  readonly classes: number;
  readonly inChannels: number;
  readonly interface: ModelInterface;
  /** What of the folder is not kept. */
  readonly notes: readonly string[];
}

/** Arguments that change nothing of what a trained network predicts. */
const HARMLESS = new Set(["in_chans", "num_classes", "drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last"]);
export type Fields = Readonly<Record<string, unknown>>;

/** The model that timm's `config.json` tells, also in the older form without `pretrained_cfg`. Throws if it cannot be. */
export function parseConfig(text: string): Read {
  const config = JSON.parse(text) as Fields;
  if (!isFields(config)) throw new Error(`expected an object, got ${shown(config)}`);
  const pretrained = isFields(config["pretrained_cfg"]) ? config["pretrained_cfg"] : config;
  const args = isFields(config["model_args"]) ? config["model_args"] : {};
  const { name, recipe, classifier } = known(config["architecture"]);
  for (const [arg, value] of Object.entries(args)) {
    if (!HARMLESS.has(arg) && !(arg === "global_pool" && value === "avg")) throw new Error(`model_args: expected ${[...HARMLESS].join(", ")}, got ${arg}, which would make another network of ${name}`);
  }
  const pool = config["global_pool"];
  if (pool !== undefined && pool !== "avg") throw new Error(`global_pool: expected "avg", got ${shown(pool)}`);
  const size = pretrained["input_size"];
  const classes = config["num_classes"] ?? args["num_classes"] ?? pretrained["num_classes"] ?? 1000;
  const inChannels = args["in_chans"] ?? (Array.isArray(size) ? (size[0] as unknown) : 3);
  if (!isCount(classes, 0)) throw new Error(`num_classes: expected an integer of at least 0, got ${shown(classes)}`);
  if (!isCount(inChannels, 1)) throw new Error(`in_chans: expected an integer of at least 1, got ${shown(inChannels)}`);
  const notes: string[] = [];
  const classNames = namesOf(config["label_names"] ?? pretrained["label_names"] ?? pretrained["labels"], classes, notes);
  const transform = transformOf(pretrained, inChannels, notes);
  return { recipe, classifier, classes, inChannels, interface: { transform, classNames }, notes };
}

function known(name: unknown): Architecture {
  const found = ARCHITECTURES.find((architecture) => architecture.name === name);
  if (found !== undefined) return found;
  if (name === OWN) throw new Error("architecture: its description was in the header of model.safetensors, which another program has written anew without it");
  throw new Error(`architecture: expected one that can be made here (${ARCHITECTURES.map(({ name }) => name).join(", ")}), got ${shown(name)}`);
}

function namesOf(given: unknown, classes: number, notes: string[]): string[] | undefined {
  if (given === undefined || given === null) return undefined;
  // A list, or an object by the class's number, with gaps maybe.
  const names = Array.isArray(given) ? (given as unknown[]) : isFields(given) ? Array.from({ length: classes }, (_, i) => given[String(i)]) : [];
  const isWhole = names.length === classes && names.every((name) => typeof name === "string") && new Set(names).size === classes;
  if (isWhole) return names as string[];
  notes.push(`label_names: expected ${classes} different names, got ${shown(given)}; classes have no names`);
  return undefined;
}

/** What timm takes where a folder tells nothing. */
const DEFAULTS = { crop_pct: 0.875, crop_mode: "center", interpolation: "bicubic", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** How pictures are prepared, as far as it can be done here. */
function transformOf(pretrained: Fields, inChannels: number, notes: string[]): PictureTransform | undefined {
  const { input_size: size, mean, std, crop_pct: share, crop_mode: mode, interpolation } = { ...DEFAULTS, ...pretrained } as Fields;
  if (size === undefined || size === null) {
    notes.push("input_size: it is not told, so the model does not know how pictures are prepared; setInterface says it");
    return undefined;
  }
  const values = (given: unknown, least: number) => (isNumbers(given, least) ? fitted(given, inChannels) : undefined);
  const normalise = { mean: values(mean, -1e30), std: values(std, 1e-30) };
  const [, height, width] = Array.isArray(size) ? (size as unknown[]) : [];
  const isSize = [height, width].every((side) => isCount(side, 1) && side <= 16384);
  if (!isSize || (inChannels !== 1 && inChannels !== 3) || normalise.mean?.length !== inChannels || normalise.std?.length !== inChannels) {
    notes.push(`input_size ${shown(size)}, mean ${shown(mean)}, std ${shown(std)}: pictures cannot be prepared so here; the model takes tensors, or what setInterface says`);
    return undefined;
  }
  const [fit] = Object.entries(CROPS).find(([, name]) => name === mode) ?? [];
  if (fit === undefined) notes.push(`crop_mode: expected ${Object.values(CROPS).join(", ")}, got ${shown(mode)}; pictures are cropped to the middle`);
  if (share !== 1) notes.push(`crop_pct ${shown(share)}: pictures are resized to ${String(height)}x${String(width)} itself, not to more and cut back to it; predictions differ a little from timm's`);
  if (interpolation !== "bilinear") notes.push(`interpolation ${shown(interpolation)}: pictures are resized with bilinear; predictions differ a little from timm's`);
  // timm's borders have the mean's colour.
  const mid = normalise.mean.map((value) => Math.min(255, Math.max(0, halfToEven(255 * value))));
  const background = [0, 1, 2].map((i) => mid[i] ?? mid[0]!) as [number, number, number];
  return { size: [height as number, width as number], fit: (fit ?? "crop") as PictureTransform["fit"], channels: inChannels, background, normalise: normalise as { mean: number[]; std: number[] } };
}

/** A number for each channel: one counts for all, and of several the mean counts for one, as timm has it. */
function fitted(given: readonly number[], channels: number): readonly number[] {
  if (given.length !== 1 && channels !== 1) return given;
  const mean = given.reduce((sum, value) => sum + value, 0) / given.length;
  return Array.from({ length: channels }, () => mean);
}

/** As Python rounds. */
function halfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

export const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown, least: number): value is number => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= 2 ** 20;
const isNumbers = (value: unknown, least: number): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every((number) => Number.isFinite(number) && (number as number) >= least);

/** A value as a message shows it. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
