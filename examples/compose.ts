// A network of one's own from layers: shapes follow from the first images, nothing else has to be said.
import {
  avgPool2d,
  batchNorm2d,
  concat,
  conv2d,
  dropout,
  fashionMnist,
  fit,
  globalAvgPool2d,
  linear,
  relu,
  residual,
  sequential,
  sgd,
} from "resnet-native";

const conv = (channels: number, kernelSize: number, stride = 1) => {
  return sequential([conv2d(channels, { kernelSize, stride, padding: (kernelSize - 1) / 2, bias: false }), batchNorm2d()]);
};

// A residual block whose body is two branches: Inception and ResNet at once (after Szegedy et al., 2017).
const block = (channels: number) => {
  const branches = concat([conv(channels / 2, 1), sequential([conv(channels / 4, 1), relu(), conv(channels / 2, 3)])]);
  return residual({ body: sequential([branches, relu(), conv(channels, 1)]) });
};
// A residual block that halves the size, with an average-pooling shortcut.
const halving = (channels: number) => {
  const body = sequential([conv(channels, 3, 2), relu(), conv(channels, 3)]);
  return residual({ body, shortcut: sequential([avgPool2d({ kernelSize: 2 }), conv(channels, 1)]) });
};

const model = sequential(
  [conv(16, 3, 2), relu(), block(16), halving(32), block(32), globalAvgPool2d(), dropout({ p: 0.1 }), linear(10)],
  { seed: 1 },
);
console.log(model.layerSummary([1, 1, 28, 28]));

const { train, validation } = await fashionMnist({ source: "sample" });
const optimizer = sgd({ lr: 0.1, momentum: 0.9 });
console.log(await fit(model, { train: train.take(2048), validation }, { epochs: 3, batchSize: 64, optimizer }));
