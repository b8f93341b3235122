// npm run bench -- recipes: which optimiser and schedule train best within so many epochs, and so what fit() takes where it is given none. Each
// recipe trains the same network with the same seeds on each set of data; the table has the accuracy on the validation set after the last
// epoch, in %, mean and standard deviation over seeds.
//
//   --sets A,B,…     fashion-mnist: the first --images of its training images at 28x28, measured on its last 5,000 of them (its test images stay unseen);
//                    FOLDER:SIZE:EPOCHS, a folder of pictures with train and val in it, or else a fifth of it for validation;
//                    default fashion-mnist
//   --images N       of Fashion-MNIST, default 6000
//   --epochs N       on Fashion-MNIST, default 5
//   --seeds N        default 3
//   --threads N      default all cores
//
// Up to 32x32 the network is the CIFAR ResNet-20, above it ResNet-18. Each result is written as it comes.

import { basename } from "node:path";
import { adamw, CifarResNet, fashionMnist, fit, imageFolder, oneCycle, ResNet18, sgd } from "../dist/index.js";
import { table } from "../dist/table.js";
import { holdOut } from "./held-out.mjs";
import { parse, threads } from "./options.mjs";
import { machine, meanAndDeviation, save } from "./report.mjs";

const rising = oneCycle({ rise: 0.2, divFactor: 10 });

const RECIPES = {
  "sgd()": { optimizer: sgd() },
  "adamw as in PyTorch": { optimizer: adamw({ lr: 1e-3, weightDecay: 0.01, decayNormsAndBiases: true }) },
  "fit without options": {},
  "the same at 0.05": { optimizer: sgd({ lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 5e-4, decayNormsAndBiases: false }), schedule: rising },
  "adamw 1e-3, one cycle": { optimizer: adamw({ lr: 1e-3, weightDecay: 0.05 }), schedule: rising },
};

export async function main(args) {
  const options = parse(args, { sets: "fashion-mnist", images: 6000, epochs: 5, seeds: 3, threads });
  const recipes = Object.keys(RECIPES);
  const results = [];
  const sets = options.sets.split(",");
  for (const set of sets) {
    const { data, make, epochs } = await openSet(set, options);
    for (let seed = 1; seed <= options.seeds; seed += 1) {
      for (const name of recipes) {
        const model = make(seed);
        const began = performance.now();
        const { rows } = await fit(model, data, { epochs, ...RECIPES[name], validateEvery: { epochs } });
        const { validationAccuracy: accuracy, loss } = rows.at(-1);
        model.dispose();
        console.log(`${set}  seed ${seed}  ${name.padEnd(27)} ${(100 * accuracy).toFixed(2)} %  loss ${loss.toFixed(3)}  ${((performance.now() - began) / 1000).toFixed(0)} s`);
        results.push({ set, seed, recipe: name, accuracy });
      }
    }
  }
  const rows = recipes.map((recipe) => [recipe, ...sets.map((set) => meanAndDeviation(accuracies(results, set, recipe)))]);
  console.log(`\n${table(["recipe", ...sets.map((set) => basename(set))], rows, 1)}`);
  console.log(`\n${await save("recipes", { machine: await machine(), options, results })}`);
}

function accuracies(results, set, recipe) {
  return results.filter((one) => one.set === set && one.recipe === recipe).map(({ accuracy }) => 100 * accuracy);
}

async function openSet(set, { images, epochs, threads }) {
  if (set === "fashion-mnist") {
    const { train } = await fashionMnist();
    const held = holdOut(train);
    const make = (seed) => new CifarResNet({ depth: 20, inChannels: 1, seed, threads });
    return { data: { train: held.train.take(images), validation: held.validation }, make, epochs };
  }
  const [folder, size, times] = set.split(":");
  const reading = { size: Number(size), onError: "skip" };
  const own = await imageFolder(folder, reading);
  const data = own.validation ? own : await imageFolder(folder, { ...reading, split: 0.2 });
  const numClasses = data.train.numClasses;
  const make = (seed) => Number(size) > 32 ? new ResNet18({ inChannels: 3, numClasses, seed, threads }) : new CifarResNet({ depth: 20, numClasses, seed, threads });
  return { data, make, epochs: Number(times) };
}
