import { getEventListeners } from "node:events";
import { setTimeout } from "node:timers/promises";
import {
  conv2d,
  evaluate,
  fashionMnist,
  fit,
  fromArrays,
  loadModel,
  ResNet,
  sequential,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { locate } from "../ts/fashion-mnist.js";
import { any, pictures, rejection } from "./pictures.js";

const tiny = () => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });
/** One that takes many seconds for thousands of images, so that nothing is done before it is stopped. */
const slow = () => new ResNet([[8, 64]], { numClasses: 4, inChannels: 1, threads: 1 });
const image = tensor(new Float32Array(256), [1, 1, 16, 16]);

/** The warnings of the process during a call. */
async function warnings(call: () => Promise<unknown>): Promise<string[]> {
  const seen: string[] = [];
  const listen = ({ message }: Error) => void seen.push(message);
  process.on("warning", listen);
  await call();
  await setTimeout(10);
  process.off("warning", listen);
  return seen;
}

test("one signal serves any number of calls without a warning, and keeps none of them", async () => {
  const { signal } = new AbortController();
  const models = Array.from({ length: 12 }, tiny);
  const data = pictures(16);
  const calls = () => [
    ...Array.from({ length: 20 }, () => models[0]!.predict(image, { signal })),
    ...Array.from({ length: 20 }, () => evaluate(models[0]!, data, { signal })),
    ...models.map((model) => fit(model, data, { signal })),
  ];
  expect(await warnings(() => Promise.all(calls()))).toEqual([]);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("an abort stops all calls that wait for the signal, again and again", async () => {
  using model = slow();
  const many = tensor(new Float32Array(4096 * 256), [4096, 1, 16, 16]);
  for (const reason of ["first", "second"]) {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = Array.from({ length: 12 }, () => rejection(model.predict(many, { signal, batchSize: 1 })));
    const run = rejection(fit(tiny(), pictures(64), { signal, epochs: 1e6 }));
    controller.abort(reason);
    expect(new Set(await Promise.all([...calls, run]))).toEqual(new Set([reason]));
  }
});

test("an abort ends a call in the middle of a batch, and a step that it ends changes nothing", async () => {
  using model = new ResNet([[2, 16]], { numClasses: 4, inChannels: 1, threads: 1 });
  const trainer = new Trainer(model);
  const many = tensor(new Float32Array(512 * 64 * 64), [512, 1, 64, 64]);
  const labels = new Uint32Array(512);
  const before = await model.stateDict();
  const calls: ((signal: AbortSignal) => Promise<unknown>)[] = [
    (signal) => model.predict(many, { signal, batchSize: 512 }),
    (signal) => model.forward(many, { signal, training: true }),
    (signal) => evaluate(model, fromArrays({ images: many.data, shape: many.shape, labels }), { signal, batchSize: 512 }),
    (signal) => trainer.step(many, labels, { signal }),
  ];
  for (const call of calls) {
    const controller = new AbortController();
    // Long before the batch is done, on any machine, and once it has begun.
    const timer = globalThis.setTimeout(() => controller.abort("enough"), 30);
    expect(await rejection(call(controller.signal))).toBe("enough");
    clearTimeout(timer);
  }
  expect(await model.stateDict()).toEqual(before);
});

test("a signal that was aborted before comes before all that is wrong", async () => {
  const reason = new Error("before");
  const signal = AbortSignal.abort(reason);
  const model = tiny();
  const gone = tiny();
  gone.dispose();
  const calls = [
    () => fashionMnist({ signal, root: "/nowhere" }),
    () => fashionMnist({ resize: -1, signal }),
    () => loadModel("/nowhere", { signal }),
    () => loadModel(any(1), { signal }),
    () => loadModel("/nowhere", { seed: 1, signal }),
    () => model.features(any(1), { signal }),
    () => model.predict(any(1), { signal }),
    () => model.predict(image, { batchSize: 0, signal }),
    () => model.predict(image, any({ wrong: 1, signal })),
    () => model.forward(any(1), { signal }),
    () => model.save(any(1), { signal }),
    () => model.exportOnnx(any(1), { signal }),
    () => model.loadWeights(any(1), { signal }),
    () => gone.predict(image, { signal }),
    () => new Trainer(model).step(any(1), any(1), { signal }),
    () => evaluate(any(1), any(1), { signal }),
    () => fit(any(1), any(1), { epochs: 0, signal }),
    () => model.predict(image, any(Object.create({ signal }))),
  ];
  for (const call of calls) expect(await rejection(call())).toBe(reason);
});

test("a signal that is aborted while data are looked for or read comes before what is found", async () => {
  const late = () => {
    const controller = new AbortController();
    queueMicrotask(() => controller.abort("late"));
    return controller.signal;
  };
  expect(await rejection(locate("/nowhere", { signal: late() }))).toBe("late");
  expect(await rejection(fashionMnist({ source: "sample", signal: late() }))).toBe("late");
});

test("a disposed model is refused everywhere", async () => {
  const model = tiny();
  const trainer = new Trainer(model);
  model.dispose();
  const calls: (() => unknown)[] = [
    () => model.inChannels,
    () => model.numParameters,
    () => model.layerSummary([1, 1, 16, 16]),
    () => model.macs([1, 1, 16, 16]),
    () => new Trainer(model),
    () => sequential([model, conv2d(1)]),
    () => model.predict(image),
    () => model.forward(image),
    () => model.stateDict(),
    () => model.save("never"),
    () => model.exportOnnx("never"),
    () => model.loadWeights("never"),
    () => model.device(),
    () => model.to("cpu"),
    () => fit(model, pictures(8)),
    () => evaluate(model, pictures(8)),
    () => trainer.step(image, [0]),
    () => trainer.gradients(),
  ];
  for (const call of calls) {
    expect(await rejection((async () => call())())).toMatchObject({ name: "ResNetError", code: "ERR_DISPOSED" });
  }
});

test("what runs when the model is disposed of rejects with ERR_DISPOSED", async () => {
  const many = tensor(new Float32Array(4096 * 256), [4096, 1, 16, 16]);
  const runs = [
    (model: ResNet) => model.predict(many, { batchSize: 1 }),
    (model: ResNet) => evaluate(model, pictures(4096), { batchSize: 1, signal: new AbortController().signal }),
    (model: ResNet) => fit(model, pictures(4096), { batchSize: 1 }),
  ];
  for (const run of runs) {
    const model = slow();
    const ended = rejection(run(model));
    await setTimeout(20);
    model.dispose();
    expect(await ended).toMatchObject({ name: "ResNetError", code: "ERR_DISPOSED" });
  }
});

test("a model that is disposed of under a callback ends the run, whether the callback ends or not", async () => {
  const model = new ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });
  const onEpochEnd = async () => {
    setImmediate(() => model.dispose());
    await new Promise(() => {});
  };
  expect(await rejection(fit(model, pictures(16), { batchSize: 8, onEpochEnd }))).toMatchObject({ code: "ERR_DISPOSED" });
});
