// Changes one byte of a file, or cuts it off, and has it read: of the package's own files every such change is an error, told by its code.

import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adam, batchNorm2d, conv2d, fit, globalAvgPool2d, linear, loadModel, ResNetError, sequential } from "resnet-native";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";
import { digest, spots } from "./subjects.mjs";

const { kind, folder, seed, flips, cuts } = given;
const random = new Random(seed);
const data = spots(4);
/** Small, so that every length can be tried. */
const small = () => sequential([conv2d(2, { kernelSize: 3 }), batchNorm2d(), globalAvgPool2d(), linear(4)], { inChannels: 1, threads: 1, seed: 1 });

const kinds = {
  "model file": { codes: ["ERR_MODEL_FILE"], ...model("model.safetensors", (path) => loadModel(path)) },
  "weights from a model file": { codes: ["ERR_MODEL_FILE"], ...model("model.safetensors", (path) => small().loadWeights(path)) },
  folder: {
    codes: ["ERR_MODEL_FILE"],
    async make() {
      await small().saveFolder(join(folder, "model"));
      return join(folder, "model", "model.safetensors");
    },
    read: () => loadModel(join(folder, "model")),
  },
  checkpoint: {
    codes: ["ERR_CHECKPOINT", "ERR_MODEL_FILE"],
    async make() {
      mkdirSync(join(folder, "run"));
      await fit(small(), data, { epochs: 1, batchSize: 4, optimizer: adam(), checkpoint: { dir: join(folder, "run") } });
      return join(folder, "run", readdirSync(join(folder, "run")).find((name) => name.startsWith("step-")));
    },
    read: (path) => {
      // One that was found damaged has got another name.
      for (const name of readdirSync(join(folder, "run"))) if (name.startsWith("damaged-")) renameSync(join(folder, "run", name), path);
      return fit(small(), data, { epochs: 1, batchSize: 4, optimizer: adam(), resume: path });
    },
  },
};

function model(name, read) {
  return {
    async make() {
      const path = join(folder, name);
      await small().save(path);
      return path;
    },
    read,
  };
}

const { make, read, codes } = kinds[kind];
const path = await make();
const whole = readFileSync(path);
const failures = [];
let tried = 0;
await read(path);
const lengths = cuts >= whole.length ? whole.keys() : Array.from({ length: cuts }, () => random.below(whole.length));
for (const length of lengths) await attempt(`cut to ${length} of ${whole.length} bytes`, whole.subarray(0, length));
for (let i = 0; i < flips; i++) {
  const [at, by] = [random.below(whole.length), 1 + random.below(255)];
  const changed = Buffer.from(whole);
  changed[at] ^= by;
  await attempt(`byte ${at} of ${whole.length} changed from ${whole[at]} to ${changed[at]}`, changed);
}
for (const added of [1, 8, 4096]) await attempt(`${added} bytes added`, Buffer.concat([whole, Buffer.alloc(added)]));
writeFileSync(path, whole);
const again = await read(path);
if (typeof again?.save === "function" && (await digest(again)) !== (await digest(small()))) failures.push("the whole file has other weights in the end");
tell({ tried, failures, bytes: whole.length });
process.exit();

async function attempt(what, bytes) {
  tried++;
  writeFileSync(path, bytes);
  try {
    const found = await read(path);
    found?.dispose?.();
    failures.push(`${what}: it is read`);
  } catch (error) {
    if (!(error instanceof ResNetError && codes.includes(error.code))) failures.push(`${what}: ${error.code ?? error.stack}: ${error.message}`);
  }
}
