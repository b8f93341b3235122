// npm run bench -- ranks: what it costs to share training steps among processes of MPI, whose addon `npm run build:mpi` builds: images/s of one
// process, of one that mpirun starts, and of as many ranks of one thread as one process has threads. Sides take turns, a process or more each.
//
//   --ranks N        ranks, and threads of the one process, default all cores
//   --network NAME   default ResNet-18, at 1x96x96
//   --batch-size N   of all ranks together, default 128
//   --rounds N       turns of each, default 5
//   --steps N        steps in a turn, default 8
//   --sides A,B      default alone,started,threads,shards,ranks
//   --data FOLDER    the four Fashion-MNIST files, default the carried sample
//
// RESNET_NATIVE_MPIRUN names what starts processes of the MPI that the addon was built for, default mpirun.

import { setTimeout as pause } from "node:timers/promises";
import { table } from "../dist/table.js";
import { allowed, mpirun } from "../scripts/mpi/mpirun.mjs";
import { makeSides, parse, sample, threads } from "./options.mjs";
import { Peer } from "./peer.mjs";
import { machine, median, save } from "./report.mjs";
import { peerFile, ratio, spreadText, workload } from "./turns.mjs";

/** Milliseconds between turns, so that one side's threads are gone when the other's start. */
const REST = 300;
/** What is told of a side beside another. */
const RATIOS = [
  ["started", "alone", "started by mpirun, beside not"],
  ["shards", "threads", "cut into shards, beside whole batches"],
  ["ranks", "threads", "ranks of a thread, beside threads"],
];

export async function main(args) {
  const sides = "alone,started,threads,shards,ranks";
  const options = parse(args, { ranks: threads, network: "ResNet-18", batchSize: 128, rounds: 5, steps: 8, sides, data: sample });
  const { ranks, network, batchSize, rounds, steps, data } = options;
  const program = (threads, ...more) => {
    return [peerFile("native_rank.mjs"), ...workload({ network, data, threads, batchSize, channels: 1, size: 96 }), "--steps", String(steps), ...more];
  };
  // Open MPI would have all threads of a rank on one core.
  const started = (count, threads) => [mpirun, ["-n", String(count), "-bind-to", "none", process.execPath, ...program(threads)]];
  const chosen = makeSides(options.sides, {
    alone: () => ({ name: "alone", told: "1 process, 1 thread", start: [process.execPath, program(1)] }),
    started: () => ({ name: "started", told: "mpirun -n 1, 1 thread", start: started(1, 1) }),
    threads: () => ({ name: "threads", told: `1 process, ${ranks} threads`, start: [process.execPath, program(ranks)] }),
    shards: () => {
      return { name: "shards", told: `1 process, ${ranks} threads, ${ranks} shards`, start: [process.execPath, program(ranks, "--shards", String(ranks))] };
    },
    ranks: () => ({ name: "ranks", told: `mpirun -n ${ranks}, 1 thread each`, start: started(ranks, 1) }),
  });
  const results = Object.fromEntries(chosen.map(({ name }) => [name, { seconds: [] }]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, told, start } of chosen) {
      await pause(REST);
      const seconds = await turn(told, start);
      results[name].seconds.push(seconds);
      console.log(`${round}/${rounds}  ${told.padEnd(32)}  ${(batchSize / median(seconds)).toFixed(1)} images/s`);
    }
  }
  show(chosen, results, batchSize);
  console.log(`\n${await save("ranks", { machine: await machine(), options, mpirun, results })}`);
}

/** Seconds of the steps of processes that are started for them. */
async function turn(name, [command, args]) {
  const peer = new Peer(name, command, args, allowed);
  try {
    return (await peer.read()).seconds;
  } finally {
    await peer.close();
  }
}

function show(chosen, results, batchSize) {
  const rows = chosen.map(({ name, told }) => {
    const seconds = median(results[name].seconds.flat());
    return [told, seconds.toFixed(3), (batchSize / seconds).toFixed(1)];
  });
  console.log(`\n${table(["", "s/step", "images/s"], rows, 1)}\n`);
  for (const [one, other, told] of RATIOS) {
    if (results[one] && results[other]) console.log(`speed, ${told}: ${spreadText(ratio(results[one], results[other]))}`);
  }
}
