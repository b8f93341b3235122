// Models and data that are small enough to be tried thousands of times.

import { createHash } from "node:crypto";
import { fromArrays, ResNet, tensor } from "resnet-native";

/** A residual network of one block, for images of 16x16 of four classes. */
export function tinyModel(options) {
  return new ResNet([[1, 8]], { numClasses: 4, inChannels: 1, threads: 1, seed: 1, ...options });
}

/** Bright spots: each class has its place. */
export function spots(count, { classes = 4, side = 16, channels = 1, labelKind = "single" } = {}) {
  const length = channels * side * side;
  const images = new Uint8Array(count * length);
  for (let i = 0; i < images.length; i++) {
    const [sample, pixel] = [Math.floor(i / length), i % length];
    const isSpot = Math.floor((pixel * classes) / length) === sample % classes;
    images[i] = ((sample * 31 + pixel * 17) % 64) + (isSpot ? 128 : 0);
  }
  const single = Array.from({ length: count }, (_, i) => i % classes);
  const multi = { data: single.flatMap((label) => Array.from({ length: classes }, (_, other) => Number(other === label))), shape: [count, classes] };
  return fromArrays({ images, shape: [count, channels, side, side], labels: labelKind === "single" ? single : multi });
}

/** Images as numbers. */
export function images(count, { side = 16, channels = 1 } = {}) {
  return tensor(Float32Array.from({ length: count * channels * side * side }, (_, i) => ((i * 31) % 256) / 256), [count, channels, side, side]);
}

/** The SHA-256 of all weights and running statistics. */
export async function digest(model) {
  const hash = createHash("sha256");
  for (const [name, { data }] of await model.stateDict()) hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.digest("hex");
}
