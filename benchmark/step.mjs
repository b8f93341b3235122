// npm run bench: the training step of the chapter's ResNet-18 (1x96x96, batch 128, SGD, loader included), and inference,
// interleaved with PyTorch eager in its default layout, each side in a process of its own.
//
//   --threads N      threads of each side, default all cores
//   --rounds N       turns of each side, default 5
//   --steps N        steps in a turn, default 3
//   --batch-size N   default 128
//   --data FOLDER    the four Fashion-MNIST files, default the carried sample
//
// RESNET_NATIVE_PYTHON names a Python that has torch; default python3.

import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "../dist/table.js";
import { Peer } from "./peer.mjs";
import { machine, median, root, save } from "./report.mjs";

const SIZE = 96;
const WARM_UP = 3;
/** Milliseconds between turns, so that one side's threads sleep when the other's start. */
const REST = 300;
/** Times each side takes its turn to predict, and how many batches then. */
const PREDICT = { rounds: 4, steps: 3 };

export async function main(args) {
  const options = parse(args);
  const sides = [native(options)];
  const torch = peerPython();
  if (torch.found) sides.push(pytorch(torch.python, options));
  else console.log(torch.missing);
  try {
    const hello = {};
    for (const side of sides) hello[side.name] = await side.read();
    const { threads, batchSize, rounds, steps } = options;
    console.log(`ResNet-18, 1x${SIZE}x${SIZE}, batch ${batchSize}, ${threads} threads a side, turns of ${steps} steps\n`);
    // Memory is read before inference: training alone is compared.
    const train = await interleave(sides, "train", rounds, steps);
    const predict = await interleave(sides, "predict", PREDICT.rounds, PREDICT.steps);
    show(train, predict, batchSize);
    const result = { machine: await machine(), peer: hello["PyTorch"], options, train, predict };
    console.log(`\n${await save("step", result)}`);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

function parse(args) {
  const { values } = parseArgs({
    args,
    options: {
      threads: { type: "string", default: String(availableParallelism()) },
      rounds: { type: "string", default: "5" },
      steps: { type: "string", default: "3" },
      "batch-size": { type: "string", default: "128" },
      data: { type: "string", default: join(root, "data/fashion-mnist-sample") },
    },
  });
  const number = (name) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: expected an integer of at least 1, got ${values[name]}`);
    return value;
  };
  const [threads, rounds, steps, batchSize] = ["threads", "rounds", "steps", "batch-size"].map(number);
  return { threads, rounds, steps, batchSize, data: values.data };
}

function peerFile(name) {
  return fileURLToPath(new URL(`peers/${name}`, import.meta.url));
}

function common({ threads, batchSize }) {
  return ["--threads", threads, "--batch-size", batchSize, "--size", SIZE].map(String);
}

function native(options) {
  return new Peer("resnet-native", process.execPath, [peerFile("native_step.mjs"), "--data", options.data, ...common(options)]);
}

function pytorch(python, options) {
  const files = ["images", "labels"].flatMap((part, i) => {
    return [`--${part}`, join(options.data, `train-${part}-idx${i ? 1 : 3}-ubyte.gz`)];
  });
  return new Peer("PyTorch", python, [peerFile("torch_step.py"), ...files, ...common(options)]);
}

function peerPython() {
  const python = process.env["RESNET_NATIVE_PYTHON"] ?? "python3";
  if (spawnSync(python, ["-c", "import torch"]).status === 0) return { found: true, python };
  const how = "python3 -m pip install torch==2.13.0 numpy, or name a Python that has it in RESNET_NATIVE_PYTHON";
  return { found: false, missing: `PyTorch: left out, ${python} cannot import torch. To compare: ${how}\n` };
}

/** Lets the sides take turns; seconds of every step by turn, medians, and the ratio of the last side to the first. */
async function interleave(sides, run, rounds, steps) {
  const turns = Object.fromEntries(sides.map(({ name }) => [name, []]));
  const peak = {};
  for (const side of sides) await side.ask({ run, steps: WARM_UP });
  for (let round = 1; round <= rounds; round += 1) {
    for (const side of sides) {
      await pause(REST);
      const answer = await side.ask({ run, steps });
      turns[side.name].push(answer.seconds);
      peak[side.name] = answer.peakBytes;
      const each = median(answer.seconds).toFixed(3);
      console.log(`${run} ${round}/${rounds}  ${side.name.padEnd(13)}  ${each} s`);
    }
  }
  const result = Object.fromEntries(
    sides.map(({ name }) => [name, { seconds: turns[name], median: median(turns[name].flat()), peakBytes: peak[name] }]),
  );
  if (sides.length < 2) return { sides: result };
  const [ours, theirs] = sides.map(({ name }) => turns[name].map(median));
  const ratios = ours.map((seconds, round) => theirs[round] / seconds);
  const ratio = { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
  return { sides: result, ratio };
}

function show(train, predict, batchSize) {
  const rows = [];
  for (const [what, { sides, ratio }] of Object.entries({ train, predict })) {
    for (const [i, [name, { seconds, median: middle, peakBytes }]] of Object.entries(sides).entries()) {
      const all = seconds.flat();
      const spread = `${Math.min(...all).toFixed(3)}–${Math.max(...all).toFixed(3)}`;
      const memory = what === "train" ? `${(peakBytes / 1e6).toFixed(0)} MB` : "";
      const speed = (batchSize / middle).toFixed(1);
      const times = i === 0 && ratio ? `${ratio.median.toFixed(2)} (${ratio.lowest.toFixed(2)}–${ratio.highest.toFixed(2)})` : "";
      rows.push([`${what}, ${name}`, String(all.length), middle.toFixed(3), spread, speed, times, memory]);
    }
  }
  console.log(`\n${table(["", "steps", "s/step", "from–to", "images/s", "× PyTorch, by turn", "peak memory"], rows)}`);
}
