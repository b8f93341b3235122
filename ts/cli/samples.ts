import { basename, resolve } from "node:path";
import { type Dataset, imageFolder, type Model } from "../index.js";
import { counted } from "./counted.js";
import { Failure, Misuse } from "./failure.js";
import { checkFolder, passedOver } from "./folder.js";
import { imageOptions, loadImages, SIZE } from "./images.js";
import { flag, oneLine, type Option, real, text, typed, type Values, whole } from "./option.js";
import type { Screen } from "./screen.js";

/** The operand of the samples that a trained model is tried on. */
export const samplesOperand = { images: text("what it is measured on: fashion-mnist, or a folder of pictures as for train", "IMAGES", "fashion-mnist", "fashion-mnist or a folder") };
const fashionOptions = {
  ...imageOptions,
  size: { ...imageOptions.size, help: "height and width of Fashion-MNIST's images, by default those that the model takes, else 96", fallback: undefined } as Option<number | undefined>,
};
export const samplesOptions = {
  ...fashionOptions,
  split: { ...real("of a folder: only the share that training kept for validation, with the same seed", 0, 0.01, 0.9), fallback: undefined } as Option<
    number | undefined
  >,
  seed: whole("seed of that share", 0, 0),
  skipUnreadable: flag("of a folder: leaves out what is no picture, and counts it, instead of stopping"),
};
type Settings = Values<typeof samplesOperand & typeof samplesOptions>;

/** What a model is tried on, and how that is called: in a title, and in a sentence. */
export interface Samples {
  readonly images: Dataset;
  /** Those that were trained on, or the same where they are not told apart. */
  readonly train: Dataset;
  readonly source: string;
  readonly title: string;
  readonly told: string;
  readonly note?: string;
}

const isFashion = ({ images }: Settings) => images.toLowerCase() === "fashion-mnist";

/** Refuses samples that cannot be, before anything else is done. */
export async function checkSamples(settings: Settings): Promise<void> {
  if (isFashion(settings)) return;
  refuseThoseOfFashion(settings);
  await checkFolder(settings.images, "IMAGES");
}

/** The samples for a model. */
export async function samplesFor(model: Model, settings: Settings, screen: Screen): Promise<Samples> {
  return isFashion(settings) ? await fashion(settings, model, screen) : await pictures(settings, model, screen);
}

/** Refuses options that mean nothing for a folder, whose pictures the model's file says how to bring to size. */
function refuseThoseOfFashion(settings: Settings): void {
  const given = Object.entries(fashionOptions).find(([name, { fallback }]) => settings[name as keyof typeof fashionOptions] !== fallback);
  if (given) throw new Misuse(`${typed(given[0])}: expected with fashion-mnist alone`);
}

async function fashion(settings: Settings, { inChannels, transform }: Model, screen: Screen): Promise<Samples> {
  const { split, skipUnreadable } = settings;
  if (split !== undefined || skipUnreadable) throw new Misuse(`--${split === undefined ? "skip-unreadable" : "split"}: expected with a folder alone`);
  if (inChannels !== 1) {
    const expected = `expected a folder of pictures for a model of images with ${inChannels} channels`;
    throw new Misuse(`IMAGES: ${expected}, got fashion-mnist, which has one`);
  }
  const { train, validation: images, source } = await loadImages({ ...settings, size: settings.size ?? transform?.size[0] ?? SIZE }, screen);
  return { images, train, source, title: "Fashion-MNIST", told: counted(images.length, "validation image") };
}

/** A folder's pictures, as the model takes them: those for validation, where there are such, or all. */
async function pictures({ images: source, split, seed, skipUnreadable }: Settings, model: Model, screen: Screen): Promise<Samples> {
  const { transform, classNames } = model;
  if (transform === undefined || transform.channels === 2) {
    throw new Failure("ERR_INVALID_ARGUMENT", "MODEL: expected one that was trained on pictures, got one that does not know what pictures it takes");
  }
  screen.status.show(`Looking at ${oneLine(source)}`);
  const { size, fit, channels, background, normalise } = transform;
  const like = { size, fit, channels: channels as 1 | 3, background, ...(normalise && { normalise }), ...(classNames && { classNames }) };
  const labels = model.labelKind ?? "single";
  const data = await imageFolder(source, { ...like, ...(split !== undefined && { split }), seed, labels, onError: skipUnreadable ? "skip" : "throw", verify: skipUnreadable });
  const images = data.validation ?? data.train;
  const told = `${counted(images.length, "picture")} of ${oneLine(source)}`;
  return { images, train: data.train, source, title: oneLine(basename(resolve(source))), note: passedOver(data.skipped), told };
}
