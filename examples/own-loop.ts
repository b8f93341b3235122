// A training loop of one's own, with the gradients' norm after each epoch.
import { fashionMnist, ResNet, sgd, Trainer } from "resnet-native";

const { train } = await fashionMnist({ source: "sample" });
const model = new ResNet([[1, 64]], { numClasses: 10 });
const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.05 }) });

for (let epoch = 1; epoch <= 2; epoch++) {
  let losses = 0;
  for await (const { images, labels } of train.take(512).batches({ batchSize: 64, shuffle: true, seed: epoch })) {
    const { loss } = await trainer.step(images, labels);
    losses += loss / 8;
  }
  let squares = 0;
  for (const { data } of (await trainer.gradients()).values()) for (const value of data) squares += value * value;
  console.log(`epoch ${epoch}: loss ${losses.toFixed(3)}, gradient norm ${Math.sqrt(squares).toFixed(3)}`);
}
