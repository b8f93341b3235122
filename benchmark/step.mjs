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
import { join } from "node:path";
import { table } from "../dist/table.js";
import { parse, sample, threads } from "./options.mjs";
import { Peer } from "./peer.mjs";
import { machine, save } from "./report.mjs";
import { nativeSide, peerFile, range, ratio, SIZE, takeTurns, workload } from "./turns.mjs";

/** Times each side takes its turn to predict, and how many batches then. */
const PREDICT = { rounds: 4, steps: 3 };

export async function main(args) {
  const options = parse(args, { threads, rounds: 5, steps: 3, batchSize: 128, data: sample });
  const sides = [nativeSide("resnet-native", "ResNet-18", options)];
  const torch = peerPython();
  if (torch.found) sides.push(pytorch(torch.python, options));
  else console.log(torch.missing);
  try {
    const hello = {};
    for (const side of sides) hello[side.name] = await side.read();
    const { threads, batchSize, rounds, steps } = options;
    console.log(`ResNet-18, 1x${SIZE}x${SIZE}, batch ${batchSize}, ${threads} threads a side, turns of ${steps} steps\n`);
    // Memory is read before inference: training alone is compared.
    const train = await compare(sides, "train", rounds, steps);
    const predict = await compare(sides, "predict", PREDICT.rounds, PREDICT.steps);
    show(train, predict, batchSize);
    const result = { machine: await machine(), peer: hello["PyTorch"], options, train, predict };
    console.log(`\n${await save("step", result)}`);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

function pytorch(python, options) {
  const files = ["images", "labels"].flatMap((part, i) => {
    return [`--${part}`, join(options.data, `train-${part}-idx${i ? 1 : 3}-ubyte.gz`)];
  });
  return new Peer("PyTorch", python, [peerFile("torch_step.py"), ...files, ...workload(options)]);
}

function peerPython() {
  const python = process.env["RESNET_NATIVE_PYTHON"] ?? "python3";
  if (spawnSync(python, ["-c", "import torch"]).status === 0) return { found: true, python };
  const how = "python3 -m pip install torch==2.13.0 numpy, or name a Python that has it in RESNET_NATIVE_PYTHON";
  return { found: false, missing: `PyTorch: left out, ${python} cannot import torch. To compare: ${how}\n` };
}

/** What each side took, and PyTorch's time as a ratio to ours. */
async function compare(sides, run, rounds, steps) {
  const results = await takeTurns(sides, run, rounds, steps);
  const [ours, theirs] = Object.values(results);
  return { sides: results, ...(theirs && { ratio: ratio(ours, theirs) }) };
}

function show(train, predict, batchSize) {
  const rows = [];
  for (const [what, { sides, ratio }] of Object.entries({ train, predict })) {
    for (const [i, [name, { seconds, median: middle, peakBytes }]] of Object.entries(sides).entries()) {
      const all = seconds.flat();
      const memory = what === "train" ? `${(peakBytes / 1e6).toFixed(0)} MB` : "";
      const speed = (batchSize / middle).toFixed(1);
      const times = i === 0 && ratio ? `${ratio.median.toFixed(2)} (${ratio.lowest.toFixed(2)}–${ratio.highest.toFixed(2)})` : "";
      rows.push([`${what}, ${name}`, String(all.length), middle.toFixed(3), range(all, 3), speed, times, memory]);
    }
  }
  console.log(`\n${table(["", "steps", "s/step", "from–to", "images/s", "× PyTorch, by turn", "peak memory"], rows)}`);
}
