import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  adamw,
  cosine,
  evaluate,
  fit,
  type FitEvent,
  type FitOptions,
  fromArrays,
  loadModel,
  reduceOnPlateau,
  ResNet,
  sgd,
  type StepEvent,
  tensor,
  Trainer,
  warmup,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, collect, digest, pictures, rejection } from "./pictures.js";

const tiny = (options?: ConstructorParameters<typeof ResNet>[1]) => new ResNet([[1, 8]], { numClasses: 4, seed: 3, ...options });
const image = tensor(new Float32Array(256), [1, 1, 16, 16]);
const sets = (samples = 96) => ({ train: pictures(samples), validation: pictures(40) });
const options = { epochs: 4, batchSize: 32, optimizer: sgd({ lr: 0.05 }) };
/** With a rate of 0 and the samples in order every epoch has the same training loss. */
const still = { ...options, shuffle: false, optimizer: sgd({ lr: 0 }) };

async function events(run: AsyncIterable<FitEvent>): Promise<FitEvent[]> {
  const all = [];
  for await (const event of run) all.push(event);
  return all;
}

test("averages are evaluated, are there when an epoch ends, and change nothing of the training", async () => {
  const data = sets();
  using model = tiny();
  const path = join(mkdtempSync(join(tmpdir(), "resnet-native-")), "averages.safetensors");
  const evaluated: object[] = [];
  const history = await fit(model, data, {
    ...options,
    epochs: 2,
    ema: { decay: 0.75, warmup: true },
    onEpochEnd: async ({ epoch }) => {
      evaluated.push(await evaluate(model, data.validation, { batchSize: 32 }));
      if (epoch === 2) await model.save(path);
    },
  });
  using plain = tiny();
  const without = await fit(plain, data, { ...options, epochs: 2 });
  expect(history.rows.map(({ loss }) => loss)).toEqual(without.rows.map(({ loss }) => loss));
  expect(evaluated).toEqual(history.rows.map((row) => ({ loss: row.validationLoss, accuracy: row.validationAccuracy })));
  using saved = await loadModel(path);
  expect(await digest(saved)).toBe(await digest(model));

  // The average by its definition, from the weights after each step.
  using again = tiny({ inChannels: 1 });
  const trainer = new Trainer(again, { optimizer: options.optimizer });
  const average = await again.stateDict();
  let updates = 0;
  for (const epoch of [1, 2]) {
    for (const { images, labels } of await collect(data.train, { batchSize: 32, shuffle: true, seed: 3, epoch })) {
      await trainer.step(images, labels);
      const decay = Math.min(0.75, (1 + updates) / (10 + updates));
      updates++;
      for (const [name, { data: values }] of await again.stateDict()) {
        const kept = average.get(name)!.data;
        values.forEach((value, i) => (kept[i] = kept[i]! + (1 - decay) * (value - kept[i]!)));
      }
    }
  }
  for (const [name, { data: values }] of await model.stateDict()) {
    const kept = average.get(name)!.data;
    expect(Math.max(...values.map((value, i) => Math.abs(value - kept[i]!))), name).toBeLessThan(1e-6);
  }
});

test("an abort within an epoch leaves the weights that are trained, one at its end the averages", async () => {
  const data = sets();
  const stopped = async (ema: number | undefined, place: "onEvaluate" | "onEpochEnd") => {
    using model = tiny();
    const controller = new AbortController();
    await rejection(fit(model, data, { ...options, ema, signal: controller.signal, [place]: () => controller.abort() }));
    return await digest(model);
  };
  expect(await stopped(0.9, "onEvaluate")).toBe(await stopped(undefined, "onEvaluate"));
  expect(await stopped(0.9, "onEpochEnd")).not.toBe(await stopped(undefined, "onEpochEnd"));
});

test("a run ends when no improvement has come in time", async () => {
  using model = tiny();
  const history = await fit(model, pictures(64), { ...still, epochs: 9, earlyStopping: { monitor: "loss", patience: 2 } });
  expect(history.rows.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
  expect(history.stoppedEarly).toBe(true);
  expect(history.best).toEqual({ epoch: 1, step: 2, monitor: "loss", value: history.rows[0]!.loss });
  const going = await fit(model, sets(), { ...options, earlyStopping: { patience: 4 } });
  expect([going.rows.length, going.stoppedEarly, going.best!.monitor]).toEqual([4, false, "validationLoss"]);
  expect((await fit(model, sets(), options)).best).toBeUndefined();
});

test("a run ends with its best weights, also those of an average", async () => {
  const { train, validation } = sets();
  const { value } = await validation.batches({ batchSize: validation.length }).next();
  const { images, labels } = value!;
  // Under wrong names, whatever is learnt makes it worse.
  const worse = fromArrays({ images: images.data, shape: images.shape, labels: Uint32Array.from(labels, (label) => (label + 1) % 4) });
  for (const ema of [undefined, 0.5]) {
    using model = tiny();
    const digests: string[] = [];
    const history = await fit(model, { train, validation: worse }, {
      ...options,
      epochs: 8,
      optimizer: sgd({ lr: 0.1, momentum: 0.9 }),
      restoreBest: "validationAccuracy",
      ema,
      onEpochEnd: async (row, { best }) => {
        digests.push(await digest(model));
        if (best!.epoch === row.epoch) expect(best!.value).toBe(row.validationAccuracy);
      },
    });
    const most = Math.max(...history.rows.map((row) => row.validationAccuracy!));
    const equal = history.rows.filter((row) => row.validationAccuracy === most);
    // Of equal accuracies the one with the smallest loss.
    const best = equal.reduce((best, row) => (row.validationLoss! < best.validationLoss! ? row : best)).epoch - 1;
    expect(best).toBeLessThan(7);
    expect(history.best).toEqual({ epoch: best + 1, step: 3, monitor: "validationAccuracy", value: most });
    expect(await digest(model)).toBe(digests[best]);
    expect(digests.at(-1)).not.toBe(digests[best]);
  }
});

test("the validation set is evaluated every few epochs or steps", async () => {
  const data = sets();
  using model = tiny();
  const every = await fit(model, data, { ...options, validateEvery: { epochs: 2 } });
  expect(every.rows.map((row) => row.validationLoss !== undefined)).toEqual([false, true, false, true]);
  const seen: object[] = [];
  const { rows } = await fit(model, data, {
    ...options,
    epochs: 3,
    validateEvery: { steps: 2 },
    async onEvaluate({ epoch, step, ...event }) {
      const { loss, accuracy } = await evaluate(model, data.validation, { batchSize: 32 });
      expect(event).toEqual({ type: "evaluation", validationLoss: loss, validationAccuracy: accuracy });
      seen.push([epoch, step]);
    },
  });
  // Three steps an epoch: those with the numbers 2, 4, 6 and 8.
  expect(seen).toEqual([
    [1, 2],
    [2, 1],
    [2, 3],
    [3, 2],
  ]);
  expect(rows.map((row) => row.validationLoss !== undefined)).toEqual([false, true, false]);
});

test("an evaluation within an epoch may be the last", async () => {
  using model = tiny();
  const validateEvery = { steps: 1 };
  const { rows, stoppedEarly, best } = await fit(model, sets(), {
    ...still,
    validateEvery,
    earlyStopping: { monitor: "validationAccuracy", patience: 1, minDelta: 1 },
  });
  expect(stoppedEarly).toBe(true);
  expect(rows).toMatchObject([{ epoch: 1, validationAccuracy: expect.any(Number) }]);
  expect(best).toMatchObject({ epoch: 1, step: 1 });
});

test("a trial run is one epoch of a few batches, at the rates of the run that is tried", async () => {
  const ended: number[] = [];
  const schedule = warmup({ epochs: 2, followedBy: cosine() });
  const run = async (more: FitOptions) => {
    using model = tiny();
    const trial = fit(model, sets(), { ...options, batchSize: 16, schedule, ...more });
    const all = await events(trial);
    ended.push((await trial).rows.length);
    return all;
  };
  // Each step is followed by an evaluation, which holds the run until its event is read.
  const whole = await run({ validateEvery: { steps: 1 } });
  for (const [fastDevRun, steps] of [[true, 1] as const, [2, 2] as const, [1000, 6] as const]) {
    const trial = await run({ fastDevRun, validateEvery: { epochs: 4 }, earlyStopping: { patience: 1 }, restoreBest: true });
    expect(trial[0]).toEqual({ type: "epochBegin", epoch: 1, steps });
    const last = whole.find((event) => event.type === "step" && event.step === steps) as StepEvent;
    expect(last.epoch).toBe(1);
    expect(trial.findLast(({ type }) => type === "step")).toMatchObject({ epoch: 1, step: steps, steps, lr: last.lr });
    expect(trial.findLast(({ type }) => type === "validation")).toMatchObject({ total: Math.min(steps * 16, 40) });
  }
  expect(ended.slice(1)).toEqual([1, 1, 1]);
});

test("a few batches can be overfitted: always the same, and nothing is validated", async () => {
  const data = sets(200);
  using model = tiny();
  const { rows } = await fit(model, data, { ...still, shuffle: true, overfitBatches: 2 });
  using other = tiny();
  const few = await fit(other, data.train.take(64), { ...still, epochs: 1 });
  for (const row of rows) expect(row).toMatchObject({ loss: few.rows[0]!.loss });
  expect(rows.map((row) => row.validationLoss)).toEqual([undefined, undefined, undefined, undefined]);
});

test("initialEpoch goes on with the orders and rates of the epochs that follow", async () => {
  const rows = async (more: FitOptions) => {
    using model = tiny();
    return (await fit(model, pictures(96), { ...options, optimizer: sgd({ lr: 0 }), ...more })).rows;
  };
  const rates = async (more: FitOptions) => {
    using model = tiny();
    return (await fit(model, pictures(96), { ...options, schedule: cosine(), ...more })).rows.map(({ epoch, lr }) => [epoch, lr]);
  };
  const losses = (all: Awaited<ReturnType<typeof rows>>) => all.map(({ epoch, loss }) => [epoch, loss]);
  expect(losses(await rows({ initialEpoch: 2 }))).toEqual(losses(await rows({})).slice(2));
  expect(await rates({ initialEpoch: 3 })).toEqual((await rates({})).slice(3));
});

test("steps tell the norm of the gradients on request, before clipping", async () => {
  const [batch] = await collect(pictures(32), { batchSize: 32 });
  using model = tiny();
  const trainer = new Trainer(model);
  await trainer.step(batch!.images, batch!.labels);
  const squares = [...(await trainer.gradients()).values()].flatMap(({ data }) => [...data].map((value) => value ** 2));
  const norm = Math.sqrt(squares.reduce((sum, square) => sum + square));
  const told = async (more: FitOptions) => {
    using again = tiny();
    const all = await events(fit(again, pictures(32), { batchSize: 32, shuffle: false, ...more }));
    return (all.find(({ type }) => type === "step") as StepEvent).gradientNorm;
  };
  expect(await told({ gradientNorm: true })).toBeCloseTo(norm, 5);
  expect(await told({ gradientNorm: true, clipNorm: norm / 8 })).toBe(await told({ gradientNorm: true, clipValue: 1e-3 }));
  expect(await told({ clipNorm: 1 })).toBeUndefined();
});

test("callbacks are awaited in order while the run is held", async () => {
  using model = tiny();
  const seen: string[] = [];
  const held = (name: string) => async () => {
    seen.push(name);
    const before = await digest(model);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await digest(model)).toBe(before);
    seen.push(`after ${name}`);
  };
  const run = fit(model, sets(), {
    ...options,
    epochs: 2,
    onEpochBegin: ({ epoch, steps }) => held(`begin ${epoch} of ${steps}`)(),
    onStep: () => seen.push("step"),
    onEvaluate: ({ epoch, step }, { rows }) => held(`evaluation ${epoch}/${step}, ${rows.length} rows`)(),
    onEpochEnd: ({ epoch }) => held(`end ${epoch}`)(),
  });
  const types = (await events(run)).map(({ type }) => type).filter((type) => type !== "step" && type !== "validation");
  expect(types).toEqual(["epochBegin", "evaluation", "epoch", "epochBegin", "evaluation", "epoch"]);
  const names = [1, 2].flatMap((epoch) => [`begin ${epoch} of 3`, `evaluation ${epoch}/3, ${epoch - 1} rows`, `end ${epoch}`]);
  expect(seen.filter((name) => name !== "step")).toEqual(names.flatMap((name) => [name, `after ${name}`]));
  for (const name of ["begin 2 of 3", "evaluation 1/3, 0 rows", "end 1"]) expect(seen[seen.indexOf(name) + 1]).toBe(`after ${name}`);
});

test.each(["onEpochBegin", "onEvaluate"] as const)("when %s throws or rejects, the run rejects with it", async (name) => {
  using model = tiny();
  const mine = new Error("mine");
  const thrown = () => {
    throw mine;
  };
  for (const callback of [thrown, () => Promise.reject(mine)]) {
    const error = await rejection(fit(model, sets(), { ...options, [name]: callback }));
    expect(error).toBe(mine);
    expect(mine).toHaveProperty("history.rows", []);
  }
});

test("a run is paused between steps, serves readers meanwhile, and goes on to the same bits", async () => {
  const path = join(mkdtempSync(join(tmpdir(), "resnet-native-")), "paused.safetensors");
  using model = tiny();
  let steps = 0;
  let reached = () => {};
  const fifth = new Promise<void>((resolve) => (reached = resolve));
  const onStep = ({ step, epoch }: { step: number; epoch: number }) => (steps = (epoch - 1) * 24 + step);
  const onEvaluate = ({ epoch, step }: { epoch: number; step: number }) => {
    if (epoch > 1 || step !== 5) return;
    run.pause();
    reached();
  };
  const run = fit(model, sets(), { ...options, batchSize: 4, validateEvery: { steps: 5 }, onEvaluate, onStep });
  run.pause();
  expect(run.paused).toBe(true);
  expect(() => run.pause()).not.toThrow();
  const quiet = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = [steps, await digest(model)];
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await model.predict(image)).shape).toEqual([1, 4]);
    await model.save(path);
    expect([steps, await digest(model)]).toEqual(before);
    return steps;
  };
  await quiet();
  run.resume();
  expect(run.paused).toBe(false);
  await fifth;
  expect(await quiet()).toBe(5);
  run.resume();
  run.resume();
  const { rows } = await run;
  // The pauses do not count.
  expect(run.paused).toBe(false);
  run.pause();
  expect(run.paused).toBe(false);
  expect(rows).toHaveLength(4);
  using other = tiny();
  await fit(other, sets(), { ...options, batchSize: 4, validateEvery: { steps: 5 } });
  expect(await digest(model)).toBe(await digest(other));
});

test("an abort or dispose() ends a paused run", async () => {
  const model = tiny();
  const controller = new AbortController();
  const paused = async (signal?: AbortSignal) => {
    const run = fit(model, pictures(64), { epochs: 1e6, batchSize: 8, signal });
    await run[Symbol.asyncIterator]().next();
    run.pause();
    await new Promise((resolve) => setTimeout(resolve, 20));
    // A run by itself would be awaited.
    return { run };
  };
  const aborted = rejection((await paused(controller.signal)).run);
  controller.abort("enough");
  expect(await aborted).toBe("enough");
  const disposed = rejection((await paused()).run);
  model.dispose();
  expect(await disposed).toMatchObject({ code: "ERR_DISPOSED" });
});

test("same bits for any number of threads with all that a run keeps", async () => {
  const digests = [];
  for (const threads of [1, 2, 2]) {
    using model = tiny({ threads });
    await fit(model, sets(), {
      ...options,
      optimizer: adamw(),
      schedule: reduceOnPlateau({ patience: 0 }),
      clipNorm: 0.5,
      gradientNorm: true,
      ema: { decay: 0.9, warmup: true },
      validateEvery: { steps: 2 },
      earlyStopping: { patience: 5 },
      restoreBest: true,
      initialEpoch: 1,
    });
    digests.push(await digest(model));
  }
  expect(new Set(digests).size).toBe(1);
});

const validated = sets(8);
const bare = validated.train;
test.each<[string, FitOptions, RegExp | string, typeof bare?]>([
  ["a decay of 1", { ema: 1 }, "ema: expected a finite number from 0 to below 1 or an object, got 1"],
  ["a decay below 0", { ema: { decay: -0.1 } }, "ema.decay: expected a finite number from 0 to below 1, got -0.1"],
  ["an average without decay", { ema: any({}) }, /^ema.decay: .*, got undefined$/],
  ["another average", { ema: any({ decay: 0.5, warmUp: true }) }, /^ema: .*did you mean warmup/],
  ["no patience", { earlyStopping: any({}) }, /^earlyStopping.patience: .*, got undefined$/],
  ["half a patience", { earlyStopping: { patience: 0.5 } }, /^earlyStopping.patience: /],
  ["a negative change", { earlyStopping: { patience: 1, minDelta: -1 } }, /^earlyStopping.minDelta: /],
  ["another monitor", { earlyStopping: { patience: 1, monitor: any("val_loss") } }, /^earlyStopping.monitor: .*, got "val_loss"$/],
  ["another best", { restoreBest: any("best") }, /^restoreBest: expected a boolean or "validationLoss" or /],
  ["neither epochs nor steps", { validateEvery: any({}) }, "validateEvery: expected either epochs or steps, got neither"],
  ["epochs and steps", { validateEvery: { epochs: 1, steps: 1 } }, "validateEvery: expected either epochs or steps, got both"],
  ["every 0 steps", { validateEvery: { steps: 0 } }, /^validateEvery.steps: expected an integer from 1 /],
  ["0 batches", { overfitBatches: 0 }, /^overfitBatches: /],
  ["half a batch", { fastDevRun: 0.5 }, /^fastDevRun: expected a boolean or an integer from 1 /],
  ["a first epoch after the last", { initialEpoch: 2, epochs: 2 }, "initialEpoch: expected less than the run's 2 epochs, got 2"],
  ["two kinds of trial", { fastDevRun: 1, overfitBatches: 3 }, "overfitBatches: expected none beside fastDevRun, got 3"],
  ["epochs that never come", { epochs: 2, validateEvery: { epochs: 3 } }, /^validateEvery.epochs: .*, got 3$/],
  ["epochs that are over", { epochs: 5, initialEpoch: 3, validateEvery: { epochs: 3 } }, /^validateEvery.epochs: .*, got 3$/],
  ["steps that never come", { epochs: 2, validateEvery: { steps: 5 } }, "validateEvery.steps: expected at most the run's 4 steps, got 5"],
  ["nothing to validate", { validateEvery: { epochs: 1 } }, "validateEvery: expected a validation set for it, got 1", bare],
  ["nothing to validate while overfitting", { validateEvery: { steps: 1 }, overfitBatches: 1 }, /^validateEvery: expected none beside overfitB/],
  ["nothing to stop by", { earlyStopping: { patience: 1 } }, /^earlyStopping: .*nothing is validated, got validationLoss$/, bare],
  ["nothing to stop by while overfitting", { earlyStopping: { patience: 1 }, overfitBatches: 1 }, /^earlyStopping: /],
  ["nothing to be the best by", { restoreBest: true }, /^restoreBest: .*got validationLoss$/, bare],
])("%s is refused before anything is trained", async (_, wrong, message, data) => {
  using model = tiny();
  const seen: unknown[] = [];
  const callbacks = { onEpochBegin: () => seen.push(1), onStep: () => seen.push(1) };
  const error = await rejection(fit(model, data ?? validated, { batchSize: 4, ...wrong, ...callbacks }));
  expect(error).toMatchObject({ name: "ResNetError", code: "ERR_INVALID_ARGUMENT" });
  if (typeof message === "string") expect(error).toHaveProperty("message", message);
  else expect((error as Error).message).toMatch(message);
  expect(seen).toEqual([]);
});
