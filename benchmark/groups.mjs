// npm run bench -- groups: what a grouped convolution costs beside ci·co/g, and beside PyTorch (oneDNN, channels_last): a 3x3
// convolution of 256 channels at 24x24, forward and both gradients, in 1 to 64 groups and with a group for each channel.
//
//   --channels N   of input and output, default 256; numbers of groups that do not divide it are left out
//   --threads N    default all cores
//   --rounds N     times all groups are gone through, default 5
//   --runs N       runs of each pass in a round, of which the median counts, default 3
//   --batch N      images, default 128
//
// The programs that measure are those of layers.mjs.

import { table } from "../dist/table.js";
import { conv2d } from "../dist/index.js";
import { measureRounds, PASSES, peerRatio, total } from "./layers.mjs";
import { parse, threads } from "./options.mjs";
import { machine, median, save } from "./report.mjs";
import { spread } from "./turns.mjs";

export async function main(args) {
  const options = parse(args, { channels: 256, threads, rounds: 5, runs: 3, batch: 128 });
  // Direct kernels for all: with one group there would be faster ones, and the comparison would be another.
  const { rounds, ...peer } = await measureRounds(["--groups", "--direct"], options);
  const { layers } = rounds[0].ours;
  const rows = layers.map((layer, i) => row(layer, i, rounds, options.batch));
  show(rows, layers[0], options);
  console.log(`\n${await save("groups", { machine: await machine(), options, ...peer, rows, rounds })}`);
}

/**
 * Multiply-adds of an image, milliseconds of a pass over the batch, and ratios round by round: of its time to one group's, and
 * of PyTorch's time to its own.
 */
function row({ channels: [input, output], groups, size }, i, rounds, batch) {
  const macs = conv2d(output, { kernelSize: 3, padding: 1, groups }).macs([1, input, size, size]);
  const measured = rounds.map(({ ours: { layers } }) => ({ one: layers[0], divided: layers[i] }));
  const passes = PASSES.map((pass) => 1e3 * median(measured.map(({ divided }) => divided.gflop / divided[pass])));
  const all = median(measured.map(({ divided }) => total(divided, divided)));
  const relative = spread(measured.map(({ one, divided }) => total(divided, divided) / total(one, one)));
  // Three passes with as many multiply-adds each, and two operations in each.
  const gflops = (6e-9 * batch * macs) / all;
  return { groups, macs, milliseconds: [...passes, 1e3 * all], gflops, relative, ideal: 1 / groups, torch: peerRatio(rounds, [i]) };
}

function show(rows, { channels: [input, output], size }, { threads, rounds, batch }) {
  console.log(`\n${input} to ${output} channels, 3x3, ${size}x${size}, batch ${batch}, ${threads} threads, medians over rounds (${rounds})\n`);
  const times = ["forward ms", "input grad. ms", "weight grad. ms", "all ms"];
  const head = ["groups", "multiply-adds", ...times, "GF/s", "× 1 group", "from–to", "1/g", "PyTorch ×"];
  const cells = rows.map(({ groups, macs, milliseconds, gflops, relative, ideal, torch }) => {
    const { median: middle, lowest, highest } = relative;
    const times = milliseconds.map((value) => value.toFixed(1));
    const between = `${lowest.toFixed(3)}–${highest.toFixed(3)}`;
    return [String(groups), macs.toLocaleString("en"), ...times, gflops.toFixed(0), middle.toFixed(3), between, ideal.toFixed(3), torch];
  });
  console.log(table(head, cells));
}
