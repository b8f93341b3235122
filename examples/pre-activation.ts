// Pre-activation, exercise 4 of d2l.ai 8.6: norm and ReLU before each convolution, and nothing after the sum.
import { CifarResNet, fashionMnist, fit, PreActResidual, PreActResNet18, sgd } from "resnet-native";

console.log(new PreActResidual(64, { use1x1Conv: true, strides: 2 }).layerSummary([1, 32, 8, 8], { depth: "layers" }));
console.log(new PreActResNet18().layerSummary([1, 1, 96, 96]));

// So built, a network of 1,001 layers can be trained (He et al., 2016b, table 3).
const deep = new CifarResNet({ depth: 1001, preActivation: true, flavor: "torchvision", inChannels: 3 });
const layers = deep.layerSummary([1, 3, 32, 32], { depth: "layers" }).filter(({ kind }) => kind === "Conv2d");
console.log(`${layers.length} convolutions, ${deep.numParameters.toLocaleString("en")} parameters`);

// A shallow one learns in seconds.
const { train } = await fashionMnist({ source: "sample" });
const model = new CifarResNet({ depth: 11, preActivation: true, seed: 1 });
await fit(model, train.take(256), {
  epochs: 2,
  batchSize: 32,
  optimizer: sgd({ lr: 0.1, momentum: 0.9 }),
  onEpochEnd: ({ epoch, loss, accuracy }) => {
    console.log(`epoch ${epoch}: loss ${loss.toFixed(3)}, accuracy ${accuracy.toFixed(2)}`);
  },
});
