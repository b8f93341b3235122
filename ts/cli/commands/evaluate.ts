import { type Dataset, evaluate, loadModel, type Model } from "../../index.js";
import { command } from "../command.js";
import { imageOptions, loadImages } from "../images.js";
import { machineOptions } from "../network.js";
import { choice, flag, text, type Values, whole } from "../option.js";
import type { Screen } from "../screen.js";

const operands = {
  model: text("file of a model that was trained here", "MODEL", undefined, "a model's file"),
  images: choice("what it is measured on", "IMAGES", ["fashion-mnist"], "fashion-mnist"),
};
const options = {
  ...imageOptions,
  byClass: flag("shows the accuracy of each class too, which takes as long again"),
  batchSize: whole("images that are computed at a time", 128, 1, 60_000),
  ...machineOptions,
};

/** Measures a trained model. */
export default command({
  summary: "measures a trained model on the validation images: mean loss and accuracy",
  operands,
  options,
  examples: [
    ["evaluate resnet18-fashion-mnist.safetensors", "loss and accuracy on the 10,000 validation images"],
    ["evaluate small.safetensors --size 28 --by-class", "at the size of its training, class by class"],
  ],
  run: measure,
});

async function measure(settings: Values<typeof operands & typeof options>, screen: Screen): Promise<void> {
  const { model: file, device, precision, threads, batchSize, byClass, size } = settings;
  using model = await loadModel(file!, { device, precision, threads });
  const { validation: images, source } = await loadImages(settings, screen);
  screen.status.show(`Evaluating ${images.length} images`);
  const { loss, accuracy } = await evaluate(model, images, { batchSize });
  const classes = byClass ? await accuracies(model, images, batchSize, screen) : undefined;
  screen.record({ loss, accuracy, images: { source, count: images.length, size }, classes });
  const by = classes ? `\n\n${listed(classes)}` : "";
  screen.print(`${images.length.toLocaleString("en")} validation images at ${size}x${size}
loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}${by}`);
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
