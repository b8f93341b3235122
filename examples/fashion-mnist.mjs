// Trains the ResNet-18 of d2l.ai 8.6 on Fashion-MNIST at 96x96: `npm run demo`. With `--full` as the chapter does: all
// images, batch 128, plain SGD with learning rate 0.01, 10 epochs.

import { mkdir, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { fashionMnist, fit, plot, ResNet18, sgd } from "resnet-native";
// What the command line shows, and how it takes Ctrl-C.
import { Interrupt } from "../dist/cli/interrupt.js";
import { Progress } from "../dist/cli/progress.js";
import { StatusLine } from "../dist/cli/status.js";

const { full } = parseArgs({ options: { full: { type: "boolean", default: false } } }).values;
const SEED = 42;
const FILE = "out/demo/resnet18-fashion-mnist.safetensors";
const CHART = "out/demo/resnet18-fashion-mnist.svg";
const optimizer = full ? sgd({ lr: 0.01 }) : sgd({ lr: 0.01, momentum: 0.9 });
const recipe = full ? { epochs: 10, batchSize: 128 } : { epochs: 3, batchSize: 32 };

// The first Ctrl-C stops after the step at hand, a later one at once.
const interrupt = new Interrupt();
const { signal } = interrupt;
// A reader that goes, as in `npm run demo | head`, stops nothing.
process.stdout.on("error", () => {});
// Where nothing can be written, that is told before the training.
await mkdir("out/demo", { recursive: true });

// Without --full nothing is downloaded: the sample in this package does.
const onProgress = ({ file, received, total }) => received === total && console.log(`Downloaded ${file}`);
const all = await fashionMnist({ resize: [96, 96], download: full, onProgress }).catch((error) => {
  if (full || error.code !== "ERR_DATA_NOT_FOUND") throw error;
  return fashionMnist({ resize: [96, 96], source: "sample" });
});
const data = full ? all : { train: all.train.take(4096), validation: all.validation.take(1000) };
const model = new ResNet18({ numClasses: 10, inChannels: 1, seed: SEED });

const from = all.source === "sample" ? "the sample in this package (the full set is not on this machine)" : all.source;
const count = (number) => number.toLocaleString("en");
console.log(`Fashion-MNIST from ${from}
  ${count(data.train.length)} training images, ${count(data.validation.length)} for validation, resized to 96x96
ResNet-18 of d2l.ai 8.6, ${count(model.numParameters)} parameters, seed ${SEED}
  ${recipe.epochs} epochs, batch ${recipe.batchSize}, SGD, learning rate ${optimizer.lr}, momentum ${optimizer.momentum}
`);

const status = new StatusLine(process.stdout);
const progress = new Progress(recipe.epochs, status, console.log);
let history;
try {
  const run = fit(model, data, { ...recipe, optimizer, signal });
  for await (const event of run) progress.show(event);
  history = await run;
} catch (error) {
  if (error !== signal.reason) throw error;
  process.exitCode = interrupt.code;
  history = error.history;
}
status.clear();
if (signal.aborted) console.log("Stopped: the weights are those of the last whole step.");

await model.save(FILE);
console.log(`\nSaved to ${FILE}; to load it: await loadModel("${FILE}")`);
if (history?.rows.length > 0) {
  await writeFile(CHART, await plot(history, { title: "ResNet-18 on Fashion-MNIST" }));
  console.log(`Losses and accuracy by epoch drawn in ${CHART}`);
}

if (!signal.aborted) {
  const { value: batch } = await data.validation.batches({ batchSize: 10 }).next();
  const { data: logits } = await model.predict(batch.images);
  console.log("\ntrue name    predicted");
  for (const [i, label] of batch.labels.entries()) {
    const scores = logits.subarray(i * 10, i * 10 + 10);
    const predicted = scores.indexOf(Math.max(...scores));
    const [truth, guess] = [label, predicted].map((index) => data.validation.classNames[index]);
    console.log(`${truth.padEnd(11)}  ${guess}${label === predicted ? "" : "  ✗"}`);
  }
}
model.dispose();
