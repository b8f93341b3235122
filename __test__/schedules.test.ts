import * as api from "resnet-native";
import { cosine, evaluate, findLearningRate, fit, oneCycle, reduceOnPlateau, ResNet, sgd, stepDecay, tensor, Trainer, warmup } from "resnet-native";
import { expect, test } from "vitest";
import * as schedules from "../ts/schedules.js";
import { collect, digest, pictures, rejection } from "./pictures.js";

const tiny = (options?: ConstructorParameters<typeof ResNet>[1]) => new ResNet([[1, 8]], { numClasses: 4, ...options });
const optimizer = sgd({ lr: 0.1 });

test.each(Object.keys(schedules))("%s has its name, stays as it was made, and a run takes it", async (name) => {
  const given: Record<string, object> = { multiStep: { milestones: [1, 2] }, warmup: { epochs: 1 } };
  const schedule = (api as unknown as Record<string, (options?: object) => api.Schedule>)[name]!(given[name]);
  expect(schedule.name).toBe(name);
  expect(Object.isFrozen(schedule)).toBe(true);
  using model = tiny();
  expect((await fit(model, pictures(16), { epochs: 2, batchSize: 8, optimizer, schedule })).rows).toHaveLength(2);
});

test("a row's learning rate is that of the epoch's last step, and each step tells its own", async () => {
  using model = tiny();
  const run = fit(model, pictures(32), { epochs: 3, batchSize: 8, optimizer, schedule: warmup({ epochs: 1, startFactor: 0.5, followedBy: cosine() }) });
  const steps = new Map<number, number>();
  for await (const event of run) if (event.type === "step") steps.set((event.epoch - 1) * 4 + event.step - 1, event.lr);
  const lr = (step: number) => (step < 4 ? 0.1 * (0.5 + 0.5 * (step / 4)) : 0.05 * (1 + Math.cos((Math.PI * (step - 4)) / 8)));
  for (const [step, found] of steps) expect(found).toBeCloseTo(lr(step), 12);
  const { rows } = await run;
  for (const { epoch, lr: found } of rows) expect(found).toBeCloseTo(lr(epoch * 4 - 1), 12);
});

test("a run without an optimiser has SGD with momentum, whose rate rises and falls unless a schedule is given; an optimiser's rate stays", async () => {
  const run = async (options: api.FitOptions) => {
    using model = tiny({ inChannels: 1 });
    const { rows } = await fit(model, pictures(32), { epochs: 5, batchSize: 8, ...options });
    return { rates: rows.map(({ lr }) => lr), weights: await digest(model) };
  };
  const momentum = sgd({ lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 5e-4, decayNormsAndBiases: false });
  expect(await run({})).toEqual(await run({ optimizer: momentum, schedule: oneCycle({ rise: 0.2, divFactor: 10 }) }));
  const constant = await run({ schedule: api.constant() });
  expect(constant).toEqual(await run({ optimizer: momentum }));
  expect(constant.rates).toEqual(Array(5).fill(0.02));
  using model = tiny({ inChannels: 1 });
  const trainer = new Trainer(model);
  expect(trainer.lr).toBe(0.02);
});

test("a schedule's rate is the one that updates have", async () => {
  const run = async (rate: number, schedule?: api.Schedule) => {
    using model = tiny({ inChannels: 1 });
    await fit(model, pictures(32), { batchSize: 8, optimizer: sgd({ lr: rate }), schedule, shuffle: false });
    return await digest(model);
  };
  expect(await run(0.7, oneCycle({ max: 0.05, divFactor: 1, finalDivFactor: 1 }))).toBe(await run(0.05));
  expect(await run(0.7, oneCycle({ max: 0.05 }))).not.toBe(await run(0.05));
});

test("accumulated batches are one step of a schedule; groups multiply its rate", async () => {
  using model = tiny();
  const schedule = stepDecay({ every: 0.5, gamma: 0.5 });
  const { rows } = await fit(model, pictures(64), { batchSize: 8, accumulate: 2, optimizer, schedule });
  expect(rows[0]!.lr).toBe(0.05);
  const trained = async (lr: number, groups: api.ParameterGroup[]) => {
    using own = tiny({ inChannels: 1 });
    const run = { batchSize: 8, shuffle: false, schedule: oneCycle({ divFactor: 2 }) };
    await fit(own, pictures(32), { ...run, optimizer: sgd({ lr, groups }) });
    return await digest(own);
  };
  expect(await trained(0.1, [{ lrFactor: 0.5 }])).toBe(await trained(0.05, []));
});

test("a rate becomes smaller epoch by epoch while the loss is none that counts as better", async () => {
  using model = tiny();
  const data = { train: pictures(16), validation: pictures(16) };
  const schedule = reduceOnPlateau({ threshold: 1, patience: 1, factor: 0.5 });
  const rates = async (given: api.Schedule) => {
    const { rows } = await fit(model, data, { epochs: 6, batchSize: 16, optimizer: sgd({ lr: 0.01 }), schedule: given });
    return rows.map(({ lr }) => lr / 0.01);
  };
  expect(await rates(schedule)).toEqual([1, 1, 0.5, 0.5, 0.25, 0.25]);
  expect(await rates(warmup({ epochs: 2, startFactor: 0.5, followedBy: schedule }))).toEqual([0.5, 0.75, 1, 1, 0.5, 0.5]);
  expect(await rates(reduceOnPlateau({ patience: 100 }))).toEqual([1, 1, 1, 1, 1, 1]);
});

test("findLearningRate tells a rate and leaves the model as it was", async () => {
  using model = tiny({ inChannels: 1 });
  const trainer = new Trainer(model, { optimizer });
  const [batch] = await collect(pictures(64), { batchSize: 64 });
  await trainer.step(batch!.images, batch!.labels);
  const gradients = await trainer.gradients();
  const [before, metrics] = [await digest(model), await evaluate(model, pictures(64))];
  const curve = await findLearningRate(model, pictures(64), { batchSize: 32, minLr: 1e-5, maxLr: 100, steps: 80 });
  expect(await digest(model)).toBe(before);
  expect(await evaluate(model, pictures(64))).toEqual(metrics);
  expect(await trainer.gradients()).toEqual(gradients);
  const lrs = curve.rows.map(({ lr }) => lr);
  expect(lrs[0]).toBe(1e-5);
  expect(lrs[1]! / lrs[0]!).toBeCloseTo(1e7 ** (1 / 79), 9);
  expect(lrs).toContain(curve.suggestion);
  expect(curve.suggestion).toBeGreaterThan(1e-4);
  expect(curve.suggestion).toBeLessThan(10);
  // The same again, and training goes on as if nothing had been.
  expect(await findLearningRate(model, pictures(64), { batchSize: 32, minLr: 1e-5, maxLr: 100, steps: 80 })).toEqual(curve);
  using other = tiny({ inChannels: 1 });
  const twin = new Trainer(other, { optimizer });
  for (const one of [trainer, twin, twin]) await one.step(batch!.images, batch!.labels);
  expect(await digest(model)).toBe(await digest(other));
});

test("a search that ends early leaves the model as it was too: at a loss that is no number, by a signal, with data that do not fit", async () => {
  using model = tiny();
  const { rows } = await findLearningRate(model, pictures(32), { batchSize: 8, minLr: 1, maxLr: 1e38, steps: 50 });
  expect(rows.length).toBeLessThan(50);
  // Its channels are as unknown as before.
  const five = tensor(new Float32Array(5 * 64), [1, 5, 8, 8]);
  expect((await model.predict(five)).shape).toEqual([1, 4]);

  using stopped = tiny({ inChannels: 1 });
  const before = await digest(stopped);
  const controller = new AbortController();
  const reason = new Error("enough");
  const search = findLearningRate(stopped, pictures(64), { steps: 2 ** 20, maxLr: 1e-6, batchSize: 8, signal: controller.signal });
  const busy = await rejection(fit(stopped, pictures(16)));
  expect(busy).toMatchObject({ code: "ERR_BUSY" });
  setTimeout(() => controller.abort(reason), 50);
  expect(await rejection(search)).toBe(reason);
  expect(await digest(stopped)).toBe(before);
  expect(await rejection(findLearningRate(stopped, pictures(8, { classes: 5 })))).toMatchObject({ code: "ERR_LABEL" });
  expect(await rejection(findLearningRate(stopped, pictures(8, { channels: 3 })))).toMatchObject({ code: "ERR_SHAPE" });
  expect(await digest(stopped)).toBe(before);
});
