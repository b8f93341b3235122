// npm run bench -- layers: GF/s of the CPU convolution kernels on each layer of ResNet-18 at 1x96x96, as shares of the FMA peak
// that the same process measures, beside PyTorch's (oneDNN, channels_last), in turns.
//
//   --threads N   default all cores
//   --rounds N    times all layers are gone through, default 5
//   --runs N      runs of each pass in a round, of which the median counts, default 3
//   --batch N     images, default 128
//
// The programs that measure are crates/resnet-ops/examples/layers.rs and peers/torch_layers.py.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { table } from "../dist/table.js";
import { parse, threads } from "./options.mjs";
import { reasonOf } from "./peer.mjs";
import { TORCH, torchLayers } from "./peers.mjs";
import { machine, median, root, save } from "./report.mjs";
import { spread, spreadText } from "./turns.mjs";

export const PASSES = ["forward", "inputGradient", "weightGradient"];

export async function main(args) {
  const options = parse(args, { threads, rounds: 5, runs: 3, batch: 128 });
  const { rounds, ...peer } = await measureRounds([], options);
  show(rounds, options);
  console.log(`\n${await save("layers", { machine: await machine(), options, ...peer, rounds })}`);
}

/**
 * Rounds of `ours` (settings and layers) and `theirs` (layers, if PyTorch is found), GF/s by pass; beside them PyTorch's
 * versions, or why it is skipped.
 */
export async function measureRounds(program, { rounds: count, ...settings }) {
  const args = [...program, ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])];
  const peer = torchLayers(settings);
  try {
    const hello = await peer.read().catch((error) => ({ skipped: `${reasonOf(error)}; needs ${TORCH}` }));
    const rounds = [];
    for (let round = 1; round <= count; round += 1) {
      console.log(`round ${round}/${count}`);
      const ours = await measureOurs(args);
      const theirs = hello.skipped ? undefined : (await peer.ask({ layers: ours.layers, runs: settings.runs })).layers;
      rounds.push({ ours, ...(theirs && { theirs }) });
    }
    if (hello.skipped) console.log(`\nskipped: PyTorch (${hello.skipped})`);
    return { ...(hello.skipped ? { skipped: { PyTorch: hello.skipped } } : { versions: { PyTorch: hello } }), rounds };
  } finally {
    await peer.close();
  }
}

/** What our program measures; its table goes to the terminal. */
export async function measureOurs(args) {
  const cargo = ["run", "--quiet", "--release", "--package", "resnet-ops", "--example", "layers", "--", ...args];
  const child = spawn("cargo", cargo, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [output, [code]] = await Promise.all([text(child.stdout), ended]);
  if (code !== 0) process.exit(code ?? 1);
  const [settings, ...layers] = output.trim().split("\n").map((line) => JSON.parse(line));
  return { settings, layers };
}

/** Seconds of all passes of a layer at given rates: its own, or a peer's. */
export function total({ gflop }, rates) {
  return PASSES.reduce((sum, pass) => sum + (rates[pass] === null ? 0 : gflop / rates[pass]), 0);
}

function show(rounds, { threads, runs, batch }) {
  const [{ ours, theirs }] = rounds;
  const middle = (rate) => median(rounds.map(rate));
  const rows = ours.layers.map(({ layer, count }, i) => {
    const cells = PASSES.flatMap((pass) => {
      if (ours.layers[i][pass] === null) return ["", "", ""];
      const rate = middle(({ ours }) => ours.layers[i][pass]);
      const share = middle(({ ours }) => ours.layers[i][pass] / ours.settings.peakGflops);
      return [rate.toFixed(0), `${(100 * share).toFixed(0)} %`, theirs ? middle(({ theirs }) => theirs[i][pass]).toFixed(0) : ""];
    });
    return [layer, String(count), ...cells, peerRatio(rounds, [i])];
  });
  const everything = ours.layers.map((_, i) => i);
  rows.push(["all", "", ...PASSES.flatMap(() => ["", "", ""]), peerRatio(rounds, everything)]);
  const peak = middle(({ ours }) => ours.settings.peakGflops).toFixed(0);
  console.log(`\nGF/s on ${threads} threads, batch ${batch}, medians over rounds (${rounds.length} of ${runs} runs); FMA peak ${peak} GF/s\n`);
  const titles = ["forward", "input gradient", "weight gradient"].flatMap((pass) => [pass, "of peak", "oneDNN"]);
  console.log(table(["layer", "count", ...titles, "× by round"], rows));
}

/** How many times as long PyTorch took for some layers, as often as the network has them. */
export function peerRatio(rounds, indices) {
  if (!rounds[0].theirs) return "";
  const sum = (layers, rates) => indices.reduce((sum, i) => sum + layers[i].count * total(layers[i], rates[i]), 0);
  return spreadText(spread(rounds.map(({ ours, theirs }) => sum(ours.layers, theirs) / sum(ours.layers, ours.layers))));
}
