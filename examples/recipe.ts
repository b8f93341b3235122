// Fine-tunes in the way that large networks are trained today: AdamW with a warm-up and a cosine, clipped gradients, a head that learns
// faster than the layers before it, a frozen stem; the learning rate is looked for first.
import { adamw, cosine, fashionMnist, findLearningRate, fit, ResNet, warmup } from "resnet-native";

const data = await fashionMnist({ source: "sample", resize: [32, 32] });
const model = new ResNet(
  [
    [1, 32],
    [1, 64],
  ],
  { numClasses: 10, seed: 42 },
);
const groups = [
  { layers: ["conv1", "bn1"], frozen: true },
  { layers: "fc", lrFactor: 4 },
];
const { suggestion } = await findLearningRate(model, data.train.take(1024), { optimizer: adamw({ groups }), batchSize: 32, steps: 60 });
console.log(`the loss falls fastest at a learning rate of ${suggestion?.toExponential(1)}`);

const run = fit(model, { ...data, train: data.train.take(1024) }, {
  epochs: 4,
  batchSize: 32,
  accumulate: 2, // updates of 64 images
  optimizer: adamw({ lr: 2e-3, weightDecay: 0.05, groups, layerDecay: 0.9 }),
  schedule: warmup({ epochs: 1, followedBy: cosine() }),
  clipNorm: 1,
});
for await (const event of run) {
  if (event.type === "epoch") console.log(`epoch ${event.epoch}: loss ${event.loss.toFixed(3)}, learning rate ${event.lr.toExponential(1)}`);
}
