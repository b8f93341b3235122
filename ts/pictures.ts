import type { NativeModel } from "./binding.js";
import { ResNetError } from "./errors.js";
import { parseInterface } from "./interface.js";
import { isList } from "./options.js";
import { checkTensor, isTensor, type Tensor } from "./tensor.js";
import { type Picture, preprocess } from "./transform.js";

/** Pictures that are computed at a time. */
const TOGETHER = 32;

/**
 * What `told` gives for pictures, some at a time, brought to what the network takes by the model's own transform, or for a tensor
 * (N, C, H, W) as it is: of one picture what it gives for that, of several and of a tensor an array.
 */
export async function ofPictures<T>(
  native: NativeModel,
  pictures: Picture | readonly Picture[] | Tensor,
  signal: AbortSignal | undefined,
  told: (images: Tensor) => Promise<T[]>,
): Promise<T | T[]> {
  if (isTensor(pictures)) return inParts(checkTensor("pictures", pictures), told);
  const transform = transformOf(native);
  if (!isList(pictures)) return (await told(await preprocess(pictures as Picture, transform, { signal })))[0]!;
  const all: T[] = [];
  for (let first = 0; first < Math.max(pictures.length, 1); first += TOGETHER) {
    all.push(...(await told(await preprocess(pictures.slice(first, first + TOGETHER), transform, { signal }))));
  }
  return all;
}

async function inParts<T>(images: Tensor, told: (part: Tensor) => Promise<T[]>): Promise<T[]> {
  const [count = 0, ...shape] = images.shape;
  if (count <= TOGETHER) return told(images);
  const length = images.data.length / count;
  const all: T[] = [];
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
