// Changes files of a format at random and has them read: each is read or refused by an error of the package's, soon and without much memory.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { adam, fashionMnist, fit, imageFolder, inspectFolder, loadModel, preprocess, ResNetError, sequential, linear, globalAvgPool2d, conv2d, batchNorm2d, cifar10 } from "resnet-native";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";
import { spots } from "./subjects.mjs";

const { format, folder, seed, mutants, fixtures, corpus, sample } = given;
const random = new Random(seed);
const small = () => sequential([conv2d(2), batchNorm2d(), globalAvgPool2d(), linear(4)], { inChannels: 1, threads: 1, seed: 1 });
const filesOf = (place, ...ends) => readdirSync(place).filter((name) => ends.includes(extname(name))).map((name) => readFileSync(join(place, name)));
const transform = { size: [16, 16], fit: "pad", channels: 3, background: [0, 0, 0] };
const dispose = async (model) => (await model).dispose();
const using = async (model, does) => {
  try {
    await does(model);
  } finally {
    model.dispose();
  }
};

async function ours() {
  const file = join(folder, "seed.safetensors");
  await small().save(file);
  return [readFileSync(file)];
}

/** Seeds of each format, the file that a mutant is written to, and how it is read. */
const formats = {
  "model file": { seeds: ours, file: "m.safetensors", read: (file) => dispose(loadModel(file)) },
  "weights as safetensors": {
    seeds: async () => [...(await ours()), ...["model_1", "model_3"].map((name) => readFileSync(join(fixtures, `formats/${name}.safetensors`)))].map(withoutDigest),
    file: "w.safetensors",
    read: (file) => using(small(), (model) => model.loadWeights(file, { strict: false })),
  },
  "weights of PyTorch": {
    seeds: async () => filesOf(join(fixtures, "torch_files"), ".pth", ".pt").filter(({ length }) => length < 2 ** 16),
    file: "w.pth",
    read: (file) => using(small(), (model) => model.loadWeights(file, { strict: false })),
  },
  png: { seeds: async () => filesOf(join(fixtures, "pictures"), ".png"), file: "p.png", read: (file) => preprocess(file, transform) },
  jpeg: { seeds: async () => filesOf(join(fixtures, "pictures"), ".jpg"), file: "p.jpg", read: (file) => preprocess(file, transform) },
  webp: { seeds: async () => filesOf(join(fixtures, "pictures"), ".webp"), file: "p.webp", read: (file) => preprocess(file, transform) },
  "folder of pictures": {
    seeds: async () => filesOf(join(fixtures, "pictures"), ".png", ".jpg"),
    file: "pictures/a/1.png",
    read: async () => {
      await inspectFolder(join(folder, "pictures"));
      await imageFolder(join(folder, "pictures"), { size: 8, onError: "skip", verify: true });
    },
  },
  "list of pictures": {
    seeds: async () => ["path,label\np.png,a\np.png,b\n", "path,label,split\np.png,a|b,train\np.png,b,val\n", "path\tlabel\np.png\ta\n"].map(Buffer.from),
    file: "list.csv",
    read: (file) => imageFolder(file, { size: 8 }),
  },
  "config.json": {
    seeds: async () => {
      await small().saveFolder(join(folder, "model"));
      const config = readFileSync(join(folder, "model/config.json"));
      writeFileSync(join(folder, "model/model.safetensors"), withoutDigest(readFileSync(join(folder, "model/model.safetensors"))));
      return [config, Buffer.from('{"architecture":"resnet18","num_classes":3,"pretrained_cfg":{"input_size":[3,32,32],"mean":[0.5],"std":[0.5],"label_names":["a","b","c"]}}')];
    },
    file: "model/config.json",
    read: () => dispose(loadModel(join(folder, "model"))),
  },
  checkpoint: {
    seeds: async () => {
      const dir = join(folder, "seed-run");
      await fit(small(), spots(4), { epochs: 1, batchSize: 4, optimizer: adam(), checkpoint: { dir } });
      return [readFileSync(join(dir, readdirSync(dir).find((name) => name.startsWith("step-"))))];
    },
    file: "run.safetensors",
    read: (file) => fit(small(), spots(4), { epochs: 1, batchSize: 4, optimizer: adam(), resume: file }),
  },
  "idx, packed or not": {
    seeds: async () => {
      for (const name of readdirSync(sample)) writeFileSync(join(folder, name), readFileSync(join(sample, name)));
      return readdirSync(sample).filter((name) => name.startsWith("train-labels")).map((name) => readFileSync(join(sample, name)));
    },
    file: undefined,
    read: () => fashionMnist({ root: folder, source: "sample" }),
  },
  "archive of CIFAR": {
    seeds: async () => [gzipSync(tar({ "cifar-10-batches-bin/data_batch_1.bin": Buffer.alloc(3073 * 3), "cifar-10-batches-bin/batches.meta.txt": Buffer.from("a\nb\n") }))],
    file: "cifar-10-binary.tar.gz",
    read: () => cifar10({ root: folder }),
  },
};

/** Takes the name of the digest away, so that all else is looked at. */
function withoutDigest(bytes) {
  const changed = Buffer.from(bytes);
  for (const name of ["resnet_native_sha256", '"resnet_native"']) {
    const at = changed.indexOf(name);
    if (at >= 0) changed[at + 3] = 0x58;
  }
  return changed;
}

function tar(files) {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const head = Buffer.alloc(512);
    head.write(name, 0);
    head.write("0000644\0", 100);
    head.write(`${content.length.toString(8).padStart(11, "0")}\0`, 124);
    head.write("        0", 148);
    head.write("ustar", 257);
    const sum = head.reduce((sum, byte) => sum + byte, 0);
    head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [head, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const NUMBERS = [0n, 1n, 127n, 128n, 255n, 32767n, 65535n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n];
const changes = [
  (bytes) => { bytes[random.below(bytes.length)] ^= 1 << random.below(8); return bytes; },
  (bytes) => { bytes[random.below(bytes.length)] = random.below(256); return bytes; },
  (bytes) => {
    const size = random.pick([1, 2, 4, 8]);
    if (bytes.length < size) return bytes;
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(random.pick(NUMBERS));
    const given = random.chance(0.5) ? number.subarray(0, size) : Buffer.from(number.subarray(0, size).toReversed());
    given.copy(bytes, random.below(bytes.length - size + 1));
    return bytes;
  },
  (bytes) => bytes.subarray(0, random.below(bytes.length)),
  (bytes) => { const at = random.below(bytes.length); return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.below(64)))]); },
  (bytes) => { const [at, from] = [random.below(bytes.length), random.below(bytes.length)]; return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + 1 + random.below(256)), bytes.subarray(at)]); },
  (bytes) => Buffer.concat([bytes, Buffer.alloc(random.below(64), random.below(256))]),
  (bytes, other) => { const at = random.below(bytes.length); return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length))]); },
  // A number in text, such as JSON or octal.
  (bytes) => {
    const at = bytes.findIndex((byte, i) => i >= random.below(bytes.length) && byte >= 0x30 && byte <= 0x39);
    if (at < 0) return bytes;
    return Buffer.concat([bytes.subarray(0, at), Buffer.from(random.pick(["0", "-1", "1e999", "99999999999999999999", "0.5", "null", "[]", "{}", '"x"', "4294967296"])), bytes.subarray(at + 1)]);
  },
];

const { seeds: make, file: name, read } = formats[format];
for (const inner of ["pictures/a", "pictures/b"]) mkdirSync(join(folder, inner), { recursive: true });
writeFileSync(join(folder, "pictures/b/1.png"), readFileSync(join(fixtures, "pictures/rgb.png")));
writeFileSync(join(folder, "p.png"), readFileSync(join(fixtures, "pictures/rgb.png")));
const kept = corpus ? readdirSync(corpus).map((name) => readFileSync(join(corpus, name))) : [];
const seeds = [...(await make()), ...kept];
const file = join(folder, name ?? readdirSync(folder).find((name) => name.startsWith("train-labels")));
const failures = [];
let [tried, longest, done] = [0, 0, 0];
for (const seed of kept) await attempt(seed);
const start = process.resourceUsage().maxRSS;
for (let i = 0; i < mutants; i++) {
  let mutant = Buffer.from(random.pick(seeds));
  for (let more = 1 + random.below(4); more > 0 && mutant.length > 0; more--) mutant = random.pick(changes)(Buffer.from(mutant), random.pick(seeds));
  await attempt(mutant);
}
tell({ tried, done, longest, mebibytes: (process.resourceUsage().maxRSS - start) / 1024, failures });
process.exit();

async function attempt(bytes) {
  tried++;
  writeFileSync(file, bytes);
  const before = process.cpuUsage();
  try {
    await read(file);
    done++;
  } catch (error) {
    if (!(error instanceof ResNetError) || error.code === "ERR_INTERNAL") keep(bytes, String(error?.stack ?? error));
  }
  const { user, system } = process.cpuUsage(before);
  const ms = (user + system) / 1000;
  longest = Math.max(longest, ms);
  if (ms > 2000) keep(bytes, `takes ${ms.toFixed(0)} ms`);
  for (const left of readdirSync(folder).filter((name) => name.startsWith("damaged-"))) rmSync(join(folder, left));
}

function keep(bytes, why) {
  const path = join(given.keep, `${format.replaceAll(/\W+/g, "-")}-${seed}-${tried}${extname(basename(file))}`);
  writeFileSync(path, bytes);
  failures.push(`${path}: ${why}`);
}
