import { performance } from "node:perf_hooks";
import {
  batchNorm2d,
  conv2d,
  dropout,
  evaluate,
  fashionMnist,
  fit,
  type FitEvent,
  type FitOptions,
  globalAvgPool2d,
  type History,
  linear,
  relu,
  ResNet,
  ResNet18,
  sequential,
  sgd,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, digest, pictures, rejection } from "./pictures.js";

const tiny = (options?: ConstructorParameters<typeof ResNet>[1]) => new ResNet([[1, 8]], { numClasses: 4, ...options });
const image = tensor(new Float32Array(256), [1, 1, 16, 16]);

test("awaiting gives the history", async () => {
  using model = tiny();
  const data = { train: pictures(96), validation: pictures(32) };
  const history = await fit(model, data, { epochs: 3, batchSize: 32, optimizer: sgd({ lr: 0.05 }) });
  expect(history.rows.map(({ epoch, lr }) => [epoch, lr])).toEqual([
    [1, 0.05],
    [2, 0.05],
    [3, 0.05],
  ]);
  expect(history.rows[2]!.loss).toBeLessThan(history.rows[0]!.loss);
  const metrics = await evaluate(model, data.validation, { batchSize: 32 });
  expect(metrics).toEqual({ loss: history.rows[2]!.validationLoss, accuracy: history.rows[2]!.validationAccuracy });
  expect(String(history).split("\n")).toHaveLength(5);
  for (const train of [data.train, any({ train: data.train, source: "here" })]) {
    expect((await fit(model, train)).rows[0]!.validationLoss).toBeUndefined();
  }
});

test("iterating gives the events, in order, and each epoch", async () => {
  using model = tiny();
  const run = fit(model, { train: pictures(96), validation: pictures(40) }, { epochs: 2, batchSize: 32 });
  const events: FitEvent[] = [];
  for await (const event of run) events.push(event);
  const types = ["epochBegin", "step", "validation", "evaluation", "epoch"];
  const place = ({ type, epoch }: FitEvent) => epoch * types.length + types.indexOf(type);
  expect(events.map(place)).toEqual(events.map(place).toSorted((a, b) => a - b));
  const { rows } = await run;
  expect(events.filter(({ type }) => type === "epoch")).toEqual(rows.map((row) => ({ type: "epoch", ...row })));
  const steps = events.filter((event) => event.type === "step");
  expect(steps.at(-1)).toMatchObject({ epoch: 2, step: 3, steps: 3, secondsLeft: 0 });
  expect(events.findLast((event) => event.type === "validation")).toMatchObject({ done: 40, total: 40 });
});

test("a slow reader misses steps, never epochs; a late one gets the past epochs", async () => {
  using model = tiny();
  const run = fit(model, pictures(64), { epochs: 3, batchSize: 2 });
  const slow = run[Symbol.asyncIterator]();
  await run;
  for (const iterator of [slow, run[Symbol.asyncIterator]()]) {
    const events: FitEvent[] = [];
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) events.push(next.value);
    expect(events.filter(({ type }) => type === "epoch").map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(events.filter(({ type }) => type === "step").length).toBeLessThanOrEqual(3);
  }
});

test("leaving the iteration only stops listening", async () => {
  using model = tiny();
  const run = fit(model, pictures(64), { epochs: 3, batchSize: 8 });
  for await (const event of run) {
    expect(event.type).toBe("epochBegin");
    break;
  }
  expect((await run).rows).toHaveLength(3);
});

test("same seed, same bits, for any number of threads", async () => {
  const data = pictures(100);
  const trained = async (options: { threads: number; seed?: number }) => {
    using model = tiny({ seed: 4, threads: options.threads });
    await fit(model, data, { epochs: 2, batchSize: 32, seed: options.seed, optimizer: sgd({ momentum: 0.9 }) });
    return await digest(model);
  };
  const digests = [];
  for (const threads of [1, 2, 1, 2]) digests.push(await trained({ threads }));
  expect(new Set(digests).size).toBe(1);
  expect(await trained({ threads: 2, seed: 5 })).not.toBe(digests[0]);
});

test("ResNet-18's bits do not depend on the number of threads either", async () => {
  const { train } = await fashionMnist({ source: "sample", resize: 32 });
  const digests = [];
  for (const threads of [1, 2]) {
    using model = new ResNet18({ seed: 4, threads });
    await fit(model, train.take(96), { batchSize: 64, optimizer: sgd({ lr: 0.01 }) });
    digests.push(await digest(model));
  }
  expect(digests[0]).toBe(digests[1]);
});

test("onEpochEnd holds the run while its promise is pending, and readers are served meanwhile", async () => {
  using model = tiny();
  const seen: string[] = [];
  const history = await fit(model, pictures(64), {
    epochs: 2,
    batchSize: 16,
    onStep: ({ epoch }) => seen.push(`step of ${epoch}`),
    async onEpochEnd(row, soFar) {
      seen.push(`end of ${row.epoch}`);
      expect(soFar.rows).toHaveLength(row.epoch);
      const before = await digest(model);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await model.predict(image)).shape).toEqual([1, 4]);
      expect(await digest(model)).toBe(before);
      seen.push(`resumed after ${row.epoch}`);
    },
  });
  expect(history.rows).toHaveLength(2);
  const order = seen.filter((entry) => !entry.startsWith("step"));
  expect(order).toEqual(["end of 1", "resumed after 1", "end of 2", "resumed after 2"]);
  expect(seen.lastIndexOf("step of 1")).toBeLessThan(seen.indexOf("end of 1"));
  expect(seen.indexOf("step of 2")).toBeGreaterThan(seen.indexOf("resumed after 1"));
});

test.each([
  [
    "onStep throws",
    {
      onStep: () => {
        throw new Error("mine");
      },
    },
  ],
  ["onStep rejects", { onStep: () => Promise.reject(new Error("mine")) }],
  [
    "onEpochEnd throws",
    {
      onEpochEnd: () => {
        throw new Error("mine");
      },
    },
  ],
  ["onEpochEnd rejects", { onEpochEnd: () => Promise.reject(new Error("mine")) }],
])("when %s, the run rejects with it and the model goes on", async (_, callbacks) => {
  using model = tiny();
  const error = await rejection(fit(model, pictures(64), { epochs: 500, batchSize: 16, ...callbacks }));
  expect(error).toMatchObject({ message: "mine", history: { rows: expect.any(Array) } });
  expect((await fit(model, pictures(64))).rows).toHaveLength(1);
});

test("an abort stops within a batch, with the reason and the weights of a whole step", async () => {
  const { train } = await fashionMnist({ source: "sample", resize: 64 });
  const network = () => new ResNet([[1, 64]], { seed: 2 });
  using aborted = network();
  const controller = new AbortController();
  const reason = { my: "reason" };
  let last = 0;
  const options = { batchSize: 64, shuffle: false, optimizer: sgd(), signal: controller.signal };
  const onStep = ({ step }: { step: number }) => {
    last = step;
    if (step === 2) controller.abort(reason);
  };
  const error = await rejection(fit(aborted, train, { ...options, onStep }));
  expect(error).toBe(reason);
  expect(error).toHaveProperty("history.rows", []);
  const stopped = await digest(aborted);

  using model = network();
  const trainer = new Trainer(model, { optimizer: sgd() });
  const digests: string[] = [];
  for await (const { images, labels } of train.take(4 * 64).batches({ batchSize: 64 })) {
    await trainer.step(images, labels);
    digests.push(await digest(model));
  }
  // The step that the abort followed, or the one that was under way by then.
  expect(digests.slice(last - 1, last + 1)).toContain(stopped);
});

test("an abort ends a run that a callback holds, and its primitive reason comes out as it is", async () => {
  using model = tiny();
  const controller = new AbortController();
  const run = fit(model, pictures(16), {
    signal: controller.signal,
    onEpochEnd: () => {
      controller.abort("enough");
      return new Promise(() => {});
    },
  });
  expect(await rejection(run)).toBe("enough");
  expect((await fit(model, pictures(16))).rows).toHaveLength(1);
});

test("a signal that is already aborted starts nothing; one signal serves many runs", async () => {
  using model = tiny();
  const reason = new Error("before");
  expect(await rejection(fit(model, pictures(16), { signal: AbortSignal.abort(reason) }))).toBe(reason);
  expect(model.inChannels).toBeUndefined();
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i++) await fit(model, pictures(16), { signal });
  expect((await evaluate(model, pictures(16), { signal })).loss).toBeGreaterThan(0);
});

test("a second writer is refused while one is at work, readers are served", async () => {
  using model = tiny();
  const controller = new AbortController();
  const run = fit(model, pictures(64), { epochs: 1e6, batchSize: 8, signal: controller.signal });
  await run[Symbol.asyncIterator]().next();
  const busy = { name: "ResNetError", code: "ERR_BUSY" };
  expect(await rejection(fit(model, pictures(8)))).toMatchObject(busy);
  expect(await rejection(new Trainer(model).step(image, [0]))).toMatchObject(busy);
  expect(await rejection(model.loadWeights("any.safetensors"))).toMatchObject(busy);
  expect((await model.predict(image)).shape).toEqual([1, 4]);
  expect((await evaluate(model, pictures(8))).loss).toBeGreaterThan(0);
  expect((await model.stateDict()).size).toBeGreaterThan(0);
  expect(model.numParameters).toBeGreaterThan(0);
  controller.abort();
  expect(await rejection(run)).toMatchObject({ name: "AbortError" });
  expect((await fit(model, pictures(8))).rows).toHaveLength(1);
});

test("predictions between two steps see whole-step weights", async () => {
  using model = tiny({ inChannels: 1 });
  const digests = new Set<string>([await digest(model)]);
  const run = fit(model, pictures(64), { epochs: 2, batchSize: 8, shuffle: false, optimizer: sgd() });
  const seen: string[] = [];
  for await (const event of run) if (event.type === "step") seen.push(await digest(model));
  using again = tiny({ inChannels: 1 });
  const trainer = new Trainer(again, { optimizer: sgd() });
  for (let epoch = 0; epoch < 2; epoch++) {
    for await (const { images, labels } of pictures(64).batches({ batchSize: 8 })) {
      await trainer.step(images, labels);
      digests.add(await digest(again));
    }
  }
  expect(seen.length).toBeGreaterThan(0);
  for (const one of seen) expect(digests).toContain(one);
});

test("the event loop stays free", async () => {
  const { train } = await fashionMnist({ source: "sample", resize: 64 });
  using model = new ResNet18();
  const controller = new AbortController();
  const run = fit(model, train, { epochs: 10, batchSize: 64, signal: controller.signal });
  await run[Symbol.asyncIterator]().next();
  const before = performance.eventLoopUtilization();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  // A share, not a delay: on a busy machine everything is late. It is 1 while something is computed here.
  const { utilization } = performance.eventLoopUtilization(before);
  controller.abort();
  await rejection(run);
  expect(utilization).toBeLessThan(0.5);
});

test("what cannot be trained is refused before anything happens", async () => {
  using model = tiny({ inChannels: 1 });
  const before = await digest(model);
  const cases = [
    [pictures(8, { classes: 5 }), {}, "ERR_LABEL", "labels: expected labels below the network's 4 classes, got 4 at index 4"],
    [pictures(8, { channels: 3 }), {}, "ERR_SHAPE", "images: expected 1 channels, got 3"],
    [
      { train: pictures(8), validation: pictures(8, { classes: 6 }) },
      {},
      "ERR_LABEL",
      "labels: expected labels below the network's 4 classes, got 4 at index 4",
    ],
    [
      { train: pictures(8), validation: pictures(8, { channels: 2 }) },
      {},
      "ERR_SHAPE",
      "validation: expected 1 channels, got 2",
    ],
    [
      pictures(8),
      { batchSize: 16, dropLast: true },
      "ERR_INVALID_ARGUMENT",
      "batchSize: expected at most the 8 samples of the set with dropLast, got 16",
    ],
  ] as const;
  for (const [data, options, code, message] of cases) {
    expect(await rejection(fit(model, data, options))).toMatchObject({
      name: "ResNetError",
      code,
      message,
      history: { rows: [] },
    });
  }
  expect(await digest(model)).toBe(before);
});

test("a batch that leaves one value per channel is refused", async () => {
  using model = tiny();
  const one = pictures(5, { side: 4 });
  expect(await rejection(fit(model, one, { batchSize: 4 }))).toMatchObject({ code: "ERR_SHAPE" });
  expect((await fit(model, one, { batchSize: 4, dropLast: true })).rows).toHaveLength(1);
});

test("a loss that is no number ends the run and names the step", async () => {
  using model = tiny();
  const error = await rejection(fit(model, pictures(64), { batchSize: 16, optimizer: sgd({ lr: 1e30 }) }));
  expect(error).toMatchObject({ code: "ERR_NON_FINITE_LOSS", message: expect.stringMatching(/epoch 1, step [2-4]/) });
});

test("a second fit goes on with weights, statistics and dropout; orders and momentum begin anew", async () => {
  const data = pictures(96);
  const options = { batchSize: 32, shuffle: false, optimizer: sgd({ lr: 0.05 }) };
  const trained = async (runs: FitOptions[]) => {
    using model = sequential([conv2d(6), batchNorm2d(), relu(), dropout({ p: 0.3 }), globalAvgPool2d(), linear(4)], { seed: 3 });
    const rows = [];
    for (const run of runs) rows.push(...(await fit(model, data, run)).rows);
    return { weights: await digest(model), epochs: rows.map(({ epoch }) => epoch), losses: rows.map(({ loss }) => loss) };
  };
  const twice = await trained([options, options]);
  const once = await trained([{ ...options, epochs: 2 }]);
  expect(twice).toEqual({ ...once, epochs: [1, 1] });
  for (const change of [{ optimizer: sgd({ lr: 0.05, momentum: 0.9 }) }, { shuffle: true }]) {
    const changed = { ...options, ...change };
    expect((await trained([changed, changed])).weights).not.toBe((await trained([{ ...changed, epochs: 2 }])).weights);
  }

  // With a rate of 0, what differs between epochs is which samples a batch has.
  using model = tiny();
  const losses = async (epochs: number, seed?: number) => {
    const { rows } = await fit(model, data, { epochs, batchSize: 32, seed, optimizer: sgd({ lr: 0 }) });
    return rows.map(({ loss }) => loss);
  };
  const [first, second] = await losses(2);
  expect(second).not.toBe(first);
  expect(await losses(2)).toEqual([first, second]);
  expect(await losses(1, 7)).not.toEqual([first]);
});

test("a run is a promise", async () => {
  using model = tiny();
  const promise: Promise<History> = fit(model, pictures(16));
  let settled = false;
  await promise.finally(() => (settled = true));
  expect(settled).toBe(true);
  expect(await fit(model, "data" as never).catch((error: unknown) => error)).toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
  });
  expect(Object.prototype.toString.call(promise)).toBe("[object FitRun]");
});
