// 94.0 % of Fashion-MNIST's test images at 28x28, on two cores, in the least time.

import { batchNorm2d, conv2d, flip, globalAvgPool2d, linear, maxPool2d, oneCycle, relu, residual, sequential, sgd } from "../../dist/index.js";

const recipe = {
  epochs: 8,
  width: 16,
  batchSize: 128,
  lr: 0.1,
  momentum: 0.9,
  weightDecay: 5e-4,
  labelSmoothing: 0,
  rise: 0.2,
  divFactor: 10,
  finalDivFactor: 1e4,
};

const conv = (channels) => sequential([conv2d(channels, { padding: 1, bias: false }), batchNorm2d(), relu()]);
const pool = () => maxPool2d({ kernelSize: 2, stride: 2 });
const block = (channels) => residual({ body: sequential([conv(channels), conv(channels)]), relu: false });

/** ResNet-9 (Page, 2018, https://github.com/davidcpage/cifar10-fast), a quarter as wide and with a global average in place of the last pooling. */
function network(options) {
  const [first, second, third, fourth] = [1, 2, 4, 8].map((factor) => factor * recipe.width);
  const stages = [conv(second), pool(), block(second), conv(third), pool(), conv(fourth), pool(), block(fourth)];
  return sequential([conv(first), ...stages, globalAvgPool2d(), linear(10)], options);
}

const { batchSize, lr, momentum, weightDecay, labelSmoothing, rise, divFactor, finalDivFactor } = recipe;
const optimizer = sgd({ lr, momentum, nesterov: true, weightDecay, decayNormsAndBiases: false });
const schedule = oneCycle({ rise, divFactor, finalDivFactor });

export default {
  recipe,
  network,
  options: { epochs: recipe.epochs, batchSize, optimizer, schedule, labelSmoothing, augment: [flip()] },
  /** Each test image counts with its mirror image. */
  flips: true,
};
