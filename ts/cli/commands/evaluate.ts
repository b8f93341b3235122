import { type Dataset, evaluate, imageFolder, loadModel, type Model } from "../../index.js";
import { command } from "../command.js";
import { Failure, Misuse } from "../failure.js";
import { checkFolder, passedOver } from "../folder.js";
import { imageOptions, loadImages } from "../images.js";
import { machineOptions } from "../network.js";
import { flag, type Option, real, text, type Values, whole } from "../option.js";
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
  if (!isFashion) await checkFolder(settings.images);
  using model = await loadModel(file!, { device, precision, threads });
  const { images, source, note } = isFashion ? await fashion(settings, screen) : await pictures(settings, model, screen);
  screen.status.show(`Evaluating ${images.length} images`);
  const { loss, accuracy } = await evaluate(model, images, { batchSize });
  const classes = byClass ? await accuracies(model, images, batchSize, screen) : undefined;
  const [, height, width] = images.imageShape;
  screen.record({ loss, accuracy, images: { source, count: images.length, size: height }, classes });
  const by = classes ? `\n\n${listed(classes)}` : "";
  screen.print(`${images.length.toLocaleString("en")} ${isFashion ? "validation images" : `pictures of ${source}`} at ${width}x${height}
${note ? `${note}\n` : ""}loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}${by}`);
}

async function fashion(settings: Settings, screen: Screen): Promise<Measured> {
  const { split, skipUnreadable } = settings;
  if (split !== undefined || skipUnreadable) throw new Misuse(`--${split === undefined ? "skip-unreadable" : "split"}: expected with a folder alone`);
  const { validation: images, source } = await loadImages(settings, screen);
  return { images, source };
}

/** A folder's pictures, as the model takes them: those for validation, where there are such, or all. */
async function pictures({ images: source, split, seed, skipUnreadable }: Settings, model: Model, screen: Screen): Promise<Measured> {
  const { transform, classNames } = model;
  if (transform === undefined || transform.channels === 2) {
    throw new Failure("ERR_INVALID_ARGUMENT", "MODEL: expected one that was trained on pictures, got one that does not know what pictures it takes");
  }
  screen.status.show(`Looking at ${source}`);
  const { size, fit, channels, background, normalise } = transform;
  const like = { size, fit, channels: channels as 1 | 3, background, ...(normalise && { normalise }), ...(classNames && { classNames }) };
  const { signal } = screen.interrupt;
  const data = await imageFolder(source, { ...like, ...(split !== undefined && { split }), seed, onError: skipUnreadable ? "skip" : "throw", signal });
  return { images: data.validation ?? data.train, source, note: passedOver(data.skipped) };
}

/** The share of each class's images that are recognised, by the class's name; null of a class without images. */
async function accuracies(
  model: Model,
  images: Dataset,
  batchSize: number,
  { status }: Screen,
): Promise<Record<string, number | null>> {
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
  return Object.fromEntries(right.map((hits, label) => [names[label]!, share(hits)]));
}

/** Classes and their accuracies in two columns. */
function listed(accuracies: Record<string, number | null>): string {
  const head = ["class", "accuracy"] as const;
  const rows = Object.entries(accuracies).map(([name, share]) => [name, share?.toFixed(4) ?? "–"] as const);
  const [left, right] = [Math.max(...[head, ...rows].map(([name]) => name.length)), head[1].length];
  const lines = [head, ["─".repeat(left), "─".repeat(right)] as const, ...rows];
  return lines.map(([name, share]) => `${name.padEnd(left)}  ${share.padStart(right)}`).join("\n");
}
