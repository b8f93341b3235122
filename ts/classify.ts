import type { NativeModel } from "./binding.js";
import { ResNetError } from "./errors.js";
import { parseInterface } from "./interface.js";
import { boolean, checkOptions, isList, MAX_U32, number, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { checkTensor, isTensor, type Tensor } from "./tensor.js";
import { type Picture, preprocess } from "./transform.js";

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

/** Pictures that are computed at a time. */
const TOGETHER = 32;
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
  const told = async ({ data, shape }: Tensor): Promise<Prediction[][]> => {
    const images = await cancellable(signal, (flag) => native.classify(data, [...shape], top, flips, flag));
    const { classNames = [] } = parseInterface(native.interface);
    return images.map((classes) =>
      classes
        .filter(({ probability }) => probability >= minConfidence)
        .map(({ class: label, probability }) => ({ name: classNames[label] ?? String(label), label, probability })),
    );
  };
  if (isTensor(pictures)) return inParts(checkTensor("pictures", pictures), told);
  const transform = transformOf(native);
  if (!isList(pictures)) return (await told(await preprocess(pictures as Picture, transform, { signal })))[0]!;
  const all: Prediction[][] = [];
  for (let first = 0; first < Math.max(pictures.length, 1); first += TOGETHER) {
    all.push(...(await told(await preprocess(pictures.slice(first, first + TOGETHER), transform, { signal }))));
  }
  return all;
}

async function inParts(images: Tensor & { readonly data: Float32Array }, told: (part: Tensor) => Promise<Prediction[][]>) {
  const [count = 0, ...shape] = images.shape;
  if (count <= TOGETHER) return told(images);
  const length = images.data.length / count;
  const all: Prediction[][] = [];
  for (let first = 0; first < count; first += TOGETHER) {
    const last = Math.min(first + TOGETHER, count);
    const data = images.data.subarray(first * length, last * length);
    all.push(...(await told({ data, shape: [last - first, ...shape] })));
  }
  return all;
}

function transformOf(native: NativeModel) {
  const { transform } = parseInterface(native.interface);
  if (transform !== undefined) return transform;
  const expected = "expected one that knows what pictures it takes, as after fit on pictures or setInterface";
  throw new ResNetError("ERR_INVALID_ARGUMENT", `model: ${expected}, got one that was trained on numbers, or not at all`);
}
