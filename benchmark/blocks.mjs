// npm run bench -- blocks: residual blocks beside Inception's, as networks of d2l.ai at 1x96x96 with ten classes: parameters,
// multiply-adds, time and peak memory of a training step (networks in turns, each in a process of its own), and accuracy
// after the same short training on the carried sample: batch 32, SGD, learning rate 0.01, momentum 0.9.
//
//   --threads N      threads of each network, default all cores
//   --rounds N       turns of each network, default 5
//   --steps N        steps in a turn, default 3
//   --batch-size N   of the steps that are timed, default 128
//   --epochs N       of the training, default 6
//   --seeds N        trainings of each network, from seeds 1 to N, default 3

import { fashionMnist, fit, sgd } from "../dist/index.js";
import { table } from "../dist/table.js";
import { build } from "./networks.mjs";
import { parse, sample, threads } from "./options.mjs";
import { machine, save } from "./report.mjs";
import { nativeSide, range, ratio, spreadText, takeTurns } from "./turns.mjs";

const names = ["ResNet-18", "ResNeXt-18", "pre-activation ResNet-18", "GoogLeNet", "GoogLeNet with norms"];
/** Height and width. */
const SIZE = 96;
const RECIPE = { batchSize: 32, optimizer: sgd({ lr: 0.01, momentum: 0.9 }) };

export async function main(args) {
  const options = parse(args, { threads, rounds: 5, steps: 3, batchSize: 128, epochs: 6, seeds: 3 });
  const steps = await timeSteps(options);
  const trainings = await trainAll(options);
  const networks = names.map((name) => ({ name, ...sizes(name), step: steps[name], trainings: trainings[name] }));
  show(networks, options);
  console.log(`\n${await save("blocks", { machine: await machine(), options, recipe: RECIPE, networks })}`);
}

function sizes(name) {
  const model = build(name);
  const [parameters, macs] = [model.numParameters, model.macs([1, 1, SIZE, SIZE])];
  model.dispose();
  return { parameters, macs };
}

/** Seconds and peak memory by network. */
async function timeSteps({ threads, rounds, steps, batchSize }) {
  const sides = names.map((name) => nativeSide(name, { network: name, threads, batchSize, data: sample, channels: 1, size: SIZE }));
  try {
    for (const side of sides) await side.read();
    console.log(`training steps, 1x${SIZE}x${SIZE}, batch ${batchSize}, ${threads} threads, turns of ${steps} steps\n`);
    return await takeTurns(sides, "train", rounds, steps);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

/** The epochs of every seed by network. */
async function trainAll({ threads, epochs, seeds }) {
  const data = await fashionMnist({ source: "sample", resize: SIZE });
  const { lr, momentum } = RECIPE.optimizer;
  console.log(`\n${data.train.length} images, batch ${RECIPE.batchSize}, SGD, lr ${lr}, momentum ${momentum}\n`);
  const trainings = Object.fromEntries(names.map((name) => [name, []]));
  for (let seed = 1; seed <= seeds; seed += 1) {
    for (const name of names) {
      const model = build(name, { seed, threads });
      const onEpochEnd = ({ epoch, loss, validationAccuracy, seconds }) => {
        const results = `loss ${loss.toFixed(4)}  validation accuracy ${validationAccuracy.toFixed(4)}  ${seconds.toFixed(0)} s`;
        console.log(`seed ${seed}/${seeds}  ${name}  epoch ${epoch}/${epochs}  ${results}`);
      };
      const history = await fit(model, data, { ...RECIPE, epochs, onEpochEnd });
      trainings[name].push({ seed, epochs: history.rows });
      model.dispose();
    }
  }
  return trainings;
}

/** Accuracies are shown in the middle of the training and at its end. */
function show(networks, { batchSize, epochs }) {
  const shown = [...new Set([Math.ceil(epochs / 2), epochs])];
  const [first] = networks;
  const head = ["", "parameters", "multiply-adds", "s/step", "from–to", `× ${first.name}`, "peak memory"];
  const rows = networks.map(({ name, parameters, macs, step, trainings }) => {
    const relative = spreadText(ratio(first.step, step));
    const memory = `${(step.peakBytes / 1e6).toFixed(0)} MB`;
    const accuracies = shown.map((epoch) => {
      const values = trainings.map(({ epochs }) => epochs[epoch - 1].validationAccuracy);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return `${mean.toFixed(3)} (${range(values, 3)})`;
    });
    const counts = [parameters, macs].map((count) => count.toLocaleString("en"));
    return [name, ...counts, step.median.toFixed(3), range(step.seconds.flat(), 3), relative, memory, ...accuracies];
  });
  const after = shown.map((epoch) => `accuracy, epoch ${epoch}`);
  console.log(`\nsteps of batch ${batchSize}; accuracy on the validation images: mean and range over seeds\n`);
  console.log(table([...head, ...after], rows));
}
