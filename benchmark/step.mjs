// npm run bench: the training step of the chapter's ResNet-18 (1x96x96, SGD, loader included), inference in batches and the
// latency of one image, beside each peer (peers.mjs): ours and the peer in turns, each in a process of its own.
//
//   --network NAME   resnet18 (default), resnext18, resnet50 (torchvision's, 3x64x64) or resnet50_224 (3x224x224)
//   --precision NAME fp32 (default), bf16 or, without train, int8: that of our side
//   --peers A,B      default all: eager,channels_last,compiled,bf16,bf16_compiled,keras,onnx,onnx_int8,openvino,openvino_bf16,openvino_int8;
//                    also own_fp32
//   --runs A,B       default train,predict,latency
//   --threads N      threads of each side, default all cores
//   --rounds N       turns of each side, default 5
//   --steps N        steps in a turn, default 3; of latency, 20 times as many
//   --batch-size N   default 128; of latency, 1
//   --data FOLDER    the four Fashion-MNIST files, default the carried sample

import { table } from "../dist/table.js";
import { workloads } from "./networks.mjs";
import { parse, sample, threads } from "./options.mjs";
import { reasonOf } from "./peer.mjs";
import { peers } from "./peers.mjs";
import { machine, save } from "./report.mjs";
import { nativeSide, range, ratio, spreadText, takeTurns } from "./turns.mjs";

/** What is measured: the request, how many times `--steps` a turn has, of which batch, and what a step is told as. */
const throughput = { times: 1, unit: "images/s", told: (seconds, batchSize) => batchSize / seconds };
const runs = {
  train: { ...throughput, request: "train" },
  predict: { ...throughput, request: "predict" },
  latency: { request: "predict", times: 20, batchSize: 1, unit: "ms", told: (seconds) => 1e3 * seconds },
};

export async function main(args) {
  const lists = { peers: Object.keys(peers).filter((name) => name !== "own_fp32").join(","), runs: Object.keys(runs).join(",") };
  const options = parse(args, { network: "resnet18", precision: "fp32", ...lists, threads, rounds: 5, steps: 3, batchSize: 128, data: sample });
  const [{ channels, size }] = chosen("network", workloads, options);
  const [chosenPeers, chosenRuns] = [chosen("peers", peers, options), chosen("runs", runs, options)];
  console.log(`${options.network}, ${channels}x${size}x${size}, ours in ${options.precision}, ${options.threads} threads a side\n`);
  const [comparisons, versions, skipped] = [[], {}, {}];
  for (const run of chosenRuns) {
    const before = comparisons.length;
    for (const peer of chosenPeers) {
      if (!peer.runs.includes(run.name) || skipped[peer.name]) continue;
      const comparison = await compare(run, peer, options, versions);
      if (typeof comparison !== "string") comparisons.push(comparison);
      else console.log(`skipped: ${peer.name} (${(skipped[peer.name] = comparison)})`);
    }
    if (comparisons.length === before) comparisons.push(await compare(run, undefined, options, versions));
  }
  show(comparisons);
  for (const [name, reason] of Object.entries(skipped)) console.log(`skipped: ${name} (${reason})`);
  console.log(`\n${await save(options.network, { machine: await machine(), options, versions, skipped, comparisons })}`);
}

/** The entries that an option names, with their names. */
function chosen(option, entries, options) {
  return options[option].split(",").map((key) => {
    if (!Object.hasOwn(entries, key)) throw new Error(`--${option}: expected one of ${Object.keys(entries).join(", ")}, got ${key}`);
    return { name: key, ...entries[key] };
  });
}

/** Ours and a peer in turns, or ours alone; a text if the peer cannot. Adds to `versions`, by name. */
async function compare(run, peer, options, versions) {
  if (peer && !peer.networks.includes(options.network)) return `builds ${peer.networks.join(", ")}`;
  const { network, channels, size } = workloads[options.network];
  const settings = { ...options, channels, size, batchSize: run.batchSize ?? options.batchSize };
  const ours = nativeSide("resnet-native", { ...settings, network });
  const sides = peer ? [ours, peer.start(peer.name, settings)] : [ours];
  try {
    for (const side of sides) versions[side.name] = await side.read();
    const counts = sides.map(({ name }) => versions[name].parameters);
    if (new Set(counts).size > 1) throw new Error(`${peer.name}: expected ${counts[0]} parameters, got ${counts[1]}`);
    const results = await takeTurns(sides, run.request, options.rounds, options.steps * run.times);
    const [one, other] = sides.map(({ name }) => results[name]);
    return { run: run.name, batchSize: settings.batchSize, ours: one, ...(peer && { peer: peer.name, theirs: other, ratio: ratio(one, other) }) };
  } catch (error) {
    if (!peer || error.peer !== sides[1]) throw error;
    return versions[peer.name] ? reasonOf(error) : `${reasonOf(error)}; needs ${peer.needs}`;
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

function show(comparisons) {
  const rows = comparisons.map(({ run, batchSize, peer = "", ours, theirs, ratio }) => {
    const { unit, told } = runs[run];
    const speed = (result) => {
      if (!result) return ["", ""];
      return [told(result.median, batchSize).toFixed(1), range(result.seconds.flat().map((seconds) => told(seconds, batchSize)), 1)];
    };
    const memory = (result) => (result ? `${(result.peakBytes / 1e6).toFixed(0)} MB` : "");
    const steps = String(ours.seconds.flat().length);
    return [`${run}, ${unit}`, peer, steps, ...speed(ours), ...speed(theirs), ratio ? spreadText(ratio) : "", memory(ours), memory(theirs)];
  });
  const head = ["", "beside", "steps", "ours", "from–to", "theirs", "from–to", "× by turn", "peak memory", "theirs"];
  console.log(`\n${table(head, rows, 2)}\n`);
}
