// Loads the package, trains a step and tells what it computed with, or the code of the error.

import { given, tell } from "./given.mjs";

const found = {};
try {
  const { deviceInfo, ResNet, tensor, Trainer } = await import("resnet-native");
  const model = new ResNet([[1, 8]], { numClasses: 4, inChannels: 1, seed: 1, ...given.options });
  const images = tensor(new Float32Array(4 * 256).fill(0.5), [4, 1, 16, 16]);
  found.loss = (await new Trainer(model).step(images, [0, 1, 2, 3])).loss;
  found.device = await model.device();
  found.instructionSet = deviceInfo().cpu.instructionSet;
  found.problem = deviceInfo().cuda.problem;
} catch (error) {
  found.code = error.code;
  found.message = error.message;
  found.name = error.name;
}
tell(found);
