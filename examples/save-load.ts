// Own images, a training run that can be stopped, a model file.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fit, fromArrays, loadModel, ResNet, tensor } from "resnet-native";

// 64 RGB images of 32x32 pixels: bright ones are day, dark ones night.
const labels = Array.from({ length: 64 }, (_, i) => i % 2);
const images = new Uint8Array(64 * 3 * 32 * 32).map((_, i) => labels[Math.floor(i / (3 * 32 * 32))]! * 100 + (i % 90));
const data = fromArrays({ images, shape: [64, 3, 32, 32], labels, classNames: ["night", "day"] });

const model = new ResNet([[1, 16]], { numClasses: 2 });
await fit(model, data, { epochs: 3, batchSize: 16, signal: AbortSignal.timeout(60_000) });

const folder = await mkdtemp(join(tmpdir(), "day-or-night-"));
await model.save(join(folder, "model.safetensors"));
const loaded = await loadModel(join(folder, "model.safetensors"));
const logits = await loaded.predict(tensor(images.subarray(0, 2 * 3 * 32 * 32), [2, 3, 32, 32]));
console.log(logits.shape, loaded.accuracy(logits, [0, 1]));
await rm(folder, { recursive: true });
