import { basename } from "node:path";
import { type ClassMetrics, evaluate, loadModel } from "../../index.js";
import { command } from "../command.js";
import { machineOptions } from "../network.js";
import { flag, oneLine, text, type Values, whole } from "../option.js";
import { reportOption, writeReport } from "../reporting.js";
import { checkSamples, samplesFor, samplesOperand, samplesOptions } from "../samples.js";
import type { Screen } from "../screen.js";
import { checkTargets } from "../target.js";

const operands = { model: text("file or folder of a model, or its name on the Hugging Face hub (hf://…)", "MODEL", undefined, "a model's file"), ...samplesOperand };
const options = {
  ...samplesOptions,
  byClass: flag("shows precision, recall and F1 of each class too"),
  ...reportOption,
  force: flag("replaces a report that is there"),
  batchSize: whole("images that are computed at a time", 128, 1, 60_000),
  ...machineOptions,
};
type Settings = Values<typeof operands & typeof options>;

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
  await checkSamples(settings);
  if (settings.report !== undefined) await checkTargets([settings.report], settings.force, "--report");
  using model = await loadModel(file!, { device, precision, threads });
  const { images, title: of, source, note, told } = await samplesFor(model, settings, screen);
  screen.status.show(`Evaluating ${images.length} images`);
  const { classes, confusion, ...measured } = await evaluate(model, images, { batchSize, byClass });
  const [, height, width] = images.imageShape;
  const title = `${basename(file!)} on ${of}`;
  const report = await writeReport(settings.report, { model, history: undefined, data: images, title, beside: "" }, screen);
  screen.record({ ...measured, images: { source, count: images.length, size: height }, classes, confusion, report });
  const { loss, accuracy, macroF1, microF1, exactMatch } = measured;
  const rest = images.labelKind === "multi" ? [`F1 ${microF1!.toFixed(4)}, mean of the classes' ${macroF1!.toFixed(4)}, all right ${exactMatch!.toFixed(4)}`] : [];
  const by = [...rest, ...(classes ? ["", listed(classes)] : [])].map((line) => `\n${line}`).join("");
  screen.print(`${told} at ${height}x${width}
${note ? `${note}\n` : ""}loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(4)}${by}`);
  if (settings.report === undefined) return;
  screen.print(report === undefined ? "Stopped: no report is written" : `What there is to know of it, in a browser: ${oneLine(report)}`);
  if (report === undefined) return screen.interrupt.code!;
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
