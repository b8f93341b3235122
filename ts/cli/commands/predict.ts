import { stat } from "node:fs/promises";
import { loadModel, type Prediction, type ResNetError } from "../../index.js";
import { command } from "../command.js";
import { EXIT, Failure } from "../failure.js";
import { picturesIn } from "../folder.js";
import { machineOptions } from "../network.js";
import { flag, many, oneLine, type Option, real, text, type Values, whole } from "../option.js";
import { painted, type Screen } from "../screen.js";

const operands = {
  model: text("file or folder of a model that was trained on pictures, or its name on the Hugging Face hub (hf://…)", "MODEL", undefined, "a model's file"),
  files: many(text("pictures (JPEG, PNG or WebP), or folders of them", "PICTURE", undefined, "a picture's file")),
};
const options = {
  top: whole("classes that are told of each picture at most; 3, or where it may be of any number all", undefined, 1, 1000),
  minConfidence: {
    ...real("classes below this probability are left out; 0, or where a picture may be of any number 0.5 without --top", 0, 0, 1),
    fallback: undefined,
  } as Option<number | undefined>,
  flip: flag("looks at the mirror image too, and takes the mean"),
  ...machineOptions,
};

/** Characters of a class's name for which there is a column; longer ones push the rest of their line. */
const WIDEST = 24;

/** Tells what is on pictures. */
export default command({
  summary: "tells what is on pictures: the most probable classes of each",
  operands,
  options,
  examples: [
    ["predict resnet18-pictures.safetensors photo.jpg", "the three most probable classes, with probabilities"],
    ["predict birds.safetensors photos/ --top 1 --json > birds.jsonl", "a line of JSON for each picture"],
  ],
  run: predict,
});

async function predict(settings: Values<typeof operands & typeof options>, screen: Screen): Promise<number> {
  const { model: file, files: given, top, minConfidence, flip, device, precision, threads } = settings;
  using model = await loadModel(file!, { device, precision, threads });
  const files = (await Promise.all(given.map(pictures))).flat();
  const chosen = {
    ...(model.labelKind === "multi" ? top !== undefined && { top } : { top: top ?? 3 }),
    ...(minConfidence !== undefined && { minConfidence }),
  };
  const width = widest(files);
  const column = Math.min(widest(model.classNames ?? []), WIDEST);
  let failed = 0;
  for (const [i, name] of files.entries()) {
    screen.status.show(`Picture ${i + 1} of ${files.length}`);
    try {
      const classes = await model.classify(name, { ...chosen, flips: flip });
      screen.record({ file: name, classes });
      screen.print(`${oneLine(name).padEnd(width)}  ${told(classes, column)}`);
    } catch (error) {
      const { code, message } = error as ResNetError;
      // A picture that is none does not keep the others from being told; a model that takes none does.
      if (code !== "ERR_IO" && code !== "ERR_DATA_CORRUPT") throw error;
      failed += 1;
      screen.record({ file: name, error: { code, message } });
      screen.status.clear();
      if (!screen.json) process.stderr.write(`${painted(process.stderr, 31, "error:")} ${oneLine(message)}\n`);
    }
  }
  return failed > 0 ? EXIT.failure : EXIT.success;
}

/** The pictures of a folder; else what was given, which may turn out to be one. */
async function pictures(given: string): Promise<string[]> {
  if (!(await stat(given).catch(() => undefined))?.isDirectory()) return [given];
  const found = [];
  for await (const path of picturesIn(given)) found.push(path);
  if (found.length === 0) throw new Failure("ERR_DATA_NOT_FOUND", `PICTURE: expected pictures (JPEG, PNG or WebP) in the folder ${given}, got none`);
  return found;
}

function widest(names: readonly string[]): number {
  return names.reduce((most, name) => Math.max(most, oneLine(name).length), 0);
}

/** Classes in columns, so that those of many pictures stand below each other. */
function told(classes: readonly Prediction[], width: number): string {
  if (classes.length === 0) return "none of these";
  return classes.map(({ name, probability }) => `${oneLine(name).padEnd(width)} ${(100 * probability).toFixed(1).padStart(5)} %`).join("  ");
}
