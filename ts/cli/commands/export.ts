import { type ExportOnnxOptions, loadModel, type OnnxPort } from "../../index.js";
import { command } from "../command.js";
import { Misuse } from "../failure.js";
import { choice, flag, oneLine, type Option, text, type Values, whole } from "../option.js";
import type { Screen } from "../screen.js";
import { besides, checkIsOther, checkTargets } from "../target.js";

/** The largest height or width of a picture that the library brings to size. */
const LARGEST = 16384;
/** Characters of all classes' names together that are shown. */
const SHOWN = 80;

const size: Option<readonly number[] | undefined> = {
  help: "height and width of the images, by default those of the model's pictures; 192x256 for a height of 192",
  value: "SIZE",
  fallback: undefined,
  expected: `a size such as 224, or 192x256 (height and width), each from 1 to ${LARGEST}`,
  accepts: (sides) => Array.isArray(sides),
  convert: (typed) => {
    const sides = typed.toLowerCase().split("x").map(Number);
    return /^[1-9]\d*(x[1-9]\d*)?$/i.test(typed) && sides.every((side) => side <= LARGEST) ? sides : typed;
  },
};

const operands = { model: text("file or folder of a model, or its name on the Hugging Face hub (hf://…)", "MODEL", undefined, "a model's file") };
const options = {
  output: { ...text("the ONNX file, by default beside the model, a hub's in this folder, by its name with the ending .onnx", "FILE", undefined, "a file"), short: "o", isOnce: true },
  size,
  batch: whole("so many images go in at a time; by default any number", undefined, 1, 65536),
  input: choice<NonNullable<ExportOnnxOptions["input"]>, "normalised">(
    "what goes in: numbers as the network takes them; numbers from 0 to 1; bytes (N, H, W, C); bytes of a canvas (N, H, W, 4)",
    "INPUT",
    ["normalised", "unit", "bytes", "rgba"],
    "normalised",
  ),
  probabilities: flag("probabilities come out in place of logits"),
  precision: choice<"fp32" | "fp16", "fp32">("how weights are kept; fp16 halves the file", "PRECISION", ["fp32", "fp16"], "fp32"),
  keepNorms: flag("leaves batch norms as they are, in place of folding them into the convolutions before them"),
  force: flag("replaces a file that is there"),
};

/** Writes a model for other programs. */
export default command({
  summary: "writes a model as an ONNX file, which other programs run: ONNX Runtime, OpenVINO, browsers",
  operands,
  options,
  examples: [
    ["export resnet18-pictures.safetensors", "what predict takes and gives, in resnet18-pictures.onnx"],
    ["export pets.safetensors -o web/pets.onnx --input rgba --probabilities", "for a web page: a canvas's pixels in, probabilities out"],
    ["export pets.safetensors --input bytes --probabilities --precision fp16", "half the size; red, green and blue in"],
  ],
  run: exportModel,
});

async function exportModel(settings: Values<typeof operands & typeof options>, screen: Screen): Promise<void> {
  const { model: file, size, batch, input, probabilities, precision, keepNorms, force } = settings;
  const output = settings.output ?? besides(file!, ".onnx");
  await checkIsOther(output, file!);
  await checkTargets([output], force);
  using model = await loadModel(file!, { device: "cpu" });
  const { transform, classNames, inChannels } = model;
  const sides = size ?? transform?.size;
  if (sides === undefined) throw new Misuse("--size: expected with a model that does not know what pictures it takes, got nothing");
  const shape = [batch ?? 1, inChannels!, sides[0]!, sides.at(-1)!];
  const options = { shape, dynamicBatch: batch === undefined, foldNorms: !keepNorms, input, probabilities, precision };
  const { bytes, ...ports } = await model.exportOnnx(output, options);
  screen.record({ type: "export", file: output, bytes, precision, ...ports, classNames });
  const names = oneLine(classNames?.join(", ") ?? "");
  const classes = names === "" || names.length > SHOWN ? "" : `: ${names}`;
  screen.print(`Exported to ${oneLine(output)}, ${(bytes / 1e6).toFixed(1)} MB
  in   ${told(ports.input)}, ${MEANING[input](transform?.normalise !== undefined)}
  out  ${told(ports.output)}${classes}`);
}

/** What numbers that go in are. */
const MEANING: Readonly<Record<NonNullable<ExportOnnxOptions["input"]>, (normalised: boolean) => string>> = {
  normalised: (normalised) => (normalised ? "normalised by the file's mean and std" : "as in training"),
  unit: () => "from 0 to 1",
  bytes: () => "pixels from 0 to 255",
  rgba: () => "pixels of a canvas",
};

/** A value that goes in or comes out. */
function told({ name, type, shape }: OnnxPort): string {
  return `${name}: ${type} (${shape.join(", ")})`;
}
