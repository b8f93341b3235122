// The families side by side: parameters, and multiply-adds for an image of 224x224 pixels.
import {
  GoogLeNet,
  type Model,
  PreActResNet18,
  ResNet,
  ResNet101,
  ResNet152,
  ResNet18,
  ResNet34,
  ResNet50,
  ResNeXt18,
  ResNeXt50_32x4d,
  WideResNet50_2,
} from "resnet-native";

// As torchvision has them. With a number of input channels the parameters can be counted; no weight is drawn for that.
const options = { flavor: "torchvision", inChannels: 3, numClasses: 1000 } as const;
const networks: Record<string, Model> = {
  "ResNet-18": new ResNet18(options),
  "ResNet-34": new ResNet34(options),
  "ResNet-50": new ResNet50(options),
  "ResNet-50-D": new ResNet("resnet50", { ...options, stem: "deep", shortcut: "avgpool" }),
  "ResNet-101": new ResNet101(options),
  "ResNet-152": new ResNet152(options),
  "ResNeXt-18, d2l.ai's": new ResNeXt18(options),
  "ResNeXt-50 32x4d": new ResNeXt50_32x4d(options),
  "Wide ResNet-50-2": new WideResNet50_2(options),
  "pre-activation ResNet-18": new PreActResNet18(options),
  GoogLeNet: new GoogLeNet({ inChannels: 3, numClasses: 1000 }),
};

console.log(`${"network".padEnd(26)}parameters  multiply-adds`);
for (const [name, model] of Object.entries(networks)) {
  const [parameters, macs] = [model.numParameters / 1e6, model.macs([1, 3, 224, 224]) / 1e9];
  console.log(`${name.padEnd(26)}${parameters.toFixed(2).padStart(8)} M${macs.toFixed(2).padStart(13)} G`);
}
