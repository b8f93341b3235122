// Trains a network that a seed chooses, on several numbers of threads, and tells a digest of all weights, losses and predictions for each.

import { createHash } from "node:crypto";
import {
  adam, adamw, Bottleneck, colorJitter, conv2d, cosine, cutmix, dropout, erasing, evaluate, fit, flip, globalAvgPool2d, Inception, lars, linear, lion, mixup, muon,
  PreActResidual, randomCrop, relu, Residual, ResNet, ResNeXtBlock, rmsprop, sequential, sgd, silu, warmup,
} from "resnet-native";
import { Random } from "../random.mjs";
import { given, tell } from "./given.mjs";
import { digest, images, spots } from "./subjects.mjs";

const random = new Random(given.seed);
const classes = 4;
const [channels, side] = [random.pick([1, 3]), random.pick([12, 16, 17])];
const width = random.pick([4, 8, 12, 20]);
const blocks = [
  () => new Residual(width, { use1x1Conv: true }),
  () => new Bottleneck(width, { use1x1Conv: true }),
  () => new ResNeXtBlock(2 * width, { groups: 4, use1x1Conv: true }),
  () => new PreActResidual(width, { use1x1Conv: true }),
  () => new Inception(4, [2, 4], [2, 4], 4),
  () => conv2d(width, { kernelSize: random.pick([1, 3, 5]), stride: random.pick([1, 2]), padding: 1 }),
  () => dropout({ p: 0.3 }),
  () => silu(),
];
const drawn = Array.from({ length: 1 + random.below(3) }, () => random.pick(blocks)());
const make = () => (random.chance(0.3) ? new ResNet([[1, width]], { numClasses: classes }) : sequential([conv2d(width, { kernelSize: 3 }), relu(), ...drawn, globalAvgPool2d(), linear(classes)]));
const options = {
  epochs: 2,
  batchSize: random.pick([3, 8, 13]),
  seed: random.seed(),
  optimizer: random.pick([sgd, adam, adamw, rmsprop, lion, lars, muon])({ lr: 1e-3 }),
  schedule: random.pick([cosine(), warmup({ epochs: 1, followedBy: cosine() })]),
  augment: [flip(), randomCrop({ padding: 2 }), colorJitter({ brightness: 0.2 }), erasing(), random.pick([mixup(), cutmix()])].filter(() => random.chance(0.4)),
  accumulate: random.pick([1, 1, 2]),
  ...(random.chance(0.3) && { ema: 0.9 }),
  ...(random.chance(0.3) && { clipNorm: 1 }),
};
const [layout, weights] = [make(), random.seed()];
const found = {};
for (const threads of given.threads) {
  const model = sequential([layout], { inChannels: channels, seed: weights, threads });
  const data = { train: spots(30, { classes, side, channels }), validation: spots(9, { classes, side, channels }) };
  const { rows } = await fit(model, data, { ...options, loaderThreads: 1 + random.below(3) });
  const hash = createHash("sha256").update(await digest(model)).update(JSON.stringify(rows.map((row) => ({ ...row, seconds: 0, waiting: 0 }))));
  hash.update(new Uint8Array((await model.predict(images(5, { side, channels }))).data.buffer)).update(JSON.stringify(await evaluate(model, data.train)));
  found[threads] = hash.digest("hex");
  model.dispose();
}
tell(found);
