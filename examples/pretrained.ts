// Fine-tunes torchvision's weights on one-channel images of ten classes: node pretrained.ts resnet18.pth
import { fashionMnist, fit, ResNet18, sgd } from "resnet-native";

const [file = "resnet18.pth"] = process.argv.slice(2);
const model = new ResNet18({ flavor: "torchvision", inChannels: 1, numClasses: 10 });
const { kept } = await model.loadWeights(file, { newHead: true, adaptInput: true });
console.log(`Took the weights of ${file}; new are ${kept.join(" and ")}`);

const { train, validation } = await fashionMnist({ source: "sample", resize: [64, 64] });
const data = { train: train.take(128), validation: validation.take(128) };
const history = await fit(model, data, { epochs: 1, batchSize: 32, optimizer: sgd({ lr: 0.001, momentum: 0.9 }) });
console.log(history);
