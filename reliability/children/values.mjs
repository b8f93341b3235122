// Values by recipes (recipes.mjs).

import { images, spots, tinyModel } from "./subjects.mjs";

/** What callbacks and getters of ours throw, which calls may pass on. */
export class Ours extends Error {}

const all = await import("resnet-native");
const { adam, cosine, crossEntropy, flip, focal, sgd, balancedSampler } = all;

/** How to make an instance or a value of a type, by its name; `kept` is told what has to be disposed of. */
export const made = {
  AbortSignal: (_, kept) => kept.signal(),
  ArrayBuffer: () => new ArrayBuffer(16),
  Augmentation: () => flip(),
  Batch: () => ({ images: images(2), labels: Uint32Array.of(0, 1), indices: Uint32Array.of(0, 1) }),
  Dataset: (seed) => spots(4 + (seed % 5), { labelKind: seed % 7 === 0 ? "multi" : "single" }),
  EpochRow: () => row,
  FitEvent: () => ({ type: "epoch", ...row }),
  FitRun: (_, kept) => settled(all.fit(kept.model(tinyModel()), spots(4), { epochs: 1, batchSize: 2 })),
  Float32Array: (seed) => new Float32Array(seed % 3 === 0 ? 256 : seed % 9),
  History: () => history,
  LayerSummary: (_, kept) => kept.model(tinyModel()).layerSummary([1, 1, 16, 16]),
  LabelMatrix: () => ({ data: Uint8Array.of(0, 1, 1, 0), shape: [2, 2] }),
  Loss: (seed) => (seed % 2 ? crossEntropy() : focal()),
  Model: (seed, kept) => kept.model(seed % 5 === 0 ? all.relu() : tinyModel()),
  Network: (_, kept) => kept.model(tinyModel()),
  Mixed: () => ({ labels: Uint32Array.of(0, 1), share: 0.5 }),
  Normalise: () => ({ mean: [0.5], std: [0.25] }),
  Numbers: (seed) => (seed % 2 ? [0, 1, 2, 3] : Uint8Array.of(0, 1, 2, 3)),
  Optimizer: (seed) => (seed % 2 ? adam() : sgd()),
  Picture: (seed) => (seed % 2 ? "picture.png" : { data: new Uint8Array(256), info: { width: 16, height: 16, channels: 1 } }),
  PictureTransform: () => ({ size: [16, 16], fit: "pad", channels: 1, background: [0, 0, 0] }),
  RawPixels: () => ({ data: new Uint8Array(256), info: { width: 16, height: 16, channels: 1 } }),
  ResNetError: () => new all.ResNetError("ERR_IO", "a message"),
  Sample: (seed) => ({ image: "picture.png", label: seed % 3 }),
  Sampler: () => balancedSampler(),
  Schedule: () => cosine(),
  TensorBoard: () => new all.TensorBoard("board"),
  Tensor: (seed) => images(1 + (seed % 4)),
  Trainer: (_, kept) => new all.Trainer(kept.model(tinyModel())),
  TrainingData: () => ({ train: spots(6), validation: spots(4) }),
  URL: (seed) => new URL(`file://${process.cwd()}/${["model.safetensors", "pictures", "absent"][seed % 3]}`),
  function: (seed) => (seed % 4 === 0 ? () => { throw new Ours("thrown by a callback"); } : () => undefined),
};
const history = await all.fit(tinyModel(), spots(4), { epochs: 1, batchSize: 2 });
const row = { epoch: 1, loss: 1, accuracy: 0.5, lr: 0.1, seconds: 1 };

function settled(run) {
  run.catch(() => {});
  return run;
}

/** What has to be ended after a call. */
export class Kept {
  #models = [];
  #controllers = [];

  model(model) {
    this.#models.push(model);
    return model;
  }

  signal() {
    const controller = new AbortController();
    this.#controllers.push(controller);
    return controller.signal;
  }

  abort() {
    for (const controller of this.#controllers) controller.abort(new Ours("aborted"));
  }

  dispose() {
    for (const model of this.#models) model.dispose();
  }
}

/** An instance of a class. */
export function instance(name, seed, kept) {
  if (made[name]) return made[name](seed, kept);
  const known = globalThis[name] ?? all[name];
  if (typeof known !== "function") throw new Error(`no way to make a value of the type ${name}: children/values.mjs needs one`);
  return name.endsWith("Array") ? new known(seed % 9) : new known();
}

/** A value of a recipe. */
export function realise(recipe, kept) {
  if (Array.isArray(recipe)) return recipe.map((item) => realise(item, kept));
  if (typeof recipe !== "object" || recipe === null) return recipe;
  if ("hostile" in recipe) return hostiles[recipe.hostile](kept);
  if ("make" in recipe) return instance(recipe.make, recipe.seed, kept);
  if ("list" in recipe) return realise(recipe.list, kept);
  if ("iterable" in recipe) return recipe.isAsync ? later(realise(recipe.iterable, kept)) : realise(recipe.iterable, kept).values();
  return Object.fromEntries(Object.entries(recipe.object).map(([key, value]) => [key, realise(value, kept)]));
}

async function* later(items) {
  yield* items;
}

function throwing() {
  throw new Ours("thrown by a value");
}

/** What no parameter is glad of. */
export const hostiles = {
  undefined: () => undefined,
  null: () => null,
  true: () => true,
  NaN: () => NaN,
  Infinity: () => Infinity,
  "-Infinity": () => -Infinity,
  "-0": () => -0,
  "-1": () => -1,
  0.5: () => 0.5,
  "2^31": () => 2 ** 31,
  "2^32-1": () => 2 ** 32 - 1,
  "2^32": () => 2 ** 32,
  "2^53": () => 2 ** 53,
  "1e39": () => 1e39,
  "1e300": () => 1e300,
  "-1e300": () => -1e300,
  "5e-324": () => 5e-324,
  "empty string": () => "",
  string: () => "constructor",
  "long string": () => "x".repeat(1e6),
  NUL: () => "a\0b",
  "half a surrogate pair": () => "\uD800",
  "number as string": () => "3",
  bigint: () => 3n,
  symbol: () => Symbol("mine"),
  object: () => ({ unknown: 1 }),
  array: () => [],
  holes: () => Array.from({ length: 2 }).fill(1, 1),
  "huge array": () => Object.assign([], { length: 2 ** 32 - 1 }),
  function: () => () => 1,
  "throwing function": () => throwing,
  date: () => new Date(NaN),
  map: () => new Map([[1, 2]]),
  promise: () => Promise.resolve(1),
  "rejected promise": () => settled(Promise.reject(new Ours("rejected"))),
  "revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "throwing proxy": () => new Proxy({}, Object.fromEntries(["get", "has", "ownKeys", "getPrototypeOf", "getOwnPropertyDescriptor"].map((trap) => [trap, throwing]))),
  proxy: (kept) => new Proxy(kept.model(tinyModel()), {}),
  getter: () => Object.defineProperty({}, "lr", { enumerable: true, get: throwing }),
  detached: () => {
    const view = new Float32Array(4);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    return view;
  },
  shared: () => new Float32Array(new SharedArrayBuffer(16)),
  shrunk: () => {
    const view = new Float32Array(Reflect.construct(ArrayBuffer, [16, { maxByteLength: 16 }]), 8);
    view.buffer.resize(4);
    return view;
  },
  DataView: () => new DataView(new ArrayBuffer(8)),
  BigInt64Array: () => new BigInt64Array(2),
  "long typed array": () => new Uint8Array(2 ** 22),
  "no prototype": () => Object.create(null),
  inherits: (kept) => Object.create(kept.model(tinyModel())),
  cycle: () => {
    const cycle = [];
    cycle.push(cycle);
    return cycle;
  },
  "deep array": () => {
    let deep = [];
    for (let i = 0; i < 10_000; i++) deep = [deep];
    return deep;
  },
  "nested twice": (kept) => {
    const part = kept.model(all.relu());
    return [part, part];
  },
  toString: () => ({ toString: throwing }),
  toPrimitive: () => ({ [Symbol.toPrimitive]: throwing }),
  iterator: () => Object.assign([1, 2], { [Symbol.iterator]: throwing }),
  "disposed model": () => {
    const model = tinyModel();
    model.dispose();
    return model;
  },
  "aborted signal": () => AbortSignal.abort(new Ours("aborted before")),
  "Float32Array of NaN": () => new Float32Array(4).fill(NaN),
  "null in array": () => [1, null, 2],
  "mixed array": () => [1, "2", 3n, {}],
  "NaN in array": () => [NaN, -0, Infinity],
};

