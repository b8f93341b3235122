// Bottlenecks, exercise 3 of d2l.ai 8.6: ResNet-50, and the mistake that its readers make.
import { Bottleneck, Residual, ResNet50, type ResNetError, sequential } from "resnet-native";

console.log(new ResNet50().layerSummary([1, 1, 224, 224]));

// Where 256 channels go through 64, a block of three convolutions costs less than one of two.
const shape = [1, 256, 56, 56];
console.log(`two 3x3 convolutions of 256 channels: ${new Residual(256, { inChannels: 256 }).numParameters} parameters`);
console.log(`1x1, 3x3 and 1x1 through 64: ${new Bottleneck(64, { inChannels: 256 }).numParameters} parameters`);
console.log(new Bottleneck(64).layerSummary(shape, { depth: "layers" }));

// A block that halves the size needs a shortcut that does so too; without one it is refused when it is built.
try {
  sequential([new Bottleneck(64), new Bottleneck(64, { strides: 2 })], { inChannels: 256 });
} catch (error) {
  const { code, message } = error as ResNetError;
  console.log(`${code}: ${message}`);
}
