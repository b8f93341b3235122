// npm run bench -- scaling: how the time of a training step grows, 1x96x96, SGD, loader included. With the batch (ResNet-18) and
// with the multiply-adds of ResNet-18 to ResNet-152 it should be a straight line; with threads it should fall as that of a loop
// of nothing but multiply-adds does. Networks take turns, each in a process of its own.
//
//   --threads N      most threads, default all cores
//   --batches A,B    default 8,16,32,64,128,256,512
//   --networks A,B   default ResNet-18,ResNet-34,ResNet-50,ResNet-101,ResNet-152, at --batch-size
//   --batch-size N   of networks and threads, default 32
//   --rounds N       turns of each, default 5
//   --steps N        steps in a turn, default 3

import { writeFile } from "node:fs/promises";
import { table } from "../dist/table.js";
import { measureOurs } from "./layers.mjs";
import { build } from "./networks.mjs";
import { parse, sample, threads } from "./options.mjs";
import { machine, save } from "./report.mjs";
import { lineChart } from "./line_chart.mjs";
import { nativeSide, ratio, spread, spreadText, takeTurns } from "./turns.mjs";

const [SIZE, FIRST] = [96, "ResNet-18"];
const depths = ["ResNet-18", "ResNet-34", "ResNet-50", "ResNet-101", "ResNet-152"];

export async function main(args) {
  const lists = { batches: "8,16,32,64,128,256,512", networks: depths.join(",") };
  const options = parse(args, { ...lists, threads, batchSize: 32, rounds: 5, steps: 3 });
  const common = { network: FIRST, threads: options.threads, batchSize: options.batchSize };
  const byBatch = await measure("batch", options.batches.split(",").map((batch) => [batch, { ...common, batchSize: Number(batch) }]), options);
  const byNetwork = await measure("network", options.networks.split(",").map((network) => [network, { ...common, network }]), options);
  const byThreads = await measureThreads(common, options);
  const lines = {
    batch: fit(Object.entries(byBatch).map(([batch, { median: seconds }]) => ({ at: Number(batch), seconds, name: batch }))),
    network: fit(Object.entries(byNetwork).map(([name, { median: seconds }]) => ({ at: macs(name) * options.batchSize * 1e-9, seconds, name }))),
  };
  show(lines, byThreads, options);
  const file = await save("scaling", { machine: await machine(), options, byBatch, byNetwork, byThreads, lines });
  const axes = { batch: "images in a batch (ResNet-18)", network: `10⁹ multiply-adds (${options.networks}, batch ${options.batchSize})` };
  for (const [name, line] of Object.entries(lines)) {
    const chart = file.replace(/\.json$/, `-${name}.svg`);
    await writeFile(chart, lineChart(line, { across: axes[name], up: "seconds a step" }));
    console.log(chart);
  }
  console.log(file);
}

/** Training steps of sides that take turns, by name. */
async function measure(what, settings, { rounds, steps }) {
  console.log(`\nby ${what}\n`);
  const sides = settings.map(([name, side]) => nativeSide(name, { ...side, data: sample, channels: 1, size: SIZE }));
  try {
    for (const side of sides) await side.read();
    return await takeTurns(sides, "train", rounds, steps);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

/** Speed on all threads as a multiple of that on one, of the step and of a loop of multiply-adds, in the same minutes. */
async function measureThreads(common, options) {
  const counts = [1, options.threads];
  const loops = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const [one, all] = [await peak(counts[0]), await peak(counts[1])];
    loops.push(all / one);
  }
  const settings = counts.map((threads) => [`${threads} threads`, { ...common, threads }]);
  const steps = await measure("threads", settings, options);
  const [one, all] = settings.map(([name]) => steps[name]);
  return { threads: options.threads, steps, speedup: ratio(all, one), loop: spread(loops) };
}

async function peak(threads) {
  const { settings } = await measureOurs(["--peak", "--threads", String(threads)]);
  return settings.peakGflops;
}

/** Multiply-adds of an image. */
function macs(network) {
  const model = build(network);
  const count = model.macs([1, 1, SIZE, SIZE]);
  model.dispose();
  return count;
}

/** The line of least squares through points, and how much of their variance it leaves. */
function fit(points) {
  const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [at, seconds] = [mean((point) => point.at), mean((point) => point.seconds)];
  const spread = mean((point) => (point.at - at) ** 2);
  const slope = mean((point) => (point.at - at) * (point.seconds - seconds)) / spread;
  const start = seconds - slope * at;
  const left = mean((point) => (point.seconds - start - slope * point.at) ** 2);
  return { points, slope, start, r2: 1 - left / mean((point) => (point.seconds - seconds) ** 2) };
}

function show(lines, { threads, speedup, loop }, { batchSize, rounds, steps }) {
  console.log(`\nmedians of ${rounds * steps} steps on ${threads} threads\n`);
  for (const [name, { points, slope, start, r2 }] of Object.entries(lines)) {
    const rows = points.map(({ name, at, seconds }) => {
      return [name, at.toFixed(1), seconds.toFixed(3), (start + slope * at).toFixed(3), (seconds / at).toPrecision(3)];
    });
    const unit = name === "batch" ? "images" : "10⁹ multiply-adds";
    console.log(table([name, unit, "s/step", "line", `s / ${unit}`], rows));
    console.log(`line: ${start.toFixed(3)} s + ${slope.toPrecision(3)} s × ${unit}; R² ${r2.toFixed(4)}\n`);
  }
  console.log(`1 to ${threads} threads, batch ${batchSize}: ${spreadText(speedup)}; loop of multiply-adds ${spreadText(loop)}`);
}
