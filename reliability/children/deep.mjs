// Deep things: networks of many layers, in a row and within each other, descriptions in files that nest without end.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CifarResNet, conv2d, fromArrays, globalAvgPool2d, linear, loadModel, relu, residual, ResNetError, sequential, Trainer } from "resnet-native";
import { given, tell } from "./given.mjs";
import { digest, images } from "./subjects.mjs";

const { what, depth, folder } = given;
const file = join(folder, "m.safetensors");
const labels = [0, 1, 2, 3];

async function tryOut(make) {
  const model = make();
  try {
    const { data } = await model.predict(images(4));
    if (!data.every(Number.isFinite)) throw new Error("outputs are not finite");
    await new Trainer(model).step(images(4), labels);
    await model.save(file);
    const loaded = await loadModel(file);
    if ((await digest(loaded)) !== (await digest(model))) throw new Error("what is loaded is not what was saved");
    loaded.dispose();
    model.layerSummary([1, 1, 16, 16]).toString();
    await model.exportOnnx(join(folder, "m.onnx"), { shape: [1, 1, 16, 16] });
  } finally {
    model.dispose();
  }
  return "done";
}

const head = () => [globalAvgPool2d(), linear(4)];
const options = { inChannels: 1, threads: 1, seed: 1 };
const nested = (json) => {
  const body = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(body.length));
  writeFileSync(file, Buffer.concat([length, body]));
  return loadModel(file).then(() => "loaded");
};
const kinds = {
  "layers in a row": () => tryOut(() => sequential([conv2d(2), ...Array.from({ length: depth }, () => relu()), ...head()], options)),
  "residual within residual": () => tryOut(() => {
    let body = conv2d(1, { kernelSize: 1 });
    for (let i = 0; i < depth; i++) body = residual({ body });
    return sequential([body, ...head()], options);
  }),
  "sequential within sequential": () => tryOut(() => {
    let body = conv2d(2);
    for (let i = 0; i < depth; i++) body = sequential([body]);
    return sequential([body, ...head()], options);
  }),
  "a network of residual blocks": () => tryOut(() => new CifarResNet({ ...options, depth: 6 * Math.floor(depth / 6) + 2, numClasses: 4 })),
  "a description that nests": () => nested(`{"__metadata__":{"resnet_native":${JSON.stringify(`{"version":1,"in_channels":1,"seed":0,"network":${'{"type":"residual","body":'.repeat(depth)}${"}".repeat(depth)}}`)}}}`),
  "a header that nests": () => nested(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`),
  "lists that nest": async () => {
    let deep = [];
    for (let i = 0; i < depth; i++) deep = [deep];
    return fromArrays({ images: deep, shape: deep, labels: deep }).length;
  },
};
try {
  tell({ end: await kinds[what]() });
} catch (error) {
  if (!(error instanceof ResNetError) || error.code === "ERR_INTERNAL") throw error;
  tell({ end: error.code, message: error.message.slice(0, 200) });
}
process.exit();
