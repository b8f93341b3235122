// The networks that are measured, by name: ten classes.

import { batchNorm2d, concat, conv2d, globalAvgPool2d, linear, maxPool2d, relu, sequential } from "../dist/index.js";
import { CifarResNet, GoogLeNet, PreActResNet18, ResNet, ResNet18, ResNet34, ResNet50, ResNet101, ResNet152, ResNeXt18 } from "../dist/index.js";

const networks = {
  "ResNet-18": (options) => new ResNet18(options),
  "ResNeXt-18": (options) => new ResNeXt18(options),
  "pre-activation ResNet-18": (options) => new PreActResNet18(options),
  GoogLeNet: (options) => new GoogLeNet(options),
  "GoogLeNet with norms": googLeNetWithNorms,
  "ResNet-34": (options) => new ResNet34(options),
  "ResNet-50": (options) => new ResNet50(options),
  "ResNet-101": (options) => new ResNet101(options),
  "ResNet-152": (options) => new ResNet152(options),
  "torchvision's ResNet-50": (options) => new ResNet50({ flavor: "torchvision", ...options }),
  "ResNet-8": (options) => new CifarResNet({ depth: 8, ...options }),
  "ResNet-20": (options) => new CifarResNet({ depth: 20, ...options }),
  "ResNet-56": (options) => new CifarResNet({ depth: 56, ...options }),
  "ResNet-8 twice as wide": (options) => new ResNet(widened(2), { stem: "small", ...options }),
  "ResNet-8 four times as wide": (options) => new ResNet(widened(4), { stem: "small", ...options }),
  "plain-8": (options) => plain(8, options),
  "plain-20": (options) => plain(20, options),
  "plain-56": (options) => plain(56, options),
};

/** What peers build too, by their name for it: our network, and the images that it is given. */
export const workloads = {
  resnet18: { network: "ResNet-18", channels: 1, size: 96 },
  resnext18: { network: "ResNeXt-18", channels: 1, size: 96 },
  resnet50: { network: "torchvision's ResNet-50", channels: 3, size: 64 },
  resnet50_224: { network: "torchvision's ResNet-50", channels: 3, size: 224 },
};

/** A new network; options are a model's, such as `seed`. */
export function build(name, options) {
  return networks[name]({ inChannels: 1, ...options });
}

/** Stages of the smallest network for CIFAR, with so many times its channels. */
function widened(times) {
  return [16, 32, 64].map((channels) => [1, times * channels]);
}

/** CIFAR's network of so many layers without its shortcuts (He et al., 2016, 4.2). */
function plain(depth, options) {
  const pairs = (depth - 2) / 6;
  const stages = [16, 32, 64].map((channels, stage) => {
    return Array.from({ length: 2 * pairs }, (_, i) => conv(channels, 3, stage > 0 && i === 0 ? 2 : 1));
  });
  return sequential([conv(16, 3), ...stages.flat(), globalAvgPool2d(), linear(10)], options);
}

/** GoogLeNet with a batch norm behind each convolution, so that what its blocks do is told from what norms do. */
function googLeNetWithNorms(options) {
  const stem = [conv(64, 7, 2), pool(2), conv(64), conv(192, 3), pool(2)];
  const inception3 = [inception(64, [96, 128], [16, 32], 32), inception(128, [128, 192], [32, 96], 64), pool(2)];
  const inception4 = [
    inception(192, [96, 208], [16, 48], 64),
    inception(160, [112, 224], [24, 64], 64),
    inception(128, [128, 256], [24, 64], 64),
    inception(112, [144, 288], [32, 64], 64),
    inception(256, [160, 320], [32, 128], 128),
    pool(2),
  ];
  const inception5 = [inception(256, [160, 320], [32, 128], 128), inception(384, [192, 384], [48, 128], 128)];
  const head = [globalAvgPool2d(), linear(10)];
  return sequential([...stem, ...inception3, ...inception4, ...inception5, ...head], options);
}

function inception(c1, c2, c3, c4) {
  const reduced = ([inner, outer], kernelSize) => sequential([conv(inner), conv(outer, kernelSize)]);
  return concat([conv(c1), reduced(c2, 3), reduced(c3, 5), sequential([pool(1), conv(c4)])]);
}

function conv(channels, kernelSize = 1, stride = 1) {
  const padding = (kernelSize - 1) / 2;
  return sequential([conv2d(channels, { kernelSize, stride, padding }), batchNorm2d(), relu()]);
}

function pool(stride) {
  return maxPool2d({ kernelSize: 3, stride, padding: 1 });
}
