// ResNet-9 and its training, as records have it.

import { batchNorm2d, conv2d, erasing, flip, globalAvgPool2d, linear, maxPool2d, oneCycle, randomCrop, relu, residual, sequential, sgd } from "../../dist/index.js";

/** A record by its hyperparameters: what benchmark/records.mjs runs. Each test image counts with its mirror image. */
export function resNet9(recipe) {
  const { epochs, width, batchSize, lr, momentum, weightDecay, labelSmoothing, rise, divFactor, finalDivFactor, cropPadding, erased } = recipe;
  const augment = [flip()];
  if (cropPadding) augment.push(randomCrop({ padding: cropPadding, mode: "reflect" }));
  if (erased) augment.push(erasing({ p: erased }));
  const optimizer = sgd({ lr, momentum, nesterov: true, weightDecay, decayNormsAndBiases: false });
  const schedule = oneCycle({ rise, divFactor, finalDivFactor });
  return {
    recipe,
    network: (options) => network(width, options),
    options: { epochs, batchSize, optimizer, schedule, labelSmoothing, augment },
    flips: true,
  };
}

/** Page, 2018, https://github.com/davidcpage/cifar10-fast, with a global average in place of the last pooling; there the first width is 64. */
function network(width, options) {
  const [first, second, third, fourth] = [1, 2, 4, 8].map((factor) => factor * width);
  const stages = [conv(second), pool(), block(second), conv(third), pool(), conv(fourth), pool(), block(fourth)];
  return sequential([conv(first), ...stages, globalAvgPool2d(), linear(10)], options);
}

const conv = (channels) => sequential([conv2d(channels, { padding: 1, bias: false }), batchNorm2d(), relu()]);
const pool = () => maxPool2d({ kernelSize: 2, stride: 2 });
const block = (channels) => residual({ body: sequential([conv(channels), conv(channels)]), relu: false });
