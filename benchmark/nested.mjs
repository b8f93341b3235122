// npm run bench -- nested: what larger function classes are worth, where each holds the smaller ones. Residual networks for small images,
// deeper ones (each with the blocks of the one before, and more) and wider ones, and plain ones of the same layers without shortcuts, whose
// classes need not be nested. All are trained alike on few images of the carried sample at 1x28x28: SGD with Nesterov momentum, a rate
// that rises for a fifth of the run and falls to 0, nothing against overfitting. Told is each network's loss on the very images that it was trained on,
// which a larger class can only lower where the best function in it is found, and loss and accuracy on the sample's validation images.
//
//   --networks A,B   some of those below, by default all
//   --parts A,B      trainings, steps (default: both); steps are timed in turns, each network in a process of its own
//   --images N       training images, default 512
//   --epochs N       default 20
//   --seeds N        trainings of each network, from seeds 1 to N, default 3
//   --threads N      threads of each network, default all cores
//   --rounds N       turns of each network, default 5
//   --steps N        steps in a turn, default 10
//   --batch-size N   of trainings and steps, default 32

import { evaluate, fashionMnist, fit, oneCycle, sgd } from "../dist/index.js";
import { table } from "../dist/table.js";
import { build } from "./networks.mjs";
import { parse, sample, threads } from "./options.mjs";
import { machine, save } from "./report.mjs";
import { nativeSide, range, takeTurns } from "./turns.mjs";

const every = ["ResNet-8", "ResNet-20", "ResNet-56", "ResNet-8 twice as wide", "ResNet-8 four times as wide", "plain-8", "plain-20", "plain-56"];
/** Height and width. */
const SIZE = 28;
const RECIPE = { optimizer: sgd({ lr: 0.05, momentum: 0.9, nesterov: true }), schedule: oneCycle({ rise: 0.2 }) };

export async function main(args) {
  const defaults = { networks: every.join(","), parts: "trainings,steps", images: 512, epochs: 20, seeds: 3, threads, rounds: 5, steps: 10, batchSize: 32 };
  const { networks: asked, parts, ...options } = parse(args, defaults);
  const names = some("networks", asked, every);
  const doing = some("parts", parts, ["trainings", "steps"]);
  const trainings = doing.includes("trainings") ? await trainAll(names, options) : {};
  const steps = doing.includes("steps") ? await timeSteps(names, options) : {};
  const networks = names.map((name) => ({ name, ...sizes(name), trainings: trainings[name], step: steps[name] }));
  show(networks, options);
  console.log(`\n${await save("nested", { machine: await machine(), options, recipe: RECIPE, networks })}`);
}

/** The words of a list, if all of them are known. */
function some(option, text, known) {
  const words = text.split(",");
  const unknown = words.find((word) => !known.includes(word));
  if (unknown !== undefined) throw new Error(`--${option}: expected some of ${known.join(", ")}, got ${unknown}`);
  return words;
}

function sizes(name) {
  const model = build(name);
  const [parameters, macs] = [model.numParameters, model.macs([1, 1, SIZE, SIZE])];
  model.dispose();
  return { parameters, macs };
}

/** What each seed's training ends at, by network. */
async function trainAll(names, { images, epochs, seeds, threads, batchSize }) {
  const { train: all, validation } = await fashionMnist({ source: "sample" });
  const train = all.take(images);
  console.log(`${train.length} images, ${validation.length} for validation, ${epochs} epochs, batch ${batchSize}\n`);
  const trainings = Object.fromEntries(names.map((name) => [name, []]));
  for (let seed = 1; seed <= seeds; seed += 1) {
    for (const name of names) {
      const model = build(name, { seed, threads });
      const { rows } = await fit(model, { train }, { ...RECIPE, epochs, batchSize });
      const [own, others] = [await evaluate(model, train), await evaluate(model, validation)];
      model.dispose();
      const result = { seed, loss: own.loss, accuracy: own.accuracy, validationLoss: others.loss, validationAccuracy: others.accuracy };
      const numbers = `loss ${own.loss.toFixed(4)}  validation loss ${others.loss.toFixed(4)}  accuracy ${others.accuracy.toFixed(4)}`;
      console.log(`seed ${seed}/${seeds}  ${name.padEnd(28)}  ${numbers}`);
      trainings[name].push({ ...result, rows });
    }
  }
  return trainings;
}

/** Seconds and peak memory by network. */
async function timeSteps(names, { threads, rounds, steps, batchSize }) {
  const sides = names.map((name) => nativeSide(name, { network: name, threads, batchSize, data: sample, channels: 1, size: SIZE }));
  try {
    for (const side of sides) await side.read();
    console.log(`\ntraining steps, 1x${SIZE}x${SIZE}, batch ${batchSize}, ${threads} threads, turns of ${steps} steps\n`);
    return await takeTurns(sides, "train", rounds, steps);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

/** Means and ranges over seeds; medians of steps. */
function show(networks, { images, epochs, batchSize }) {
  const { trainings, step } = networks[0];
  const trained = trainings ? ["training loss", "validation loss", "validation accuracy"] : [];
  const timed = step ? ["ms/step", "peak memory"] : [];
  const over = (results, of, digits) => {
    const values = results.map(of);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return `${mean.toFixed(digits)} (${range(values, digits)})`;
  };
  const rows = networks.map(({ name, parameters, macs, trainings, step }) => [
    name,
    ...[parameters, macs].map((count) => count.toLocaleString("en")),
    ...(trainings ? [over(trainings, ({ loss }) => loss, 4), over(trainings, ({ validationLoss }) => validationLoss, 3)] : []),
    ...(trainings ? [over(trainings, ({ validationAccuracy }) => validationAccuracy, 3)] : []),
    ...(step ? [(1e3 * step.median).toFixed(1), `${(step.peakBytes / 1e6).toFixed(0)} MB`] : []),
  ]);
  console.log(`\n${images} images, ${epochs} epochs, batch ${batchSize}; mean and range over seeds\n`);
  console.log(table(["", "parameters", "multiply-adds", ...trained, ...timed], rows));
}
