// The most of Fashion-MNIST's test images, at 28x28.

import { resNet9 } from "./resnet-9.mjs";

export default resNet9({
  epochs: 24,
  width: 32,
  batchSize: 128,
  lr: 0.1,
  momentum: 0.9,
  weightDecay: 5e-4,
  labelSmoothing: 0.1,
  rise: 0.2,
  divFactor: 10,
  finalDivFactor: 1e4,
  cropPadding: 2,
  erased: 0.5,
});
