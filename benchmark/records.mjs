// npm run bench -- records: trains a record's networks anew, one for each seed. What is told: each epoch, the seconds of training and the accuracy
// on Fashion-MNIST's test images, which are looked at once, when a network is done.
//
//   --record NAME    one of benchmark/records, default fashion-mnist-94
//   --seeds N        default 3
//   --threads N      default all cores
//   --part PART      test (default): trains on all training images; choosing: on all but the last 5,000, measured on those, as when the recipe was found
//   --sides A,B      native (default) and torch, the same in PyTorch, which take turns
//   --epochs N       only the first N epochs, by the whole run's schedule, to compare curves and time: nothing is measured in the end
//   --checkpoint DIR where native runs keep what is done, so that the same command goes on after it was stopped
//
// Fashion-MNIST is looked for where fashionMnist() looks; its decoding is not in the seconds, its augmentation is.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { evaluate, fashionMnist, fit } from "../dist/index.js";
import { holdOut } from "./held-out.mjs";
import { makeSides, parse, threads } from "./options.mjs";
import { torchRecord } from "./peers.mjs";
import { machine, meanAndDeviation, save } from "./report.mjs";

export async function main(args) {
  const options = parse(args, { record: "fashion-mnist-94", seeds: 3, threads, part: "test", sides: "native", epochs: 1e4, checkpoint: "" });
  const { default: record } = await import(`./records/${options.record}.mjs`);
  const data = await parts(options.part);
  if (options.part !== "test" && options.sides !== "native") throw new Error("--sides: expected native where the test images stay unseen");
  const makers = { native: () => native(record, data, options), torch: () => torchRecord({ threads: options.threads, recipe: record.recipe }) };
  const sides = makeSides(options.sides, makers);
  const results = [];
  const { cpu, cores, node } = await machine();
  console.log(`${options.record}: ${cpu}, ${options.threads} of ${cores} cores, Node ${node}`);
  try {
    for (let seed = 1; seed <= options.seeds; seed += 1) {
      for (const side of sides) {
        const { rows, accuracy } = await side.ask({ seed, epochs: Math.min(options.epochs, record.recipe.epochs) });
        const seconds = rows.reduce((sum, row) => sum + row.seconds, 0);
        for (const [i, row] of rows.entries()) console.log(`${side.name}  seed ${seed}  epoch ${i + 1}  loss ${row.loss.toFixed(4)}  accuracy ${percent(row.accuracy)}`);
        const measured = accuracy === undefined ? "" : `  ${options.part} ${percent(accuracy)} %`;
        console.log(`${side.name}  seed ${seed}${measured}  ${seconds.toFixed(1)} s`);
        results.push({ side: side.name, seed, accuracy, seconds, rows });
      }
    }
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
  for (const { name } of sides) {
    const own = results.filter(({ side }) => side === name);
    const figures = [["%", own.flatMap(({ accuracy }) => accuracy === undefined ? [] : [100 * accuracy])], ["s", own.map(({ seconds }) => seconds)]];
    const told = figures.filter(([, values]) => values.length > 0).map(([unit, values]) => `${meanAndDeviation(values)} ${unit}`);
    console.log(`${name}: ${told.join(", ")}${own.length > 1 ? `, mean and standard deviation of ${own.length}` : ""}`);
  }
  console.log(await save("records", { machine: await machine(), options, results }));
}

/** What is trained on, and what is measured in the end. */
async function parts(part) {
  if (part !== "test" && part !== "choosing") throw new Error(`--part: expected test or choosing, got ${part}`);
  const data = await fashionMnist();
  return part === "test" ? data : holdOut(data.train);
}

function native({ network, recipe, options, flips }, { train, validation }, { threads, checkpoint }) {
  return {
    name: "resnet-native",
    async ask({ seed, epochs }) {
      const model = network({ seed, threads });
      const dir = join(checkpoint, `seed-${seed}`);
      const kept = checkpoint === "" ? {} : { checkpoint: { dir }, ...(existsSync(dir) && { resume: dir }) };
      const stop = new AbortController();
      const onEpochEnd = ({ epoch }) => epoch === epochs && epochs < recipe.epochs && stop.abort(new Error("cut short"));
      try {
        const { rows } = await fit(model, { train }, { ...options, ...kept, onEpochEnd, signal: stop.signal });
        const { accuracy } = await evaluate(model, validation, { flips });
        return { rows, accuracy };
      } catch (error) {
        if (error !== stop.signal.reason) throw error;
        return { rows: error.history.rows };
      } finally {
        model.dispose();
      }
    },
    async close() {},
  };
}

const percent = (share) => (100 * share).toFixed(2);
