import { parseInterface } from "./interface.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, integer, MAX_U32, string } from "./options.js";
import { ofPictures } from "./pictures.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import type { Tensor } from "./tensor.js";
import type { Picture } from "./transform.js";

/** Where in an image the evidence for a class is. */
export interface HeatMap {
  /** The class's number, counting from 0, as `label` of a {@link Prediction}; the option {@link GradCamOptions.classIndex} takes it. */
  readonly label: number;
  /** Its name; its number as a text if it has none. */
  readonly name: string;
  /** (H, W) as the image that the network sees, from 0 for the least evidence to 1 for the most; all 0 where there is none. */
  readonly heat: Tensor;
}

/** Options of {@link gradCam}. */
export interface GradCamOptions extends SignalOptions {
  /**
   * The layer or stage whose maps are looked at, by its name in a summary, such as `"layer3"`; default the last stage that returns maps of
   * more than a pixel. Later layers know more of classes, earlier ones are finer.
   */
  layer?: string;
  /** The number of the class whose evidence is wanted, which results call `label`; default the most probable one of each image. */
  classIndex?: number;
}

const rules = { ...signalRules, layer: string, classIndex: integer(0, MAX_U32) };

/**
 * Where in a picture, or in each of several, the evidence for a class is: what a layer returns, weighted by how much the class's logit grows
 * with it, in the size of the image that the network sees (Grad-CAM; Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391). Pictures are
 * brought to what the network takes by the model's own `transform`; a tensor (N, C, H, W) is taken as it is. The model stays as it is.
 *
 * @example
 * ```ts
 * const { name, heat } = await gradCam(model, "photo.jpg"); // heat.shape [224, 224], heat.data from 0 to 1
 * ```
 *
 * Rejects with `ERR_INVALID_ARGUMENT` if there is no such layer, it returns no maps, or the model has no transform for pictures;
 * `ERR_DATA_CORRUPT` for what is no JPEG, PNG or WebP, `ERR_IO` for a file that cannot be read, `ERR_SHAPE` if a tensor does not fit,
 * `ERR_LABEL` if there is no such class, `ERR_NON_FINITE_LOSS` if logits are not finite.
 */
export async function gradCam(model: Model, picture: Picture, options?: GradCamOptions): Promise<HeatMap>;
export async function gradCam(model: Model, pictures: readonly Picture[] | Tensor, options?: GradCamOptions): Promise<HeatMap[]>;
export async function gradCam(
  model: Model,
  pictures: Picture | readonly Picture[] | Tensor,
  options?: GradCamOptions,
): Promise<HeatMap | HeatMap[]> {
  const { layer, classIndex, signal } = checkOptions(options, rules);
  const native = nativeOf(model);
  return ofPictures(native, pictures, signal, async ({ data, shape }) => {
    const { classes, heat } = await cancellable(signal, (flag) => native.gradCam(data, [...shape], layer, classIndex, flag));
    const { classNames = [] } = parseInterface(native.interface);
    const [, height = 0, width = 0] = heat.shape;
    const pixels = height * width;
    return classes.map((label, i) => ({
      label,
      name: classNames[label] ?? String(label),
      heat: { data: heat.data.slice(i * pixels, (i + 1) * pixels), shape: [height, width] },
    }));
  });
}
