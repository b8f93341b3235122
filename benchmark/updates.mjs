// npm run bench -- updates: what averages of the weights, clipping by norm and AdamW add to a step of plain SGD. Two runs of the chapter's
// ResNet-18 (1x96x96) in one process take turns, step by step; each step's time is that from its epoch's beginning, an epoch being
// one batch, so that the exchange of weights and averages at an epoch's end does not count.
//
//   --threads N      default all cores
//   --rounds N       steps of each side, default 20
//   --batch-size N   default 128

import { setTimeout as pause } from "node:timers/promises";
import { adamw, fit, fromArrays, ResNet18, sgd } from "../dist/index.js";
import { parse, threads } from "./options.mjs";
import { median } from "./report.mjs";

const sides = {
  sgd: { optimizer: sgd({ lr: 1e-3 }) },
  adamw: { optimizer: adamw() },
  "adamw, clipNorm": { optimizer: adamw(), clipNorm: 1 },
  "adamw, clipNorm, ema": { optimizer: adamw(), clipNorm: 1, ema: 0.999 },
};
const WARM_UP = 3;

export async function main(args) {
  const { batchSize, rounds, ...options } = parse(args, { threads, rounds: 20, batchSize: 128 });
  const pixels = batchSize * 96 * 96;
  const images = new Uint8Array(pixels).map((_, i) => (i * 2654435761) >>> 24);
  const data = fromArrays({ images, shape: [batchSize, 1, 96, 96], labels: Array.from({ length: batchSize }, (_, i) => i % 10) });
  const runs = Object.values(sides).map((side) => steps(data, { ...side, batchSize, epochs: WARM_UP + rounds }, options));
  const seconds = runs.map(() => []);
  for (let round = 0; round < WARM_UP + rounds; round++) {
    for (const [i, run] of runs.entries()) {
      // The other side's threads sleep by then.
      await pause(20);
      const took = await run();
      if (round >= WARM_UP) seconds[i].push(took);
    }
  }
  for (const [i, name] of Object.keys(sides).entries()) {
    const ratios = seconds[i].map((own, round) => own / seconds[0][round]);
    const least = Math.min(...seconds[i]) / Math.min(...seconds[0]);
    const [own, shortest] = [median(seconds[i]), Math.min(...seconds[i])].map((value) => (1e3 * value).toFixed(1));
    console.log(`${name.padEnd(22)} ${own} ms, at least ${shortest}; to sgd ${median(ratios).toFixed(3)}, of the shortest ${least.toFixed(3)}`);
  }
  process.exit();
}

/** A function that makes the next step of a run and gives its seconds. */
function steps(data, options, modelOptions) {
  let [begin, waiting, began] = [undefined, undefined, 0];
  const onEpochBegin = async () => {
    await new Promise((resolve) => (begin = resolve) && waiting?.());
    began = performance.now();
  };
  let told;
  const onStep = () => told((performance.now() - began) / 1e3);
  const model = new ResNet18({ numClasses: 10, seed: 1, ...modelOptions });
  fit(model, data, { ...options, onEpochBegin, onStep }).catch((error) => {
    console.error(error);
    process.exit(1);
  });
  return async () => {
    if (begin === undefined) await new Promise((resolve) => (waiting = resolve));
    const [step, go] = [new Promise((resolve) => (told = resolve)), begin];
    begin = undefined;
    go();
    return await step;
  };
}
