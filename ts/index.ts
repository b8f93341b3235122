/**
 * Residual networks, trained at full speed from TypeScript.
 *
 * @packageDocumentation
 */
export { Residual, type ResidualOptions, sequential } from "./blocks.js";
export { type Arrays, type Batch, type BatchOptions, Dataset, fromArrays } from "./data.js";
export type { DownloadProgress } from "./download.js";
export { type ErrorCode, ResNetError } from "./errors.js";
export { evaluate } from "./evaluate.js";
export type { EpochEvent, FitEvent, StepEvent, ValidationEvent } from "./events.js";
export { type FashionMnist, fashionMnist, type FashionMnistOptions } from "./fashion-mnist.js";
export { fit, type FitOptions, FitRun, type TrainingData } from "./fit.js";
export { type EpochRow, History } from "./history.js";
export {
  loadModel,
  type LoadReport,
  Model,
  type ModelOptions,
  ResNet,
  ResNet18,
  type ResNetOptions,
  type Stage,
} from "./models.js";
export { type Optimizer, sgd, type SgdOptions } from "./optim.js";
export type { SignalOptions } from "./signal.js";
export { type LayerRow, LayerSummary } from "./summary.js";
export { type Numbers, type Tensor, tensor } from "./tensor.js";
export { type Metrics, Trainer } from "./trainer.js";
