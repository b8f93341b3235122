// Puts numbers into a training that are not finite, or lead to some, at a moment that a seed chooses: the step that makes them says so, and no good file is
// written over.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { adam, fit, fromArrays, loadModel, ResNetError, sgd, Trainer } from "resnet-native";
import { Random } from "../random.mjs";
import { given, inTurn, tell } from "./given.mjs";
import { digest, images, spots, tinyModel } from "./subjects.mjs";

const { folder, seed, injections } = given;
const random = new Random(seed);
let worst = 0;
const failed = (error, ...codes) => error instanceof ResNetError && codes.includes(error.code);
const rejection = async (promise) => promise.then(() => undefined, (error) => error);
const sha = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
const LOSS = "ERR_NON_FINITE_LOSS";
const WEIGHTS = "ERR_NON_FINITE_WEIGHTS";

const kinds = {
  /** Images that are not finite: the step says so and changes nothing. */
  async "images of a step"(say) {
    const model = tinyModel();
    const trainer = new Trainer(model, { optimizer: random.pick([sgd, adam])() });
    for (let step = random.below(5); step > 0; step--) await trainer.step(images(4), [0, 1, 2, 3]);
    const before = await digest(model);
    const poisoned = images(4);
    poisoned.data[random.below(poisoned.data.length)] = random.pick([NaN, Infinity, -Infinity]);
    const error = await rejection(trainer.step(poisoned, [0, 1, 2, 3]));
    if (!failed(error, LOSS)) say(`the step gives ${error ?? "no error"}`);
    if ((await digest(model)) !== before) say("the step has changed weights or statistics");
    const next = await rejection(trainer.step(images(4), [0, 1, 2, 3]));
    if (next) say(`the next step: ${next}`);
    model.dispose();
  },
  /** A rate that throws weights out of f32: the step or the next says so, nothing is saved over the good file. */
  async "a rate of a step"(say) {
    const model = tinyModel();
    const file = join(folder, "good.safetensors");
    await model.save(file);
    const [good, weights] = [sha(file), await digest(model)];
    const trainer = new Trainer(model, { optimizer: random.pick([sgd, adam])() });
    for (let step = random.below(5); step > 0; step--) await trainer.step(images(4), [0, 1, 2, 3]);
    trainer.lr = random.pick([1e38, 3e38]);
    let error;
    let steps = 0;
    for (; steps < 5 && !error; steps++) error = await rejection(trainer.step(images(4), [0, 1, 2, 3]));
    if (!failed(error, WEIGHTS, LOSS)) say(`steps give ${error ?? "no error"}`);
    const finite = [...(await model.stateDict())].every(([, { data }]) => data.every(Number.isFinite));
    const saved = await rejection(model.save(file));
    if (!finite && !failed(saved, WEIGHTS)) say(`save gives ${saved ?? "no error"}, though weights are not finite`);
    if (!finite && sha(file) !== good) say("the good file was written over");
    if (finite && failed(error, WEIGHTS)) say(`${error.message}, but all weights are finite`);
    await model.loadWeights(join(folder, "good.safetensors")).catch((error) => say(`the good file cannot be loaded: ${error}`));
    if (!finite && (await digest(model)) !== weights) say("the good file has other weights");
    const next = await rejection(new Trainer(model).step(images(4), [0, 1, 2, 3]));
    if (!finite && next) say(`a step after the good file was loaded: ${next}`);
    model.dispose();
  },
  /** An image of a data set that overflows, in a fit with a checkpoint at each step: the error tells the step, and the last checkpoint is good. */
  async "an image of a fit"(say) {
    const [count, batchSize] = [24, 4];
    const place = random.below(count);
    const pixels = Float32Array.from({ length: count * 256 }, (_, i) => ((i * 31) % 256) / 256);
    pixels.fill(3e38, place * 256, (place + 1) * 256);
    const data = fromArrays({ images: pixels, shape: [count, 1, 16, 16], labels: Array.from({ length: count }, (_, i) => i % 4) });
    const dir = join(folder, `run-${place}-${random.seed()}`);
    const step = Math.floor(place / batchSize) + 1;
    const model = tinyModel();
    const error = await rejection(fit(model, data, { epochs: 1, batchSize, shuffle: false, checkpoint: { dir, everySteps: 1 } }));
    if (!failed(error, LOSS, WEIGHTS)) return say(`fit gives ${error ?? "no error"}`);
    const at = Number(/step (\d+)/.exec(error.message)?.[1]);
    worst = Math.max(worst, at - step);
    if (at < step || at > step + 1) say(`image ${place} is in step ${step}; the error: ${error.message}`);
    for (const name of readdirSync(dir).filter((name) => name.startsWith("step-"))) {
      const found = await loadModel(join(dir, name)).catch((error) => error);
      if (found instanceof Error) say(`${name} cannot be loaded: ${found.message}`);
      else if (![...(await found.stateDict())].every(([, { data }]) => data.every(Number.isFinite))) say(`${name} has numbers that are not finite`);
    }
    model.dispose();
  },
  /** A rate of a fit. */
  async "a rate of a fit"(say) {
    const model = tinyModel();
    const file = join(folder, "before.safetensors");
    await model.save(file);
    const good = sha(file);
    const error = await rejection(fit(model, spots(16), { epochs: 3, batchSize: 4, optimizer: random.pick([sgd, adam])({ lr: random.pick([1e30, 1e38]) }) }));
    const finite = [...(await model.stateDict())].every(([, { data }]) => data.every(Number.isFinite));
    if (!finite && !failed(error, WEIGHTS, LOSS)) say(`fit gives ${error ?? "no error"}, though weights are not finite`);
    if (!finite && !failed(await rejection(model.save(file)), WEIGHTS)) say("save takes weights that are not finite");
    if (!finite && sha(file) !== good) say("the good file was written over");
    model.dispose();
  },
};

tell({ tried: injections, failures: await inTurn(kinds, injections), worst });
