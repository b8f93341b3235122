/**
 * Residual networks, trained at full speed from TypeScript.
 *
 * @module Reference
 */

// Files in which all that is exported is public: augmentations; data sources; layers; losses; networks; optimisers; schedules; training and what it
// is told by.
export * from "./augment.js";
export * from "./calibrate.js";
export * from "./evaluate.js";
export * from "./find-learning-rate.js";
export * from "./fit.js";
export * from "./grad-cam.js";
export * from "./image-folder.js";
export * from "./inspect.js";
export * from "./iterable.js";
export * from "./layers.js";
export * from "./logs.js";
export * from "./losses.js";
export * from "./networks.js";
export * from "./optimizers.js";
export * from "./preview.js";
export * from "./quantize.js";
export * from "./report.js";
export * from "./schedules.js";
export * from "./sources.js";
export * from "./summary.js";
export * from "./tensor-board.js";

// Of the others, what is public.
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
export type { Augmentation } from "./augmentation.js";
export type { ClassifyOptions, Prediction } from "./classify.js";
export type { CourseOptions, EarlyStoppingOptions, EmaOptions, EveryEpochs, EverySteps } from "./course.js";
export type { DashboardOptions } from "./dashboard.js";
export { type Batch, type BatchOptions, Dataset, type Mixed, type SplitOptions, type Splits, type Unreadable, type UnreadableFile } from "./data.js";
export { type ComputeOptions, type Device, type DeviceInfo, deviceInfo, type Gpu } from "./device.js";
export type { DownloadProgress } from "./download.js";
export { type ErrorCode, ResNetError } from "./errors.js";
export type { SaveFolderOptions } from "./folder.js";
export type { GroupSettings, ParameterGroup, ParameterOptions, ParameterRole, ParameterSettings } from "./groups.js";
export type { CheckpointOptions } from "./checkpoint.js";
export type { CheckpointEvent, EpochBeginEvent, EpochEvent, EvaluationEvent, FitEvent, FitListener, ResumeEvent, SkippedCheckpoint, StepEvent, ValidationEvent } from "./events.js";
export { type BestEpoch, type EpochRow, History, type Monitor } from "./history.js";
export type { ModelInterface } from "./interface.js";
export type { LabelKind, LabelMatrix } from "./labels.js";
export type { Loss } from "./loss.js";
export { type Mistake, mistakes, type MistakesOptions } from "./mistakes.js";
export { loadModel, type LoadModelOptions } from "./load-model.js";
export { type LoadOptions, type LoadReport, Model, type ModelOptions } from "./models.js";
export type { ExportOnnxOptions, OnnxFile, OnnxPort } from "./onnx.js";
export type { Optimizer } from "./optimizer.js";
export { plot, type PlotOptions } from "./plot.js";
export { type Ranks, ranks } from "./ranks.js";
export { balancedSampler, type Sampler } from "./sampler.js";
export type { Schedule } from "./schedule.js";
export { type DistributedSettings, failRanks, type ShardOptions } from "./shards.js";
export type { SignalOptions } from "./signal.js";
export { type Numbers, type Tensor, tensor } from "./tensor.js";
export { type Metrics, type StepOptions, Trainer } from "./trainer.js";
export { type Fit, type Normalise, type Picture, type PictureTransform, preprocess, type RawPixels } from "./transform.js";
export type { TrainingData } from "./training-data.js";
export type { UpdateOptions } from "./updates.js";
