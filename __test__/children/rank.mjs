// A short run that the processes of mpirun share; writes a line of JSON: what this one ends with, or its error. What it is to do is the first argument,
// in which {rank} stands for the number of each.
import { createHash } from "node:crypto";
import { existsSync, writeFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { batchNorm2d, conv2d, dropout, fit, flip, fromArrays, globalAvgPool2d, linear, maxPool2d, randomCrop, ranks, relu, residual, sequential, sgd } from "../../dist/index.js";

const rank = ranks()?.rank ?? 0;
const { absent, early, file, differs, other, aborts, throws, own, kills, stops, delay, digests, another, tells = true, count = 50, optionsOf = {}, ...more } = JSON.parse(process.argv[2].replaceAll("{rank}", rank));
const isIt = (one) => one === rank;
if (isIt(absent)) {
  await sleep(3000);
  process.exit();
}
// One gives up before the others come.
if (early !== undefined && !isIt(early)) while (!existsSync(file)) await sleep(20);
const body = sequential([conv2d(16, { padding: 1 }), batchNorm2d(), relu(), dropout({ p: 0.2 }), conv2d(16, { padding: 1 }), batchNorm2d()]);
const layers = [conv2d(16, { padding: 1 }), batchNorm2d(), relu(), maxPool2d({ kernelSize: 3, stride: 2, padding: 1 }), residual({ body }), globalAvgPool2d(), linear(4)];
const model = sequential(layers, { seed: isIt(differs) ? 8 : 7, threads: 1 });
let state = 1;
const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const set = (count) => {
  const images = Float32Array.from({ length: count * 256 }, random);
  return fromArrays({ images, shape: [count, 1, 16, 16], labels: Uint32Array.from({ length: count }, () => random() * 4) });
};
const data = { train: set(isIt(other) ? count - 1 : count), validation: set(37) };
async function digest() {
  const digest = createHash("sha256");
  for (const [name, { data }] of await model.stateDict()) digest.update(name).update(new Uint8Array(data.buffer));
  return digest.digest("hex");
}
function act() {
  if ([aborts, kills, stops].some(isIt)) writeSync(2, `acts ${Date.now()}\n`);
  if (isIt(aborts)) controller.abort(new Error("enough"));
  if (isIt(kills)) process.kill(process.pid, "SIGKILL");
  if (isIt(stops)) process.kill(process.pid, "SIGSTOP");
}
function raise() {
  throw new TypeError("no such thing");
}
const byEpoch = [];
const told = { rank };
const controller = new AbortController();
const heard = [];
const options = {
  batchSize: 20,
  optimizer: sgd({ lr: 0.02, momentum: 0.9 }),
  augment: [flip(), randomCrop({ padding: 2 })],
  distributed: "auto",
  onEvent: ({ type }) => void heard.push(type),
  signal: controller.signal,
  onStep: ({ epoch, step }) => {
    if (step < 2) return undefined;
    if (isIt(throws)) return own ? model.save("/no/such/folder/model.safetensors") : raise();
    if (delay === undefined) act();
    else if (epoch === 1 && step === 2) setTimeout(act, delay);
    return undefined;
  },
  onEpochEnd: async () => {
    if (digests) byEpoch.push(await digest());
    // Another run while this one goes on.
    if (another) told.another = await fit(sequential(layers, { threads: 1 }), data, { ...options, onEpochEnd: undefined }).catch(({ code }) => code);
  },
  ...more,
  ...optionsOf[rank],
};
const began = performance.now();
if (isIt(early)) setTimeout(() => controller.abort(new Error("enough")), 100);
try {
  const { rows } = await fit(model, data, options);
  Object.assign(told, { digest: await digest(), ...(digests && { digests: byEpoch }), ...(tells && { rows: rows.map((row) => ({ ...row, seconds: 0, waiting: 0 })), heard: heard.filter((type) => type === "epoch").length }) });
} catch (error) {
  Object.assign(told, { code: error.code ?? null, message: error.message, seconds: (performance.now() - began) / 1000 });
  process.exitCode = 1;
}
if (isIt(early)) writeFileSync(file, "");
process.stdout.write(`${JSON.stringify(told)}\n`);
