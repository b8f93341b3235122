import { addon } from "./binding.js";
import { type ComputeOptions, computeRules, placed } from "./device.js";
import type { DownloadProgress } from "./download.js";
import { ResNetError } from "./errors.js";
import { findModel, type Found } from "./folder.js";
import { type Model, Network } from "./models.js";
import { callback, checkOptions, count, filePath, type Rule, type Rules, seed, unexpected } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

const rules: Rules<LoadModelOptions> = { ...signalRules, ...computeRules, numClasses: count, seed, onProgress: callback as Rule<() => void>, onNote: callback as Rule<() => void> };

/** Options of {@link loadModel}. */
export interface LoadModelOptions extends SignalOptions, ComputeOptions {
  /**
   * Gives the model a new head for so many classes, with weights that are drawn anew, also where the file's has as many. The rest is the
   * file's, but for the names of its classes and its temperature. By default the head is the file's too.
   */
  numClasses?: number;
  /** Seed of a new head's weights and of what `fit` draws, an integer of at least 0, by default the file's; beside `numClasses` only. */
  seed?: number;
  /** Is told how far a download from the Hugging Face hub has come; what it throws ends the call. */
  onProgress?: (progress: DownloadProgress) => void;
  /**
   * Is told, in a sentence each, what of a folder that timm wrote is not kept, such as how pictures are resized, and where `config.json` is of
   * another save than the weights; see {@link loadModel}.
   */
  onNote?: (note: string) => void;
}

/**
 * The model of a file that {@link Model.save} wrote: the file tells the network. Or that of a folder, which {@link Model.saveFolder} or timm
 * wrote; or of a name of the Hugging Face hub, such as `"hf://timm/resnet18.a1_in1k"`, behind which `@` and a branch, tag or commit may
 * stand.
 *
 * To fine-tune it on other classes, give it a new head, train that alone, then all of it, the lower layers at lower rates:
 *
 * @example
 * ```ts
 * const model = await loadModel("clothes.safetensors", { numClasses: data.train.numClasses });
 * await fit(model, data, { epochs: 5, optimizer: adamw({ groups: [{ layers: "fc" }, { frozen: true }] }) });
 * await fit(model, data, { epochs: 10, optimizer: adamw({ lr: 3e-4, layerDecay: 0.7 }) });
 * ```
 *
 * **Folders of timm** have `config.json`, whose `architecture` must be one that can be made here (the error lists them), and
 * `model.safetensors` or `pytorch_model.bin`. Classes, input channels, names of classes, size, mean, deviation and how pictures are cropped
 * are the folder's. Two things are not done here as timm does them, and make predictions differ a little: pictures are resized to the very
 * size and not to a larger one of which `crop_pct` is kept, and bilinearly, where timm's `interpolation` is often `"bicubic"`. `onNote` is told
 * of each that a folder asks for. Besides, what is cut off a picture that is not square is cut at whole pixels by timm alone. Logits of the same
 * tensor are the same but for rounding.
 *
 * **Names of the hub** need the package `@huggingface/hub`, an optional peer of this one. Config and weights are downloaded into the user's
 * cache (`~/.cache/resnet-native/hub` on Linux), checked against the hub's size and SHA-256, and kept by commit: a name with a commit that is
 * there asks nobody. `HF_TOKEN` and `HF_ENDPOINT` are those of Hugging Face's own programs.
 *
 * **Folders of {@link Model.saveFolder}** have all of the model in the header of `model.safetensors`; `config.json` is for timm. One that is
 * damaged, or claims another architecture, number of classes or names of theirs, is refused.
 *
 * Rejects with `ERR_MODEL_FILE` if it is damaged or describes no network that can be made, `ERR_STATE_DICT` if a folder's weights are of
 * another network, `ERR_NON_FINITE_WEIGHTS` if weights are NaN or infinite, `ERR_IO` if it cannot be read, `ERR_DATA_NOT_FOUND` if the hub
 * does not give it, `ERR_DEVICE` if a GPU is asked for that cannot be used, `ERR_INVALID_ARGUMENT` if the network has no linear layer to take
 * another head.
 */
export async function loadModel(path: string | URL, options?: LoadModelOptions): Promise<Model> {
  const { signal, numClasses, seed, onProgress, onNote, ...compute } = checkOptions(options, rules);
  if (seed !== undefined && numClasses === undefined) throw unexpected("seed", "numClasses beside it", seed);
  const head = numClasses === undefined ? undefined : { numClasses, seed };
  const found = await findModel(filePath("path", path), signal, onProgress);
  const isOwn = "file" in found;
  const model = isOwn ? new Network(await cancellable(signal, (flag) => addon.NativeModel.load(found.file, placed(compute), head, flag))) : await modelOf(found, { signal, ...compute, ...head });
  try {
    // Only what is read knows that a newer version has written it.
    for (const note of isOwn ? found.notes() : found.read.notes) onNote?.(note);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The model of a folder that timm wrote. */
async function modelOf({ weights, read }: Extract<Found, { weights: string }>, { signal, numClasses, seed, ...compute }: LoadModelOptions): Promise<Model> {
  const classes = numClasses ?? read.classes;
  if (classes === 0) throw unexpected("numClasses", "a number of classes, as this folder's network has no head", numClasses);
  const model = new Network({ ...read.recipe, num_classes: classes }, { inChannels: read.inChannels, seed, ...compute });
  try {
    // A head of as many classes would be taken for the model's own, so it gets out of the way.
    const replaced = numClasses === read.classes ? { rename: { [read.classifier]: "replaced" } } : {};
    const isStrict = numClasses !== read.classes;
    const { missing, unexpected } = await model.loadWeights(weights, { signal, strict: isStrict, newHead: numClasses !== undefined, ...replaced });
    const strange = [...missing, ...unexpected.filter((name) => !name.startsWith("replaced."))];
    if (strange.length > 0) throw new ResNetError("ERR_STATE_DICT", `${weights}: expected the weights of its architecture, got others: ${strange.slice(0, 5).join(", ")}`);
    const { transform, classNames } = read.interface;
    await model.setInterface(numClasses === undefined ? { transform, classNames } : { transform });
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}
