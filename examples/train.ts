// Trains a small residual network on the images that come with the package, and predicts a batch.
import { evaluate, fashionMnist, fit, ResNet, sgd } from "resnet-native";

const data = await fashionMnist({ source: "sample", resize: [32, 32] });
const model = new ResNet(
  [
    [1, 64],
    [1, 128],
  ],
  { numClasses: 10, seed: 42 },
);
console.log(model.layerSummary([1, 1, 32, 32]));

const train = data.train.take(1024);
const run = fit(model, { ...data, train }, { epochs: 2, batchSize: 64, optimizer: sgd({ lr: 0.05, momentum: 0.9 }) });
for await (const event of run) {
  if (event.type === "epoch") console.log(`epoch ${event.epoch}: validation accuracy ${event.validationAccuracy}`);
}
console.log(await run);

for await (const { images, labels } of data.validation.batches({ batchSize: 32 })) {
  const logits = await model.predict(images);
  console.log(`accuracy of a batch: ${model.accuracy(logits, labels)}`);
  break;
}
console.log(await evaluate(model, data.validation));
