// Data that is not what it says: labels out of range, iterables that throw or end in the middle, folders that change while they are trained on, arrays that
// are written to after they were given.

import { copyFileSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { evaluate, fit, fromArrays, fromIterable, imageFolder, ResNet, ResNetError, Trainer } from "resnet-native";
import { Random } from "../random.mjs";
import { given, inTurn, tell } from "./given.mjs";
import { digest, images, spots, tinyModel } from "./subjects.mjs";

const { seed, rounds, folder, fixtures } = given;
const random = new Random(seed);
const picture = join(fixtures, "pictures/rgb.png");
const rejection = (promise) => Promise.resolve(promise).then(() => undefined, (error) => error);
const failure = (call) => rejection((async () => call())());
const isOf = (error, ...codes) => error instanceof ResNetError && codes.includes(error.code);

const kinds = {
  async "labels that no class has"(say) {
    const classes = 4;
    const model = tinyModel();
    const before = await digest(model);
    const labels = Array.from({ length: 8 }, () => random.below(classes));
    labels[random.below(8)] = random.pick([4, 5, 255, 65_536, 2 ** 31, 2 ** 32 - 2]);
    const step = await failure(() => new Trainer(model).step(images(8), labels));
    if (!isOf(step, "ERR_LABEL")) say(`a step gives ${step}`);
    const data = fromArrays({ images: new Uint8Array(8 * 256), shape: [8, 1, 16, 16], labels });
    for (const call of [() => fit(model, data, { epochs: 1 }), () => evaluate(model, data)]) {
      const error = await failure(call);
      if (!isOf(error, "ERR_LABEL", "ERR_SHAPE")) say(`${call} gives ${error}`);
    }
    if ((await digest(model)) !== before) say("weights have changed");
    const odd = random.pick([[-1], [0.5], [NaN], ["0"], [2 ** 32], [null], [1n]]);
    const error = await failure(() => fromArrays({ images: [1], shape: [1, 1, 1, 1], labels: odd }));
    if (!isOf(error, "ERR_LABEL", "ERR_INVALID_ARGUMENT")) say(`labels ${odd} give ${error}`);
    model.dispose();
  },
  async "iterables"(say) {
    const good = () => ({ image: { data: new Uint8Array(256), info: { width: 16, height: 16, channels: 1 } }, label: random.below(3) });
    const mine = new Error("mine");
    const bad = random.pick([
      () => { throw mine; },
      () => undefined,
      () => ({}),
      () => ({ ...good(), label: -1 }),
      () => ({ ...good(), label: {} }),
      () => ({ ...good(), image: "absent.png" }),
      () => ({ ...good(), image: new Uint8Array(9) }),
      () => ({ image: { data: new Uint8Array(255), info: { width: 16, height: 16, channels: 1 } }, label: 0 }),
      () => ({ image: { data: new Uint8Array(256), info: { width: 1e9, height: 1e9, channels: 1 } }, label: 0 }),
      () => Promise.reject(mine),
    ]);
    const at = random.below(6);
    let isClosed = false;
    async function* samples() {
      try {
        for (let i = 0; i < 7; i++) yield i === at ? await bad() : good();
      } finally {
        isClosed = true;
      }
    }
    const error = await rejection(fromIterable(samples(), { size: 16 }));
    if (error !== mine && !isOf(error, "ERR_INVALID_ARGUMENT", "ERR_DATA_CORRUPT", "ERR_DATA_NOT_FOUND", "ERR_LABEL", "ERR_SHAPE", "ERR_IO")) say(`${bad} gives ${error?.stack ?? error}`);
    if (!isClosed) say("the iterable was not closed");
    const whole = await fromIterable((async function* () { for (let i = 0; i < 4; i++) yield good(); })(), { size: 16 });
    if (whole.length !== 4) say("the next one has another length");
  },
  async "folders that change"(say) {
    const pictures = join(folder, `pictures-${random.seed()}`);
    const files = ["a", "b"].flatMap((name) => {
      mkdirSync(join(pictures, name), { recursive: true });
      return Array.from({ length: 8 }, (_, i) => join(pictures, name, `${i}.png`));
    });
    for (const file of files) copyFileSync(picture, file);
    writeFileSync(join(pictures, "a", ".hidden.png"), "hidden");
    symlinkSync(picture, join(pictures, "b", "link.png"));
    const { train, skipped } = await imageFolder(pictures, { size: 16, cache: 0 });
    if (train.length !== files.length || skipped.hidden !== 1 || skipped.links !== 1) say(`finds ${train.length} pictures, skips ${JSON.stringify(skipped)}`);
    const change = random.pick([(file) => rmSync(file), (file) => writeFileSync(file, "no picture"), (file) => truncateSync(file, 60), (file) => { rmSync(file); mkdirSync(file); }, (file) => copyFileSync(join(fixtures, "pictures/grey.jpg"), file)]);
    const model = new ResNet([[1, 8]], { numClasses: 2, threads: 1 });
    const run = fit(model, train, { epochs: 20, batchSize: 4, onEpochBegin: ({ epoch }) => { if (epoch === 3) change(random.pick(files)); } });
    const error = await rejection(run);
    if (error && !isOf(error, "ERR_DATA_CORRUPT", "ERR_DATA_NOT_FOUND", "ERR_IO")) say(`${change} gives ${error?.stack ?? error}`);
    if (error && !error.message.includes(pictures)) say(`names no file: ${error.message}`);
    model.dispose();
    rmSync(pictures, { recursive: true });
  },
  async "arrays written to afterwards"(say) {
    const [pixels, labels] = [new Uint8Array(16 * 256).map((_, i) => i % 251), Uint32Array.from({ length: 16 }, (_, i) => i % 4)];
    const data = fromArrays({ images: pixels, shape: [16, 1, 16, 16], labels });
    const digests = [];
    for (let i = 0; i < 2; i++) {
      const model = tinyModel();
      const run = fit(model, data, { epochs: 2, batchSize: 4 });
      if (i === 1) {
        pixels.fill(255);
        labels.fill(2 ** 31);
        data.labels.fill(9);
      }
      await run;
      digests.push(await digest(model));
      const batch = images(4);
      const right = `${(await model.predict(images(4))).data}`;
      const predicted = model.predict(batch);
      batch.data.fill(NaN);
      if (`${(await predicted).data}` !== right) say("predict reads what was written after the call");
      model.dispose();
    }
    if (digests[0] !== digests[1]) say("a data set reads what was written after it was made");
  },
  async "sets of no or one sample"(say) {
    const model = tinyModel();
    for (const count of [1, 2]) {
      const error = await rejection(fit(model, spots(count), { epochs: 1, batchSize: 8 }));
      if (error && !(error instanceof ResNetError)) say(`${count} samples give ${error}`);
    }
    const none = await failure(() => fromArrays({ images: [], shape: [0, 1, 16, 16], labels: [] }));
    if (!(none instanceof ResNetError)) say(`no samples give ${none}`);
    model.dispose();
  },
};

tell({ tried: rounds, failures: await inTurn(kinds, rounds) });
process.exit();
