import { type Dataset, evaluate, imageFolder, loadModel, type Model } from "../../index.js";
import { command } from "../command.js";
import { counted } from "../counted.js";
import { Failure, Misuse } from "../failure.js";
import { checkFolder, passedOver } from "../folder.js";
import { imageOptions, loadImages } from "../images.js";
import { machineOptions } from "../network.js";
import { flag, oneLine, type Option, real, text, typed, type Values, whole } from "../option.js";
import type { Screen } from "../screen.js";

const operands = {
  model: text("file of a model that was trained here", "MODEL", undefined, "a model's file"),
  images: text("what it is measured on: fashion-mnist, or a folder of pictures as for train", "IMAGES", "fashion-mnist", "fashion-mnist or a folder"),
};
const options = {
  ...imageOptions,
  split: { ...real("of a folder: only the share that training kept for validation, with the same seed", 0, 0.01, 0.9), fallback: undefined } as Option<
    number | undefined
  >,
  seed: whole("seed of that share", 0, 0),
  skipUnreadable: flag("of a folder: leaves out what is no picture, and counts it, instead of stopping"),
  byClass: flag("shows the accuracy of each class too, which takes as long again"),
  batchSize: whole("images that are computed at a time", 128, 1, 60_000),
  ...machineOptions,
};
type Settings = Values<typeof operands & typeof options>;

/** What a model is measured on, and how that is called. */
interface Measured {
  readonly images: Dataset;
  readonly source: string;
  readonly note?: string;
}

/** Measures a trained model. */
export default command({
  summary: "measures a trained model on the validation images of Fashion-MNIST, or on a folder of pictures: mean loss and accuracy",
  operands,
  options,
  examples: [
    ["evaluate resnet18-fashion-mnist.safetensors", "loss and accuracy on the 10,000 validation images"],
    ["evaluate resnet18-pictures.safetensors pictures/ --split 0.2 --by-class", "class by class, on what training kept for validation"],
    ["evaluate small.safetensors --size 28 --by-class", "at the size of its training, class by class"],
  ],
  run: measure,
});

async function measure(settings: Settings, screen: Screen): Promise<void> {
  const { model: file, device, precision, threads, batchSize, byClass } = settings;
  const isFashion = settings.images.toLowerCase() === "fashion-mnist";
  if (!isFashion) {
    refuseThoseOfFashion(settings);
    await checkFolder(settings.images, "IMAGES");
  }
  using model = await loadModel(file!, { device, precision, threads });
  const { images, source, note } = isFashion ? await fashion(settings, model, screen) : await pictures(settings, model, screen);
  screen.status.show(`Evaluating ${images.length} images`);
  const { loss, accuracy } = await evaluate(model, images, { batchSize });
  const classes = byClass ? await accuracies(model, images, batchSize, screen) : undefined;
  const [, height, width] = images.imageShape;
  screen.record({ loss, accuracy, images: { source, count: images.length, size: height }, classes: classes && Object.fromEntries(classes.map(({ name, share }) => [name, share])) });
  const by = classes ? `\n\n${listed(classes)}` : "";
  const what = isFashion ? counted(images.length, "validation image") : `${counted(images.length, "picture")} of ${oneLine(source)}`;
  screen.print(`${what} at ${width}x${height}
${note ? `${note}\n` : ""}loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}${by}`);
}

/** Refuses options that mean nothing for a folder, whose pictures the model's file says how to bring to size. */
function refuseThoseOfFashion(settings: Settings): void {
  const given = Object.entries(imageOptions).find(([name, { fallback }]) => settings[name as keyof typeof imageOptions] !== fallback);
  if (given) throw new Misuse(`${typed(given[0])}: expected with fashion-mnist alone`);
}

async function fashion(settings: Settings, { inChannels }: Model, screen: Screen): Promise<Measured> {
  const { split, skipUnreadable } = settings;
  if (split !== undefined || skipUnreadable) throw new Misuse(`--${split === undefined ? "skip-unreadable" : "split"}: expected with a folder alone`);
  if (inChannels !== 1) {
    const expected = `expected a folder of pictures for a model of images with ${inChannels} channels`;
    throw new Misuse(`IMAGES: ${expected}, got fashion-mnist, which has one`);
  }
  const { validation: images, source } = await loadImages(settings, screen);
  return { images, source };
}

/** A folder's pictures, as the model takes them: those for validation, where there are such, or all. */
async function pictures({ images: source, split, seed, skipUnreadable }: Settings, model: Model, screen: Screen): Promise<Measured> {
  const { transform, classNames } = model;
  if (transform === undefined || transform.channels === 2) {
    throw new Failure("ERR_INVALID_ARGUMENT", "MODEL: expected one that was trained on pictures, got one that does not know what pictures it takes");
  }
  screen.status.show(`Looking at ${oneLine(source)}`);
  const { size, fit, channels, background, normalise } = transform;
  const like = { size, fit, channels: channels as 1 | 3, background, ...(normalise && { normalise }), ...(classNames && { classNames }) };
  const data = await imageFolder(source, { ...like, ...(split !== undefined && { split }), seed, onError: skipUnreadable ? "skip" : "throw", verify: skipUnreadable });
  return { images: data.validation ?? data.train, source, note: passedOver(data.skipped) };
}

/** A class, how many images it has, and the share of them that is recognised; null without images. */
interface ClassAccuracy {
  readonly name: string;
  readonly count: number;
  readonly share: number | null;
}

/** How many images of each class are recognised. */
async function accuracies(
  model: Model,
  images: Dataset,
  batchSize: number,
  { status }: Screen,
): Promise<ClassAccuracy[]> {
  const right = Array.from({ length: images.numClasses }, (): number[] => []);
  let done = 0;
  for await (const { images: pixels, labels } of images.batches({ batchSize })) {
    const logits = await model.predict(pixels, { batchSize });
    const [, classes = 0] = logits.shape;
    for (const [i, label] of labels.entries()) {
      const row = { data: logits.data.subarray(i * classes, (i + 1) * classes), shape: [1, classes] };
      right[label]!.push(model.accuracy(row, [label]));
    }
    status.show(`By class: ${(done += labels.length)} of ${images.length} images`);
  }
  const names = images.classNames ?? right.map((_, label) => String(label));
  const share = (hits: readonly number[]) => (hits.length > 0 ? hits.reduce((sum, hit) => sum + hit, 0) / hits.length : null);
  return right.map((hits, label) => ({ name: names[label]!, count: hits.length, share: share(hits) }));
}

/** Classes, their accuracies and the number of images in columns. */
function listed(accuracies: readonly ClassAccuracy[]): string {
  const head = ["class", "accuracy", "images"];
  const rows = accuracies.map(({ name, share, count }) => [oneLine(name), share?.toFixed(4) ?? "–", count.toLocaleString("en")]);
  const widths = head.map((title, i) => rows.reduce((most, row) => Math.max(most, row[i]!.length), title.length));
  const lines = [head, widths.map((width) => "─".repeat(width)), ...rows];
  return lines.map(([name, ...numbers]) => [name!.padEnd(widths[0]!), ...numbers.map((cell, i) => cell.padStart(widths[i + 1]!))].join("  ")).join("\n");
}
