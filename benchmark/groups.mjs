// npm run bench -- groups: what a grouped convolution costs beside ci·co/g: a 3x3 convolution of 256 channels at 24x24,
// forward and both gradients, in 1 to 64 groups and with a group for each channel.
//
//   --threads N   default all cores
//   --rounds N    times all groups are gone through, default 5
//   --runs N      runs of each pass in a round, of which the median counts, default 3
//   --batch N     images, default 128
//
// The program that measures is crates/resnet-ops/examples/layers.rs.

import { table } from "../dist/table.js";
import { conv2d } from "../dist/index.js";
import { measureLayers } from "./layers.mjs";
import { parse, threads } from "./options.mjs";
import { machine, median, save } from "./report.mjs";

const PASSES = ["forward", "inputGradient", "weightGradient"];

export async function main(args) {
  const options = parse(args, { threads, rounds: 5, runs: 3, batch: 128 });
  const { rounds, ...settings } = options;
  // The same kernels for all: without groups there would be faster ones.
  const program = ["--groups", "--direct", ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])];
  const measured = [];
  for (let round = 1; round <= rounds; round += 1) {
    console.log(`round ${round}/${rounds}`);
    measured.push(await measureLayers(program));
  }
  const rows = measured[0].layers.map((layer, i) => {
    return row(layer, measured.map(({ layers }) => ({ one: layers[0], divided: layers[i] })), settings.batch);
  });
  show(rows, measured[0].layers[0], options);
  console.log(`\n${await save("groups", { machine: await machine(), options, rows, measured })}`);
}

/** Multiply-adds of an image, milliseconds of a pass over the batch, and times as ratios to one group's, round by round. */
function row({ channels: [input, output], groups, size }, rounds, batch) {
  const macs = conv2d(output, { kernelSize: 3, padding: 1, groups }).macs([1, input, size, size]);
  const passes = PASSES.map((pass) => 1e3 * median(rounds.map(({ divided }) => seconds(divided, pass))));
  const all = median(rounds.map(({ divided }) => total(divided)));
  const ratios = rounds.map(({ one, divided }) => total(divided) / total(one));
  const relative = { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
  // Three passes with as many multiply-adds each, and two operations in each.
  return { groups, macs, milliseconds: [...passes, 1e3 * all], gflops: (6e-9 * batch * macs) / all, relative, ideal: 1 / groups };
}

function seconds(layer, pass) {
  return layer.gflop / layer[pass];
}

function total(layer) {
  return PASSES.reduce((sum, pass) => sum + seconds(layer, pass), 0);
}

function show(rows, { channels: [input, output], size }, { threads, rounds, batch }) {
  console.log(`\n${input} to ${output} channels, 3x3, ${size}x${size}, batch ${batch}, ${threads} threads, medians over rounds (${rounds})\n`);
  const head = ["groups", "multiply-adds", "forward ms", "input grad. ms", "weight grad. ms", "all ms", "GF/s", "× 1 group", "from–to", "1/g"];
  const cells = rows.map(({ groups, macs, milliseconds, gflops, relative, ideal }) => {
    const { median: middle, lowest, highest } = relative;
    const times = milliseconds.map((value) => value.toFixed(1));
    const spread = `${lowest.toFixed(3)}–${highest.toFixed(3)}`;
    return [String(groups), macs.toLocaleString("en"), ...times, gflops.toFixed(0), middle.toFixed(3), spread, ideal.toFixed(3)];
  });
  console.log(table(head, cells));
}
