import { basename, resolve } from "node:path";
import { type ClassMetrics, type Dataset, evaluate, imageFolder, loadModel, type Model } from "../../index.js";
import { command } from "../command.js";
import { counted } from "../counted.js";
import { Failure, Misuse } from "../failure.js";
import { checkFolder, passedOver } from "../folder.js";
import { imageOptions, loadImages } from "../images.js";
import { machineOptions } from "../network.js";
import { flag, oneLine, type Option, real, text, typed, type Values, whole } from "../option.js";
import { reportOption, writeReport } from "../reporting.js";
import type { Screen } from "../screen.js";
import { checkTargets } from "../target.js";

const operands = {
  model: text("file or folder of a model, or its name on the Hugging Face hub (hf://…)", "MODEL", undefined, "a model's file"),
  images: text("what it is measured on: fashion-mnist, or a folder of pictures as for train", "IMAGES", "fashion-mnist", "fashion-mnist or a folder"),
};
const options = {
  ...imageOptions,
  split: { ...real("of a folder: only the share that training kept for validation, with the same seed", 0, 0.01, 0.9), fallback: undefined } as Option<
    number | undefined
  >,
  seed: whole("seed of that share", 0, 0),
  skipUnreadable: flag("of a folder: leaves out what is no picture, and counts it, instead of stopping"),
  byClass: flag("shows precision, recall and F1 of each class too"),
  ...reportOption,
  force: flag("replaces a report that is there"),
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
    ["evaluate resnet18-pictures.safetensors pictures/ --split 0.2 --report pictures.html", "as a page, with the most confident mistakes as pictures"],
    ["evaluate small.safetensors --size 28 --by-class", "at the size of its training, class by class"],
  ],
  run: measure,
});

async function measure(settings: Settings, screen: Screen): Promise<number | void> {
  const { model: file, device, precision, threads, batchSize, byClass } = settings;
  const isFashion = settings.images.toLowerCase() === "fashion-mnist";
  if (!isFashion) {
    refuseThoseOfFashion(settings);
    await checkFolder(settings.images, "IMAGES");
  }
  if (settings.report !== undefined) await checkTargets([settings.report], settings.force, "--report");
  using model = await loadModel(file!, { device, precision, threads });
  const { images, source, note } = isFashion ? await fashion(settings, model, screen) : await pictures(settings, model, screen);
  screen.status.show(`Evaluating ${images.length} images`);
  const { classes, confusion, ...measured } = await evaluate(model, images, { batchSize, byClass });
  const [, height, width] = images.imageShape;
  const title = `${basename(file!)} on ${isFashion ? "Fashion-MNIST" : oneLine(basename(resolve(source)))}`;
  const report = await writeReport(settings.report, { model, history: undefined, data: images, title, beside: "" }, screen);
  screen.record({ ...measured, images: { source, count: images.length, size: height }, classes, confusion, report });
  const { loss, accuracy, macroF1, microF1, exactMatch } = measured;
  const rest = images.labelKind === "multi" ? [`F1 ${microF1!.toFixed(4)}, mean of the classes' ${macroF1!.toFixed(4)}, all right ${exactMatch!.toFixed(4)}`] : [];
  const by = [...rest, ...(classes ? ["", listed(classes)] : [])].map((line) => `\n${line}`).join("");
  const what = isFashion ? counted(images.length, "validation image") : `${counted(images.length, "picture")} of ${oneLine(source)}`;
  screen.print(`${what} at ${height}x${width}
${note ? `${note}\n` : ""}loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}${by}`);
  if (settings.report === undefined) return;
  screen.print(report === undefined ? "Stopped: no report is written" : `What there is to know of it, in a browser: ${oneLine(report)}`);
  if (report === undefined) return screen.interrupt.code!;
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
  const labels = model.labelKind ?? "single";
  const data = await imageFolder(source, { ...like, ...(split !== undefined && { split }), seed, labels, onError: skipUnreadable ? "skip" : "throw", verify: skipUnreadable });
  return { images: data.validation ?? data.train, source, note: passedOver(data.skipped) };
}

/** Classes and what was measured of them in columns; nothing where there is nothing to divide by. */
function listed(classes: readonly ClassMetrics[]): string {
  const head = ["class", "precision", "recall", "F1", "images"];
  const rows = classes.map(({ name, precision, recall, f1, support }) => {
    const of = (share: number) => (support > 0 ? share.toFixed(4) : "–");
    return [oneLine(name), of(precision), of(recall), of(f1), support.toLocaleString("en")];
  });
  const widths = head.map((title, i) => rows.reduce((most, row) => Math.max(most, row[i]!.length), title.length));
  const lines = [head, widths.map((width) => "─".repeat(width)), ...rows];
  return lines.map(([name, ...numbers]) => [name!.padEnd(widths[0]!), ...numbers.map((cell, i) => cell.padStart(widths[i + 1]!))].join("  ")).join("\n");
}
