import { addon, type NativeMatrix, type NativeModel } from "./binding.js";
import { type ClassifyOptions, classifyWith, type Prediction } from "./classify.js";
import type { Description } from "./description.js";
import { type ComputeOptions, computeRules, type Device, placed } from "./device.js";
import { disposed, ResNetError, translated } from "./errors.js";
import { licenseRule, type SaveFolderOptions, writeFolder } from "./folder.js";
import { describeInterface, type ModelInterface, parseInterface } from "./interface.js";
import { checkAnyLabels, type LabelKind } from "./labels.js";
import { exportWith, type ExportOnnxOptions, type OnnxFile } from "./onnx.js";
import {
  boolean,
  check,
  checkOptions,
  count,
  filePath,
  made,
  oneOf,
  record,
  type Rule,
  type Rules,
  seed,
  size,
  string,
  textsOf,
} from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { LayerSummary } from "./summary.js";
import { checkLabels, checkNumbers, checkShape, checkTensor, type Numbers, type Tensor, toMap } from "./tensor.js";
import type { Picture, PictureTransform } from "./transform.js";

// As ES2025 and Node's types declare them, for projects without either.
declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}

/** Options that every model has. */
export interface ModelOptions extends ComputeOptions {
  /**
   * Channels of the input; by default the first batch, or the first weights loaded, tell. Where they are given, a network whose
   * shapes do not fit each other is refused at once, with `ERR_SHAPE`.
   */
  inChannels?: number;
  /** Seed of the initial weights, an integer of at least 0; default 0, so that runs repeat. */
  seed?: number;
}

/** Options of {@link Model.loadWeights}. */
export interface LoadOptions extends SignalOptions {
  /** Whether a name that only one side has is an error, default true. */
  strict?: boolean;
  /**
   * Whether the last linear layer keeps its own values where the file's has another number of classes, or none; default
   * false.
   */
  newHead?: boolean;
  /**
   * Whether the first convolution is fitted to the model's input channels, default false: to one channel the file's are
   * summed, to others they are repeated in turn and scaled by the file's number over the model's.
   */
  adaptInput?: boolean;
  /**
   * What the file's names are to begin with instead, by what they begin with up to a dot or as a whole: `{ linear: "fc" }` takes
   * `linear.weight` for `fc.weight`, `{ backbone: "" }` takes `backbone.` off, `{ "": "backbone" }` puts it on. Of several beginnings the
   * longest one counts, and once. It comes after wrappers' parts of names are taken off and before all else, so that reports and errors
   * tell the new names. Default none. A beginning that no name has, and two names that become one, are `ERR_STATE_DICT`.
   */
  rename?: Readonly<Record<string, string>>;
}

/** Names that {@link Model.loadWeights} did not match; `missing` and `unexpected` are empty when it was strict. */
export interface LoadReport {
  /** Names that the network has and the file lacks. */
  readonly missing: readonly string[];
  /** Names that the file has and the network lacks. */
  readonly unexpected: readonly string[];
  /** Names whose values stay by request: those of a new head. */
  readonly kept: readonly string[];
}

/** The addon's handle of a model. Throws if it is none, or was disposed of. */
export let nativeOf: (model: Model, parameter?: string) => NativeModel;
/** The description of a model's network. */
export let descriptionOf: (model: Model) => Description;
/** The rule for a parameter that is a model. */
export let modelRule: Rule<Model>;

export const modelRules: Rules<ModelOptions> = { inChannels: count, seed, ...computeRules };

const loadRules: Rules<LoadOptions> = {
  ...signalRules,
  strict: boolean,
  newHead: boolean,
  adaptInput: boolean,
  rename: record('an object of names such as { linear: "fc" }'),
};
const saveFolderRules: Rules<SaveFolderOptions> = { ...signalRules, license: licenseRule };
const depthRule = oneOf("stages", "layers");
const sourceRule: Rule<NativeModel | Description> = {
  expected: "a network's description (see new ResNet())",
  accepts(value) {
    return value instanceof addon.NativeModel || typeof (value as Partial<Description> | undefined)?.type === "string";
  },
};

/**
 * A network and its weights. Its work runs on a thread of its own, one call after the other; during a `fit` the reading
 * calls are served between two steps. Dispose of it to free its memory before the garbage collector does.
 */
export abstract class Model implements Disposable {
  /** There until the model is disposed of. */
  #native: NativeModel | undefined;
  #description: Description | undefined;

  /** @internal */
  constructor(source: NativeModel | Description, options: ModelOptions = {}) {
    check("network", source, sourceRule);
    if (source instanceof addon.NativeModel) {
      this.#native = source;
    } else {
      this.#description = source;
      this.#native = build(source, options);
    }
  }

  static {
    modelRule = made("a model such as new ResNet18()", (value) => #native in value);
    nativeOf = (model, parameter = "model") => {
      const native = check(parameter, model, modelRule).#native;
      if (native === undefined) throw disposed();
      return native;
    };
    descriptionOf = (model) => {
      const native = nativeOf(model);
      return (model.#description ??= JSON.parse(native.description) as Description);
    };
  }

  /** Channels of the input, once they are known. */
  get inChannels(): number | undefined {
    return nativeOf(this, "this").inChannels ?? undefined;
  }

  /**
   * Number of parameters, without running statistics.
   * @throws `ERR_NOT_BUILT` before the input channels are known.
   */
  get numParameters(): number {
    const native = nativeOf(this, "this");
    return translated(() => native.numParameters);
  }

  /**
   * What each stage (or layer) makes of images of shape (N, C, H, W); works before the input channels are known and
   * leaves them open.
   * @throws `ERR_SHAPE` if such images do not fit the network.
   */
  layerSummary(shape: readonly number[], options?: { depth?: "stages" | "layers" }): LayerSummary {
    const native = nativeOf(this, "this");
    const sizes = checkShape("shape", shape);
    const { depth = "stages" } = checkOptions(options, { depth: depthRule });
    const rows = translated(() => native.summary(sizes, depth === "layers"));
    // Deep networks have more rows than a call may have arguments.
    return Object.assign(new LayerSummary(), rows);
  }

  /**
   * Multiply-adds of the convolutions and linear layers for one image of shape (N, C, H, W), zero padding included.
   * @throws `ERR_SHAPE` if such images do not fit the network.
   */
  macs(shape: readonly number[]): number {
    return Model.prototype.layerSummary.call(this, shape).reduce((sum, row) => sum + row.macs, 0);
  }

  /**
   * The network's output for images (N, C, H, W), all at once. With `training` (default false), batch norms use the
   * batch's statistics; running statistics never change.
   *
   * Rejects with `ERR_SHAPE` if the images do not fit the network.
   */
  async forward(images: Tensor, options?: SignalOptions & { training?: boolean }): Promise<Tensor> {
    const { training = false, signal } = checkOptions(options, { ...signalRules, training: boolean });
    const native = nativeOf(this, "this");
    const { data, shape } = checkTensor("images", images);
    return cancellable(signal, (flag) => native.forward(data, shape, training, false, shape[0] ?? 0, flag));
  }

  /**
   * The logits (N, classes) of images (N, C, H, W), computed in batches of `batchSize` (default 128). With `flips` (default false) they
   * are averaged over images and their mirror images.
   *
   * Rejects with `ERR_SHAPE` if the images do not fit the network.
   */
  async predict(images: Tensor, options?: SignalOptions & { batchSize?: number; flips?: boolean }): Promise<Tensor> {
    const { batchSize = 128, flips = false, signal } = checkOptions(options, { ...signalRules, batchSize: size, flips: boolean });
    const native = nativeOf(this, "this");
    const { data, shape } = checkTensor("images", images);
    return cancellable(signal, (flag) => native.forward(data, shape, false, flips, batchSize, flag));
  }

  /**
   * What a layer or stage returns for images (N, C, H, W), by its name in a summary, such as `"layer3"` or `"layer1.0.conv2"`: (N, C, H, W),
   * or (N, F) behind the global pooling. Without a name what the last linear layer reads: embeddings, by which images can be compared, or
   * on which another classifier can be trained. Running statistics are used, in batches of `batchSize` (default 128).
   *
   * @example
   * ```ts
   * const { data, shape } = await model.features(images); // shape [N, 512] of a ResNet-18
   * ```
   *
   * Rejects with `ERR_INVALID_ARGUMENT` if there is no such layer, `ERR_SHAPE` if the images do not fit the network.
   */
  async features(images: Tensor, options?: SignalOptions & { layer?: string; batchSize?: number }): Promise<Tensor> {
    const { layer, batchSize = 128, signal } = checkOptions(options, { ...signalRules, layer: string, batchSize: size });
    const native = nativeOf(this, "this");
    const { data, shape } = checkTensor("images", images);
    return cancellable(signal, (flag) => native.features(data, shape, layer, batchSize, flag));
  }

  /** What is done to a picture before the network sees it, if that is known: after `fit` on pictures, from a file, or by {@link setInterface}. */
  get transform(): PictureTransform | undefined {
    return parseInterface(nativeOf(this, "this").interface).transform;
  }

  /** Names of the classes, in the order of the outputs, if they are known. */
  get classNames(): readonly string[] | undefined {
    return parseInterface(nativeOf(this, "this").interface).classNames;
  }

  /** Whether a picture is of one class, or of any number, if that is known: after `fit`, from a file, or by {@link setInterface}. */
  get labelKind(): LabelKind | undefined {
    return parseInterface(nativeOf(this, "this").interface).labelKind;
  }

  /** Whether it is {@link quantize | quantised}, here or in the file that it came from. */
  get quantized(): boolean {
    return nativeOf(this, "this").quantized;
  }

  /** What logits are divided by before they become probabilities: 1, unless {@link calibrate} found another. */
  get temperature(): number {
    return parseInterface(nativeOf(this, "this").interface).temperature;
  }

  /**
   * Says what pictures the model takes and what its outputs mean, in place of what was known; {@link fit} does it by itself, with the
   * data's. Files keep it.
   *
   * @example
   * ```ts
   * await model.setInterface({ transform: data.train.transform, classNames: data.train.classNames });
   * ```
   *
   * Rejects with `ERR_INVALID_ARGUMENT` if it cannot be, `ERR_SHAPE` if it does not fit the network, `ERR_BUSY` during a fit.
   */
  async setInterface(given: ModelInterface): Promise<void> {
    const native = nativeOf(this, "this");
    const described = describeInterface(given);
    return cancellable(undefined, () => native.setInterface(described));
  }

  /**
   * The most probable classes of a picture, or of each of several, the most probable first. Of a model whose `labelKind` is `"multi"` all
   * that a picture is of: those with a probability of at least `minConfidence`, or the `top` ones. Pictures are brought to what the network takes
   * by the model's own `transform`; a tensor (N, C, H, W) is taken as it is.
   *
   * @example
   * ```ts
   * const [best] = await model.classify("photo.jpg"); // { name: "cat", label: 3, probability: 0.93 }
   * const none = await model.classify(request.body, { minConfidence: 0.8 }); // [] for none of these
   * ```
   *
   * Rejects with `ERR_INVALID_ARGUMENT` if the model has no transform for pictures, `ERR_DATA_CORRUPT` for what is no JPEG, PNG or WebP,
   * `ERR_IO` for a file that cannot be read, `ERR_SHAPE` if a tensor does not fit, `ERR_NON_FINITE_LOSS` if logits are not finite.
   */
  async classify(picture: Picture, options?: ClassifyOptions): Promise<Prediction[]>;
  async classify(pictures: readonly Picture[] | Tensor, options?: ClassifyOptions): Promise<Prediction[][]>;
  async classify(
    pictures: Picture | readonly Picture[] | Tensor,
    options?: ClassifyOptions,
  ): Promise<Prediction[] | Prediction[][]> {
    return classifyWith(nativeOf(this, "this"), pictures, options);
  }

  /**
   * Share of rows of the logits (N, classes) whose largest value, the first one if there are several, stands at the
   * label. A row with a NaN has none, see {@link ErrorCode}. Of any number of labels for each row, a matrix (N, classes) of 0 and 1, the
   * share of logits that are at least 0 where it has a 1, and below where it has a 0.
   * @throws `ERR_SHAPE` if there is not a label for each row, `ERR_LABEL` if one is not below the number of classes.
   */
  accuracy(logits: Tensor, labels: Numbers): number {
    const { data, shape } = checkTensor("logits", logits);
    const [rows = 0, classes = 0] = shape;
    if (shape.length !== 2) throw new ResNetError("ERR_SHAPE", `logits: expected a shape (N, classes), got [${shape}]`);
    const native = modelRule.accepts(this) ? this.#native : undefined;
    const kind = native && parseInterface(native.interface).labelKind;
    if (kind === "multi" || (kind === undefined && classes > 1 && checkNumbers("labels", labels).length === rows * classes)) {
      const { data: matrix } = checkAnyLabels("labels", { data: labels, shape }) as NativeMatrix;
      return data.reduce((right, logit, i) => right + Number(logit >= 0 ? matrix[i] === 1 : logit < 0 && matrix[i] === 0), 0) / data.length;
    }
    const wanted = checkLabels("labels", labels);
    if (wanted.length !== rows) throw new ResNetError("ERR_SHAPE", `labels: expected ${rows}, got ${wanted.length}`);
    const wrong = wanted.findIndex((label) => label >= classes);
    if (wrong >= 0) {
      const expected = `a label below the ${classes} classes`;
      throw new ResNetError("ERR_LABEL", `labels[${wrong}]: expected ${expected}, got ${wanted[wrong]}`);
    }
    let correct = 0;
    for (let row = 0; row < rows; row++) {
      const scores = data.subarray(row * classes, (row + 1) * classes);
      // NaN if one is NaN, and so at no place.
      const largest = scores.reduce((most, score) => Math.max(most, score));
      correct += Number(scores.indexOf(largest) === wanted[row]);
    }
    return correct / rows;
  }

  /**
   * Parameters and running statistics by state-dict name (torchvision's names), in order.
   *
   * Rejects with `ERR_NOT_BUILT` before the input channels are known.
   */
  async stateDict(): Promise<Map<string, Tensor>> {
    const native = nativeOf(this, "this");
    return toMap(await cancellable(undefined, () => native.stateDict()));
  }

  /**
   * Takes the weights of a file: safetensors, or a state dict that PyTorch saved (`.pth`, `.pt`; also within a checkpoint), of which no
   * code is ever run. What averaging, data-parallel training or `torch.compile` put before all names is taken off. Tensors may be f16,
   * bf16, f32 or f64, or bytes with scales, as a quantised model has them; what is of another type counts as unexpected. In any error the weights stay as they were.
   *
   * Rejects with `ERR_STATE_DICT` if names or shapes do not fit or names cannot be changed so, `ERR_MODEL_FILE` if the file is damaged, is
   * none of weights or asks for code, `ERR_NON_FINITE_WEIGHTS` if weights are NaN or infinite, `ERR_IO` if it cannot be read, `ERR_BUSY`
   * during a fit.
   *
   * @example
   * ```ts
   * const model = new ResNet50({ flavor: "torchvision", numClasses: 10, inChannels: 1 });
   * const { kept } = await model.loadWeights("resnet50.pth", { newHead: true, adaptInput: true }); // fc.weight, fc.bias
   * ```
   */
  async loadWeights(path: string | URL, options?: LoadOptions): Promise<LoadReport> {
    const { strict = true, newHead = false, adaptInput = false, signal, ...names } = checkOptions(options, loadRules);
    const rename = textsOf("rename", names.rename ?? {});
    const native = nativeOf(this, "this");
    const file = filePath("path", path);
    return cancellable(signal, (flag) => native.loadWeights(file, { strict, newHead, adaptInput, rename }, flag));
  }

  /**
   * Writes network and weights to a safetensors file that {@link loadModel} reads; either the whole file or nothing.
   *
   * Rejects with `ERR_NOT_BUILT` before the input channels are known, `ERR_NON_FINITE_WEIGHTS` if weights or running statistics are NaN
   * or infinite, `ERR_IO` if the file cannot be written; what was there stays.
   */
  async save(path: string | URL, options?: SignalOptions): Promise<void> {
    const { signal } = checkOptions(options, signalRules);
    const native = nativeOf(this, "this");
    const file = filePath("path", path);
    return cancellable(signal, (flag) => native.save(file, flag));
  }

  /**
   * Writes network and weights to an ONNX file (opset 17), which ONNX Runtime, OpenVINO and browsers run; either the whole file or nothing,
   * and the same model gives the same bytes. Its one input is `images`, its output `logits` (N, classes), or `probabilities`.
   *
   * Tensors have their names of the state dict, nodes the paths of their layers. Where batch norms are folded (`foldNorms`, the default), the
   * convolution's weight and bias are no longer those of the state dict. What the model knows of its pictures is in the file's metadata:
   *
   * | key | value |
   * |---|---|
   * | `names`, `classes` | names of the classes as JSON: `{"0": "cat", "1": "dog"}`, under Ultralytics' key, and `["cat","dog"]` |
   * | `label_kind` | `single` or `multi` |
   * | `imgsz`, `channels` | `[height, width]` and a number |
   * | `mean`, `std` | what normalises values from 0 to 1, a number for each channel |
   * | `transform` | all of {@link PictureTransform}, as JSON |
   * | `input`, `output` | what goes in, as the option names it; `logits` or `probabilities` |
   * | `temperature` | what logits are divided by before they become probabilities |
   * | `half`, `task` | whether weights are fp16; `classify` |
   *
   * @example
   * ```ts
   * await model.exportOnnx("pets.onnx", { input: "bytes", probabilities: true }); // pixels in, probabilities out
   * await resnet50.exportOnnx("resnet50.onnx", { shape: [1, 3, 224, 224] });      // what predict takes and gives
   * ```
   *
   * Rejects with `ERR_NOT_BUILT` before the input channels are known, `ERR_SHAPE` if the shape does not fit the network,
   * `ERR_INVALID_ARGUMENT` if there is no shape and the model does not know its pictures' or if the file would have 2 GiB or more,
   * `ERR_NON_FINITE_WEIGHTS` if a weight is NaN or infinite (as fp16 if that is asked for), `ERR_IO` if the file cannot be written; what
   * was there stays.
   */
  async exportOnnx(path: string | URL, options?: ExportOnnxOptions): Promise<OnnxFile> {
    return exportWith(() => nativeOf(this, "this"), path, options);
  }

  /**
   * Writes the model as a folder of the form that timm's `save_for_hf` has and the Hugging Face hub shows: `model.safetensors`, which is what
   * {@link save} writes, `config.json` and a model card, `README.md`. {@link loadModel} reads it, and so does
   * `timm.create_model("local-dir:FOLDER", pretrained=True)` for a network that timm has: He et al.'s of flavor `"torchvision"`, also those with
   * `stem: "deep"`, with `shortcut: "avgpool"` or without, ResNeXt and Wide ResNets; weights' names are torchvision's too. Of others the
   * folder is for this package alone, and `config.json` says so: its `architecture` is `"resnet_native"`.
   *
   * Where there is no such folder it appears as a whole. In one that is there these files are replaced, each as a whole, but for a
   * `README.md` that was not written here; others stay. A process that is killed leaves the old model or the new one: all that {@link loadModel}
   * reads stands in `model.safetensors`. timm reads `config.json` too, which is renamed just before it; who is killed between these two calls
   * leaves the new one beside the old weights, which `loadModel` tells by `onNote`. What a killed process left beside the folder, hidden, goes
   * with the next save.
   *
   * The card tells what the model itself knows; what was trained on and what came of it are for you to add.
   *
   * @example
   * ```ts
   * await model.saveFolder("clothes", { license: "mit" });
   * ```
   *
   * Rejects as {@link save} does, with `ERR_IO` also where there is a file of that name.
   */
  async saveFolder(path: string | URL, options?: SaveFolderOptions): Promise<void> {
    const settings = checkOptions(options, saveFolderRules);
    const native = nativeOf(this, "this");
    return writeFolder(native, filePath("path", path), settings);
  }

  /**
   * The device that computes, such as `"cpu"` or `"cuda:0"`: what `"auto"` has become.
   *
   * Rejects with `ERR_DEVICE` if the one asked for cannot be used.
   */
  async device(): Promise<string> {
    const native = nativeOf(this, "this");
    return cancellable(undefined, () => native.device());
  }

  /**
   * Moves the weights, and what trainers keep between steps, to another device; options that are not given get their defaults. In
   * any error the model stays where it is.
   *
   * Rejects with `ERR_DEVICE` if that device cannot be used, `ERR_OUT_OF_MEMORY` if it has not the room, `ERR_BUSY` during a fit.
   *
   * @example
   * ```ts
   * await model.to("cuda", { precision: "bf16" });
   * ```
   */
  async to(device: Device, options?: Omit<ComputeOptions, "device">): Promise<void> {
    const native = nativeOf(this, "this");
    const { device: rule, ...rules } = computeRules;
    const compute = placed({ ...checkOptions(options, rules), device: check("device", device, rule) });
    return cancellable(undefined, () => native.to(compute));
  }

  /** Stops what runs and frees the memory; the calls that it stops and all later ones fail with `ERR_DISPOSED`. */
  dispose(): void {
    check("this", this, modelRule).#native?.dispose();
    this.#native = undefined;
  }

  /** Same as {@link dispose}. */
  [Symbol.dispose](): void {
    Model.prototype.dispose.call(this);
  }
}

function build(description: Description, options: ModelOptions): NativeModel {
  const { inChannels, seed = 0, ...compute } = options;
  return translated(() => new addon.NativeModel(JSON.stringify(description), { inChannels, seed, compute: placed(compute) }));
}

/** The options that every model has, and the others. */
export function parted<T extends ModelOptions>(options: T) {
  const { inChannels, seed, device, threads, strict, precision, deterministic, ...others } = options;
  return [others, { inChannels, seed, device, threads, strict, precision, deterministic }] as const;
}

/** A model that is nothing more. */
export class Network extends Model {}
