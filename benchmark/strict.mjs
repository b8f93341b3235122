// npm run bench -- strict: whether Winograd's kernels change what is learnt. The chapter's ResNet-18 at 1x96x96 on the carried
// sample, batch 32, SGD, learning rate 0.01, momentum 0.9, from the same seeds with `strict` and without.
//
//   --threads N   default all cores
//   --epochs N    default 1
//   --seeds N     seeds 1 to N, default 3

import { fashionMnist, fit, ResNet18, sgd } from "../dist/index.js";
import { table } from "../dist/table.js";
import { parse, threads } from "./options.mjs";
import { machine, save } from "./report.mjs";
import { range } from "./turns.mjs";

const RECIPE = { batchSize: 32, optimizer: sgd({ lr: 0.01, momentum: 0.9 }) };
/** Steps whose mean loss is a point of the curve. */
const POINT = 16;

export async function main(args) {
  const options = parse(args, { threads, epochs: 1, seeds: 3 });
  const data = await fashionMnist({ source: "sample", resize: 96 });
  const runs = [];
  for (let seed = 1; seed <= options.seeds; seed += 1) {
    for (const strict of [false, true]) {
      const curve = await train(data, { seed, strict, threads: options.threads }, options.epochs);
      console.log(`seed ${seed}/${options.seeds}  ${strict ? "strict " : "default"}  validation accuracy ${curve.validationAccuracy.toFixed(4)}`);
      runs.push({ seed, strict, ...curve });
    }
  }
  show(runs);
  console.log(`\n${await save("strict", { machine: await machine(), options, recipe: RECIPE, runs })}`);
}

/** Mean losses of every few steps, and the last epoch's validation. */
async function train(data, settings, epochs) {
  const model = new ResNet18(settings);
  const losses = [];
  const onStep = ({ loss, step, epoch }) => losses.push({ epoch, step, loss });
  const history = await fit(model, data, { ...RECIPE, epochs, seed: settings.seed, onStep });
  model.dispose();
  const points = [];
  for (let at = 0; at + POINT <= losses.length; at += POINT) {
    points.push(losses.slice(at, at + POINT).reduce((sum, { loss }) => sum + loss, 0) / POINT);
  }
  const { validationLoss, validationAccuracy } = history.rows.at(-1);
  return { points, validationLoss, validationAccuracy };
}

function show(runs) {
  const of = (strict, value) => runs.filter((run) => run.strict === strict).map(value);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const cells = (values) => `${mean(values).toFixed(3)} (${range(values, 3)})`;
  const row = (name, value) => [name, cells(of(false, value)), cells(of(true, value))];
  const rows = runs[0].points.map((_, i) => row(`loss, steps ${i * POINT + 1} to ${(i + 1) * POINT}`, ({ points }) => points[i]));
  rows.push(row("validation loss", ({ validationLoss }) => validationLoss));
  rows.push(row("validation accuracy", ({ validationAccuracy }) => validationAccuracy));
  console.log(`\nmean and range over seeds\n`);
  console.log(table(["", "default", "strict"], rows, 1));
}
