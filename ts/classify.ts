import type { NativeModel } from "./binding.js";
import { parseInterface } from "./interface.js";
import { boolean, checkOptions, MAX_U32, number, size } from "./options.js";
import { ofPictures } from "./pictures.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import type { Tensor } from "./tensor.js";
import type { Picture } from "./transform.js";

/** A class that a picture may be of. */
export interface Prediction {
  /** Its name; its label as a text if it has none. */
  readonly name: string;
  /** The output that stands for it, counting from 0. */
  readonly label: number;
  /**
   * From 0 to 1: the softmax of the logits over the model's temperature, so that those of all classes add up to 1; of a model whose
   * `labelKind` is `"multi"` the sigmoid of each.
   */
  readonly probability: number;
}

/** Options of {@link Model.classify}. */
export interface ClassifyOptions extends SignalOptions {
  /** How many classes are told of a picture at most, default 5; of a model whose `labelKind` is `"multi"` any number by default. */
  top?: number;
  /**
   * Classes below this probability, from 0 to 1, are left out, so that there may be none; default 0. Of a model whose `labelKind` is
   * `"multi"` the default is 0.5, but 0 where `top` is given. See {@link calibrate}.
   */
  minConfidence?: number;
  /** Whether the mirror image is looked at too, and the mean of both logits counts; default false. */
  flips?: boolean;
}

const rules = { ...signalRules, top: size, minConfidence: number(0, 1), flips: boolean };

/** See {@link Model.classify}. */
export async function classifyWith(
  native: NativeModel,
  pictures: Picture | readonly Picture[] | Tensor,
  options?: ClassifyOptions,
): Promise<Prediction[] | Prediction[][]> {
  const given = checkOptions(options, rules);
  const isMulti = parseInterface(native.interface).labelKind === "multi";
  const { top = isMulti ? MAX_U32 : 5, minConfidence = isMulti && given.top === undefined ? 0.5 : 0, flips = false, signal } = given;
  return ofPictures(native, pictures, signal, async ({ data, shape }) => {
    const images = await cancellable(signal, (flag) => native.classify(data, [...shape], top, flips, flag));
    const { classNames = [] } = parseInterface(native.interface);
    return images.map((classes) =>
      classes
        .filter(({ probability }) => probability >= minConfidence)
        .map(({ class: label, probability }) => ({ name: classNames[label] ?? String(label), label, probability })),
    );
  });
}
