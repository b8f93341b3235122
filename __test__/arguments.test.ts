import { inspect } from "node:util";
import {
  batchNorm2d,
  concat,
  conv2d,
  Dataset,
  dropout,
  evaluate,
  fashionMnist,
  fit,
  FitRun,
  fromArrays,
  History,
  LayerSummary,
  loadModel,
  Model,
  plot,
  relu,
  ResNet,
  ResNetError,
  ResNeXtBlock,
  sequential,
  sgd,
  tensor,
  Trainer,
} from "resnet-native";
import { describe, expect, test } from "vitest";
import { any, pictures, rejection } from "./pictures.js";

const tiny = () => new ResNet([[1, 8]], { numClasses: 4 });
const image = tensor(new Float32Array(256), [1, 1, 16, 16]);
const arrays = { images: [1], shape: [1, 1, 1, 1], labels: [0] };

/** What a call throws or rejects with. */
async function failure(call: () => unknown): Promise<unknown> {
  return rejection((async () => call())());
}

function revoked(target: object): never {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy as never;
}

/** An array that has nothing but its length. */
function holes(length: number): never[] {
  return Object.assign([], { length });
}

function detached<T extends ArrayBufferView<ArrayBuffer>>(view: T): T {
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

function refused<T extends [call: () => unknown, message: string | RegExp]>(cases: Record<string, T>, code = "ERR_INVALID_ARGUMENT") {
  test.each(Object.entries(cases))("%s", async (_, [call, message]) => {
    const error = await failure(call);
    expect(error).toBeInstanceOf(ResNetError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });
}

describe("options are the same, inherited or not:", () => {
  const inherited = (options: object) => any(Object.create(options));
  refused({
    "a batch size": [() => tiny().predict(image, inherited({ batchSize: 0 })), /^batchSize: expected .*, got 0$/],
    "a batch size of an evaluation": [() => evaluate(tiny(), pictures(4), inherited({ batchSize: 0 })), /^batchSize: /],
    "a batch size of a fit": [() => fit(tiny(), pictures(4), inherited({ batchSize: 0 })), /^batchSize: /],
    "a name that does not exist": [() => sgd(inherited({ rate: 1 })), /got rate/],
    "a model": [() => new ResNet([[1, 8]], any(tiny())), /^device: expected .*, got a function$/],
    "a model for a file's options": [() => loadModel("file", any(tiny())), /^device: /],
    "a typed array": [() => sgd(any(new Uint8Array(3))), /^options: expected an object, got an object of type Uint8Array$/],
    "names beyond reading": [() => sgd(any({ ["x".repeat(1e7)]: 1 })), /got x{40}$/],
  });

  test("good ones count", async () => {
    expect(sgd(inherited({ lr: 0.5 }))).toMatchObject({ lr: 0.5 });
    class Settings {
      get lr() {
        return 0.25;
      }
    }
    expect(sgd(new Settings())).toMatchObject({ lr: 0.25 });
  });

  test("each is read once", () => {
    let reads = 0;
    const options = {
      get lr() {
        return reads++ === 0 ? 0.5 : -1;
      },
    };
    expect(sgd(options)).toMatchObject({ lr: 0.5 });
  });

  test("so is each new name", async () => {
    let reads = 0;
    const rename = {
      get linear() {
        return reads++ === 0 ? "fc" : any(5);
      },
    };
    expect(await rejection(tiny().loadWeights("absent", { rename }))).toMatchObject({ code: "ERR_IO" });
    expect(await rejection(tiny().loadWeights("absent", { rename: inherited({ linear: 5 }) }))).toMatchObject({
      message: 'rename["linear"]: expected a string, got 5',
    });
  });
});

describe("an argument of another kind is an error of our own:", () => {
  const shape = [1, 1, 1, 1];
  const labels = [0];
  const shrunk = new Float32Array(Reflect.construct(ArrayBuffer, [16, { maxByteLength: 16 }]) as ArrayBuffer, 8);
  (shrunk.buffer as ArrayBuffer & { resize(bytes: number): void }).resize(4);
  refused({
    "no arrays": [() => fromArrays(any(undefined)), "^images: expected an array or typed array of numbers, got undefined$"],
    "holes for rows": [() => plot(holes(2)), String.raw`^history\[0\]: expected a row of a History, got undefined$`],
    "a shape of holes": [() => tensor([1], holes(2)), String.raw`^shape: expected .*, got \[undefined, undefined\]$`],
    "holes in numbers": [() => tensor(holes(4), [4]), "^data: expected an array or typed array of numbers"],
    "holes in the names of classes": [() => fromArrays({ ...arrays, classNames: holes(2) }), "^classNames: expected an array of strings"],
    "detached bytes": [() => fromArrays({ ...arrays, images: detached(new Uint8Array(1)) }), "^images: .* detached"],
    "detached floats": [() => tensor(detached(new Float32Array(1)), [1]), "^data: .* detached"],
    "detached labels": [() => fromArrays({ images: [1], shape, labels: detached(new Int32Array(1)) }), "^labels: .* detached"],
    "floats whose buffer shrank": [() => tensor(shrunk, [2]), "^data: expected an array or typed array of numbers"],
    "what inherits from floats": [() => tiny().predict({ data: Object.create(Float32Array.prototype), shape }), "^images: expected a tensor"],
    "what inherits from a signal": [() => tiny().predict(image, { signal: Object.create(AbortSignal.prototype) }), "^signal: "],
    "an encoded slash": [() => loadModel(new URL("file:///a%2Fb")), "^path: expected a path or a file URL, got file:///a%2Fb .*encoded /"],
    "a slash in a model's name": [() => tiny().save(new URL("file:///a%2Fb")), "^path: "],
    "a slash in root": [() => fashionMnist({ root: new URL("file:///a%2Fb") }), "^root: "],
    "another protocol": [() => loadModel(new URL("http://host/a")), "^path: .*, got http://host/a"],
    "a data set of nothing": [() => Reflect.construct(Dataset, []), "^Dataset: expected a call of fromArrays"],
    "a model of nothing": [() => Reflect.construct(Model, []), "^network: expected .*, got undefined$"],
    "a revoked description": [() => Reflect.construct(Model, [revoked({})]), "^network: expected .*, got a Proxy"],
    "a revoked history": [() => plot(revoked(new History())), "^history: expected a History .*, got a Proxy"],
    "revoked options": [() => sgd(revoked({})), String.raw`^options: expected an object, got a Proxy \(.*revoked\)$`],
    "a revoked option": [() => sgd({ lr: revoked({}) }), "^lr: expected .*, got a Proxy "],
    "a revoked list": [() => sequential(revoked([])), "^blocks: .*, got a Proxy"],
    "revoked numbers": [() => tensor(revoked([]), [1]), "^data: .*, got a Proxy"],
    "a revoked tensor": [() => tiny().predict(revoked(image)), "^images: expected a tensor.*, got a Proxy"],
    "revoked data": [() => fit(tiny(), revoked({})), "^data: expected a data set.*, got a Proxy"],
    "a revoked model": [() => evaluate(revoked(tiny()), pictures(4)), "^model: expected a model.*, got a Proxy"],
    "a model in a proxy": [() => new Trainer(new Proxy(tiny(), {})), "^model: expected a model.*, got a Proxy"],
    "what inherits from a model": [() => sequential([Object.create(tiny())]), "^blocks: expected an array of blocks"],
    "a getter that throws": [
      () =>
        sgd({
          get lr(): number {
            throw new Error("mine");
          },
        }),
      String.raw`^options: expected an object, got .* \(mine\)$`,
    ],
    "a rate in an object": [() => sgd({ lr: any({ value: 1 }) }), "^lr: expected a finite number .*, got { value: 1 }$"],
    "zero for validation": [() => fit(tiny(), { train: pictures(4), validation: any(0) }), "^data.validation: .*, got 0$"],
    "NaN for validation": [() => fit(tiny(), { train: pictures(4), validation: any(NaN) }), "^data.validation: .*, got NaN$"],
    "a text for validation": [() => fit(tiny(), { train: pictures(4), validation: any("") }), '^data.validation: .*, got ""$'],
    "another name for validation": [() => fit(tiny(), any({ train: pictures(4), val: pictures(4) })), "^data: expected sets named train and validation, got val$"],
    "a name almost right": [() => fit(tiny(), any({ train: pictures(4), validaton: pictures(4) })), "^data: .*, got validaton \\(did you mean validation\\?\\)$"],
    "null for validation": [() => fit(tiny(), { train: pictures(4), validation: any(null) }), "^data.validation: .*, got null$"],
  });
  refused({ "a file URL with a host": [() => loadModel(new URL("file://host/a")), process.platform === "win32" ? "" : "^path: .*host"] }, process.platform === "win32" ? "ERR_IO" : undefined);
  refused({ "a label with one class too many": [() => fromArrays({ images: [1], shape, labels: [2 ** 32 - 1] }), String.raw`^labels\[0\]: .* 4294967294, got 4294967295$`] }, "ERR_LABEL");
  refused({ "such a label of 32 bits": [() => fromArrays({ images: [1], shape, labels: Uint32Array.of(2 ** 32 - 1) }), String.raw`^labels\[0\]: `] }, "ERR_LABEL");
  refused({ "a shape without labels' classes": [() => fromArrays({ images: [1, 2], shape, labels }), "^images: "] }, "ERR_SHAPE");

  test("proxies of lists are lists", () => {
    const proxy = <T extends object>(value: T) => new Proxy(value, {});
    expect(() => new ResNet(proxy([proxy([1, 8] as const)]))).not.toThrow();
    expect(() => conv2d(8, { kernelSize: proxy([1, 3] as const) })).not.toThrow();
  });
});

describe("a method of another object is an error of our own:", () => {
  const methods = [Model, Dataset, Trainer, FitRun, History, LayerSummary].flatMap((type) => {
    const names = Reflect.ownKeys(type.prototype).filter((name) => name !== "constructor" && name !== "accuracy");
    return names.map((name) => {
      const { get, value } = Object.getOwnPropertyDescriptor(type.prototype, name)!;
      return [`${type.name}.${String(name)}`, (get ?? value) as Function] as const;
    });
  });
  test.each(methods)("%s", async (_, method) => {
    for (const other of [undefined, {}, Object.create(tiny()), Object.create(new History())]) {
      const error = await failure(() => method.call(other, [1, 1, 16, 16]));
      expect(error).toMatchObject({ name: "ResNetError", code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^this: expected /) });
    }
  });
});

test("rows that somebody has spoiled print no more than an error", async () => {
  const row = { epoch: 1, loss: 1, accuracy: 1, lr: 1, seconds: 1 };
  for (const wrong of [undefined, null, 1, {}, { ...row, seconds: "1" }, { ...row, validationLoss: null }]) {
    const history = new History();
    history.rows.push(row, any(wrong));
    const error = { name: "ResNetError", code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^rows\[1\](: expected a row of a History|\.\w+: expected an? \w+).*, got /) };
    for (const call of [() => String(history), () => inspect(history)]) expect(await failure(call)).toMatchObject(error);
  }
  const layer = { name: "a", kind: "b", outputShape: [1], params: 1, macs: 1, activationBytes: 1 };
  for (const wrong of [undefined, null, 1, {}, { ...layer, macs: "1" }, { ...layer, name: 1 }, { ...layer, outputShape: undefined }]) {
    const summary = LayerSummary.of(layer, any(wrong));
    const error = { name: "ResNetError", code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^rows: expected rows of a summary/) };
    for (const call of [() => String(summary), () => inspect(summary)]) expect(await failure(call)).toMatchObject(error);
  }
});

describe("long lists", () => {
  test("are refused before anybody looks at what is in them", async () => {
    const long = any(holes(2 ** 32 - 1));
    const calls = [
      () => sequential(long),
      () => concat(long),
      () => new ResNet(long),
      () => tensor([1], long),
      () => tensor(long, [1]),
      () => plot(long),
      () => fromArrays({ ...arrays, classNames: long }),
      () => fromArrays({ ...arrays, labels: long }),
      () => fashionMnist({ resize: long }),
      () => sgd({ lr: long }),
      () => sgd(long),
    ];
    for (const call of calls) {
      const start = process.cpuUsage();
      expect(await failure(call)).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
      expect(process.cpuUsage(start).user / 1000).toBeLessThan(2000);
    }
    expect(await failure(() => sequential(long))).toMatchObject({
      message: "blocks: expected at most 1048576 items, got 4294967295",
    });
  });

  test("of sizes are no shape, and their message is short", () => {
    const error = expect.objectContaining({ message: "shape: expected at most 64 items, got 1000000" });
    expect(() => tensor([1], Array.from({ length: 1e6 }, () => 1))).toThrow(error);
  });

  test("become tables and charts", async () => {
    // Too many for the arguments of a call, which is how a list is easily handed on.
    const count = 130_000;
    const row = { name: "a", kind: "b", outputShape: [1], params: 1, macs: 1, activationBytes: 1 };
    const rows = Object.assign(new LayerSummary(), Array.from({ length: count }, () => row));
    expect(String(rows)).toContain("130,000");
    const history = new History();
    const epoch = { loss: 1, accuracy: 1, lr: 1, seconds: 1 };
    for (let i = 1; i <= count; i++) history.rows.push({ ...epoch, epoch: i });
    expect(String(history).split("\n")).toHaveLength(count + 2);
    const gaps = history.rows.map((entry, i) => ({ ...entry, loss: i % 2 === 0 ? 1 : NaN }));
    expect(await plot([...gaps, ...gaps.map((entry) => ({ ...entry, epoch: entry.epoch + count }))])).toMatch(/<\/svg>\n$/);
  });

  test("of layers become a network in a time that grows as they do", () => {
    const layer = relu();
    const layers = Array.from({ length: 100_000 }, () => layer);
    // Work, not time: on a busy machine everything takes long.
    const start = process.cpuUsage();
    sequential(layers);
    expect(process.cpuUsage(start).user / 1000).toBeLessThan(5000);
  });
});

describe("numbers that f32 cannot hold are refused:", () => {
  const large = 1e39;
  const data = { images: [large], shape: [1, 1, 1, 1], labels: [0] };
  refused({
    "a learning rate": [() => sgd({ lr: large }), /^lr: expected a finite number from 0 to 3\.4028234663852886e\+38, got 1e\+39$/],
    "a weight decay": [() => sgd({ weightDecay: large }), /^weightDecay: /],
    "a norm's eps": [() => batchNorm2d({ eps: large }), /^eps: /],
    "a factor of channels": [() => new ResNeXtBlock(8, { botMul: large }), /^botMul: /],
    "a probability that is 1 as f32": [() => dropout({ p: 1 - 2 ** -26 }), /^p: expected a number from 0 to below 1, got 0\.99/],
    "a tensor's value": [() => tensor([1, -large], [2]), /^data\[1\]: expected a finite number from -3\.4.*e\+38 to 3\.4.*e\+38, got -1e\+39$/],
    "a tensor's value of 64 bits": [() => tensor(Float64Array.of(large), [1]), /^data\[0\]: /],
    "a loss": [() => plot([any({ epoch: 1, loss: 1.7e308 }), any({ epoch: 2, loss: -1.7e308 })]), /^history\[0\]\.loss: expected a finite number .*, got 1\.7e\+308$/],
    "a pixel": [() => fromArrays(data), /^images\[0\]: expected a finite number .*, got 1e\+39$/],
  });

  test("infinities stay what they are", () => {
    expect(tensor([Infinity, NaN, 3.4e38], [3]).data).toEqual(Float32Array.of(Infinity, NaN, 3.4e38));
  });
});
