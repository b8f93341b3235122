// What the Node sides of `npm run bench` share: options, images, and requests answered as side.py tells.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { fashionMnist, fromArrays } from "../../dist/index.js";

/** As many images of three channels are held in memory. */
const COLOUR_IMAGES = 4096;

/** The options that every side has, and `more` of its own. */
export function options(...more) {
  const names = ["network", "data", "threads", "batch-size", "channels", "size", ...more];
  const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
  const [threads, batchSize, channels, size] = ["threads", "batch-size", "channels", "size"].map((name) => Number(values[name]));
  return { ...values, threads, batchSize, channels, size };
}

/** The training images: one channel, resized batch by batch; or three channels, enlarged beforehand, as in side.py. */
export async function dataset({ data, channels, size }) {
  if (channels === 1) return (await fashionMnist({ root: data, resize: size, interpolation: "float" })).train;
  const read = (name, header) => gunzipSync(readFileSync(join(data, name))).subarray(header);
  const labels = read("train-labels-idx1-ubyte.gz", 8).subarray(0, COLOUR_IMAGES);
  const small = read("train-images-idx3-ubyte.gz", 16);
  const images = new Uint8Array(labels.length * channels * size * size);
  const nearest = Array.from({ length: size }, (_, at) => Math.floor((at * 28) / size));
  let at = 0;
  for (let image = 0; image < labels.length; image += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      for (const y of nearest) for (const x of nearest) images[at++] = small[(image * 28 + y) * 28 + x];
    }
  }
  return fromArrays({ images, shape: [labels.length, channels, size, size], labels });
}

/** Lets `predict` answer batches; the seconds of each, loader included. */
export async function predictBatches(data, batchSize, steps, predict) {
  const seconds = [];
  let time = performance.now();
  for await (const { images } of data.take(steps * batchSize).batches({ batchSize, shuffle: true })) {
    await predict(images);
    const now = performance.now();
    seconds.push((now - time) / 1000);
    time = now;
  }
  return { seconds };
}

/** Answers requests until there are no more: `actions` take the number of steps and that of the request. */
export async function serve(hello, actions) {
  const write = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  write(hello);
  let requests = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const { run, steps } = JSON.parse(line);
    requests += 1;
    write({ ...(await actions[run](steps, requests)), peakBytes: peakBytes() });
  }
}

/** The most memory that this process has had resident. */
function peakBytes() {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}
