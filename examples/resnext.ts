// Grouped convolutions, d2l.ai 8.6.5: the chapter's ResNeXt block, what groups save, ResNet-18 of such blocks.
import { conv2d, fashionMnist, ResNeXt18, ResNeXtBlock, sgd, tensor, Trainer } from "resnet-native";

const x = tensor(Float32Array.from({ length: 4 * 32 * 96 * 96 }, Math.random), [4, 32, 96, 96]);
console.log((await new ResNeXtBlock(32, { groups: 16, botMul: 1 }).forward(x)).shape);

// A convolution from ci to co channels in g groups costs ci · co / g for each weight of its kernel.
for (const groups of [1, 4, 16]) {
  const macs = conv2d(64, { padding: 1, groups }).macs([1, 64, 24, 24]);
  console.log(`${groups} groups: ${macs.toLocaleString("en")} multiply-adds`);
}

const model = new ResNeXt18({ seed: 1 });
console.log(model.layerSummary([1, 1, 96, 96]));

const { train } = await fashionMnist({ source: "sample", resize: [32, 32] });
const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.05 }) });
for await (const { images, labels } of train.take(320).batches({ batchSize: 64 })) {
  const { loss, accuracy } = await trainer.step(images, labels);
  console.log(`loss ${loss.toFixed(3)}, accuracy ${accuracy.toFixed(2)}`);
}
