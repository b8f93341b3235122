/**
 * Residual networks, trained at full speed from TypeScript.
 *
 * @packageDocumentation
 */
export {
  Bottleneck,
  type BottleneckOptions,
  concat,
  type Flavor,
  Inception,
  PreActBottleneck,
  PreActResidual,
  Residual,
  residual,
  type ResidualOptions,
  type ResidualParts,
  ResNeXtBlock,
  type ResNeXtBlockOptions,
  sequential,
} from "./blocks.js";
export { type Arrays, type Batch, type BatchOptions, Dataset, fromArrays } from "./data.js";
export { type ComputeOptions, type Device, type DeviceInfo, deviceInfo, type Gpu } from "./device.js";
export type { DownloadProgress } from "./download.js";
export { type ErrorCode, ResNetError } from "./errors.js";
export { evaluate } from "./evaluate.js";
export type { EpochEvent, FitEvent, StepEvent, ValidationEvent } from "./events.js";
export { type FashionMnist, fashionMnist, type FashionMnistOptions } from "./fashion-mnist.js";
export { fit, type FitOptions, FitRun, type TrainingData } from "./fit.js";
export { type EpochRow, History } from "./history.js";
export {
  type AvgPool2dOptions,
  avgPool2d,
  type BatchNorm2dOptions,
  batchNorm2d,
  type Conv2dOptions,
  conv2d,
  dropout,
  globalAvgPool2d,
  type Init,
  linear,
  type LinearOptions,
  maxPool2d,
  type MaxPool2dOptions,
  type Pair,
  relu,
} from "./layers.js";
export { loadModel, type LoadOptions, type LoadReport, Model, type ModelOptions } from "./models.js";
export {
  CifarResNet,
  type CifarResNetOptions,
  GoogLeNet,
  PreActResNet101,
  PreActResNet152,
  PreActResNet18,
  PreActResNet34,
  PreActResNet50,
  ResNet,
  ResNet101,
  ResNet152,
  ResNet18,
  ResNet34,
  ResNet50,
  type ResNetName,
  resNetNames,
  type ResNetOptions,
  ResNeXt101_32x8d,
  ResNeXt101_64x4d,
  ResNeXt18,
  ResNeXt34,
  ResNeXt50_32x4d,
  type Stage,
  WideResNet101_2,
  WideResNet50_2,
} from "./networks.js";
export { type Optimizer, type Sgd, sgd, type SgdOptions } from "./optim.js";
export { plot, type PlotOptions } from "./plot.js";
export type { SignalOptions } from "./signal.js";
export { type LayerRow, LayerSummary } from "./summary.js";
export { type Numbers, type Tensor, tensor } from "./tensor.js";
export { type Metrics, Trainer } from "./trainer.js";
