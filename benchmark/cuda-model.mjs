// npm run bench -- cuda-model: what a training step on an NVIDIA GPU should take, kernel by kernel, without one: a model, not a measurement.
// From the launches that a GPU on paper writes down, each with the bytes that it must move (crates/resnet-ops/src/cuda/traffic.rs), and
// cuDNN's convolutions. A launch takes a fixed time, and its bytes at the card's bandwidth; one of fewer blocks than the card has
// processors has that share of the bandwidth. A convolution takes its operations at a share of the card's peak, or its bytes. Occupancy is
// that of nvcc's machine code, where there is nvcc ($CUDA_HOME/bin or the path); it is shown, and counts for nothing. Left out: caches, what
// kernels compute, cuDNN's own choices, and what travels between host and GPU.
//
//   --network NAME     default resnet18
//   --precision NAME   bf16 (default), tf32 or fp32
//   --batch N          images, default 128
//   --size N           their height and width, default 96
//   --channels N       default 1
//   --bandwidth N      GB/s, default 4800
//   --processors N     default 132
//   --launch N         ns, default 2200: assumed, for starting and ending a kernel of a CUDA graph
//   --tflops N         peak of the precision, by default bf16 989, tf32 494, fp32 67
//   --share N          per cent of the peak that convolutions come to, default 30: assumed, from 300 TFLOP/s on an H100
//
// The defaults are an H200 SXM's, by NVIDIA's data sheet (tensor cores without sparsity), and 132 processors by the Hopper architecture's
// paper.

import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { table } from "../dist/table.js";
import { compile, kernels } from "../scripts/cuda/compiled.mjs";
import { output } from "../scripts/steps.mjs";
import { parse } from "./options.mjs";
import { root, save } from "./report.mjs";

const CARD = { bandwidth: 4800, processors: 132, launch: 2200, share: 30 };
const PEAKS = { bf16: 989, tf32: 494, fp32: 67 };

/** Of compute capability 9.0, by the CUDA programming guide and the Hopper tuning guide; registers go to warps in 256s. */
const PROCESSOR = { warps: 64, blocks: 32, registers: 65_536, shared: 233_472, sharedOfBlock: 1024 };
const WARP = 32;

export async function main(args) {
  const step = { network: "resnet18", precision: "bf16", batch: 128, size: 96, channels: 1 };
  const { tflops, ...options } = parse(args, { ...step, ...CARD, tflops: "" });
  if (!Object.hasOwn(PEAKS, options.precision)) throw new Error(`--precision: expected ${Object.keys(PEAKS).join(", ")}, got ${options.precision}`);
  const card = { ...options, tflops: tflops === "" ? PEAKS[options.precision] : Number(tflops) };
  if (!(card.tflops > 0)) throw new Error(`--tflops: expected a number above 0, got ${tflops}`);
  const asked = onPaper(Object.keys(step).flatMap((name) => [`--${name}`, String(options[name])]));
  const rows = estimate(asked, card, machineCode());
  show(rows, asked, card);
  console.log(`\n${await save("cuda-model", { isModel: true, options: card, rows })}`);
}

/** What crates/resnet-core/examples/launches.rs writes, built as the tests are. */
function onPaper(words) {
  const built = ["build", "--quiet", "--locked", "-p", "resnet-ops", "-p", "resnet-core", "--example", "launches"];
  execFileSync("cargo", built, { cwd: root, stdio: "inherit" });
  const program = join(process.env["CARGO_TARGET_DIR"] ?? join(root, "target"), "debug/examples/launches");
  const { status, stdout, stderr, error } = spawnSync(program, words, { encoding: "utf8", maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(error?.message ?? stderr.trim());
  return JSON.parse(stdout);
}

/** What nvcc makes of the kernels for compute capability 9.0; nothing where there is none. */
function machineCode() {
  const home = process.env["CUDA_HOME"];
  const nvcc = home ? join(home, "bin/nvcc") : "nvcc";
  if (!output(nvcc, "--version")) return [];
  return kernels(compile(nvcc, join(root, "crates/resnet-ops/src"), join(root, "target/compiled"), 90));
}

/** The share of a processor's warps that blocks of so many threads can fill. */
export function occupancy({ registers, shared }, threads) {
  const warps = Math.ceil(threads / WARP);
  const ofWarp = Math.ceil((registers * WARP) / 256) * 256;
  const blocks = Math.min(
    PROCESSOR.blocks,
    Math.floor(PROCESSOR.warps / warps),
    Math.floor(PROCESSOR.registers / (ofWarp * warps)),
    Math.floor(PROCESSOR.shared / (shared + PROCESSOR.sharedOfBlock)),
  );
  return (blocks * warps) / PROCESSOR.warps;
}

/** Kernels and passes of convolutions, the longest first: launches, bytes, operations, µs of moving or computing and of launching, occupancy. */
export function estimate({ launches, convolutions }, card, code) {
  const rows = new Map();
  const add = (name, bytes, operations, work, occupied) => {
    const row = rows.get(name) ?? { name, launches: 0, bytes: 0, operations: 0, work: 0, launching: 0 };
    row.launches += 1;
    row.bytes += bytes;
    row.operations += operations;
    row.work += work;
    row.launching += card.launch / 1e3;
    if (occupied !== undefined) row.occupancy = Math.min(row.occupancy ?? 1, occupied);
    rows.set(name, row);
  };
  const moved = (bytes) => bytes / (card.bandwidth * 1e3);
  for (const { kernel, blocks, threads, bytes } of launches) {
    const found = code.find(({ name }) => name === kernel);
    const filled = Math.min(1, blocks / card.processors);
    add(kernel.replace(/_(bf16|f32)$/, ""), bytes, 0, moved(bytes) / filled, found && occupancy(found, threads));
  }
  for (const { pass, multiplyAdds, bytes } of convolutions) {
    const operations = 2 * multiplyAdds;
    add(`cuDNN, ${pass}`, bytes, operations, Math.max(operations / (card.tflops * 1e4 * card.share), moved(bytes)));
  }
  const all = [...rows.values()].map((row) => ({ ...row, time: row.work + row.launching }));
  const sum = all.reduce((total, { time }) => total + time, 0);
  return all.map((row) => ({ ...row, share: row.time / sum })).toSorted((a, b) => b.time - a.time);
}

function show(rows, { uploads, downloads }, card) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const line = ({ name, launches, bytes, operations, work, launching, time, share, occupancy: occupied }) => [
    name,
    String(launches),
    (bytes / 1e6).toFixed(1),
    operations > 0 ? (operations / 1e9).toFixed(0) : "",
    work.toFixed(0),
    launching.toFixed(0),
    time.toFixed(0),
    percent(share),
    occupied === undefined ? "" : `${Math.round(100 * occupied)} %`,
  ];
  const total = (name) => rows.reduce((sum, row) => sum + row[name], 0);
  const names = ["launches", "bytes", "operations", "work", "launching", "time", "share"];
  const sum = { name: "all", ...Object.fromEntries(names.map((name) => [name, total(name)])) };
  const { network, batch, channels, size, precision, bandwidth, processors, launch, tflops, share } = card;
  console.log(`A model, not a measurement: a step of ${network}, batch ${batch} of ${channels}x${size}x${size}, ${precision}, on a card with`);
  console.log(`${bandwidth} GB/s, ${processors} processors, ${launch} ns a launch, convolutions at ${share} % of ${tflops} TFLOP/s\n`);
  const head = ["kernel", "launches", "MB", "GFLOP", "µs at work", "µs launching", "µs", "share", "occupancy"];
  console.log(table(head, [...rows, sum].map(line), 1));
  console.log(`\n${(sum.time / 1e3).toFixed(2)} ms a step, ${Math.round((batch * 1e6) / sum.time).toLocaleString("en")} images/s`);
  const bytes = (copies) => (copies.reduce((all, copy) => all + copy, 0) / 1e6).toFixed(2);
  console.log(`not counted: ${bytes(uploads)} MB to the GPU, which may travel meanwhile, ${bytes(downloads)} MB from it`);
  if (!rows.some((row) => row.occupancy !== undefined)) console.log("no occupancies: there is no nvcc in $CUDA_HOME/bin or on the path");
}
