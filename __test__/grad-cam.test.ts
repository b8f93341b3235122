import { globalAvgPool2d, gradCam, type PictureTransform, relu, ResNet18, sequential, tensor } from "resnet-native";
import { expect, test } from "vitest";
import { any, rejection } from "./pictures.js";

const transform: PictureTransform = { size: [2, 3], fit: "stretch", channels: 3, background: [0, 0, 0] };

/** A network whose logits are how much red, green and blue there is. */
async function colours() {
  const model = sequential([relu(), globalAvgPool2d()], { inChannels: 3 });
  await model.setInterface({ transform, classNames: ["red", "green"] });
  return model;
}

/** A black picture of 3x2 pixels with one of full colour. */
function spot(channel: number, pixel: number) {
  const data = new Uint8Array(18);
  data[pixel * 3 + channel] = 255;
  return { data, info: { width: 3, height: 2, channels: 3 } };
}

const heatOf = (pixel: number) => Array.from({ length: 6 }, (_, i) => Number(i === pixel));

test("heat is where the class is, in the size of what the network sees", async () => {
  using model = await colours();
  const { heat, ...found } = await gradCam(model, spot(1, 4));
  expect(found).toEqual({ label: 1, name: "green" });
  expect(heat.shape).toEqual([2, 3]);
  expect([...heat.data]).toEqual(heatOf(4));
  const several = await gradCam(model, [spot(0, 0), spot(2, 5)]);
  expect(several.map(({ name, heat }) => [name, [...heat.data]])).toEqual([["red", heatOf(0)], ["2", heatOf(5)]]);
  // Of a class that is nowhere there is no evidence.
  expect([...(await gradCam(model, spot(1, 4), { classIndex: 0, layer: "0" })).heat.data]).toEqual(heatOf(-1));
});

test("a tensor has a map for each of its images, also of more than are computed together", async () => {
  using model = sequential([relu(), globalAvgPool2d()], { inChannels: 2 });
  const images = tensor(Float32Array.from({ length: 70 * 12 }, (_, i) => Number(Math.floor(i / 12) % 12 === i % 12)), [70, 2, 2, 3]);
  const found = await gradCam(model, images);
  expect(found.map(({ label, heat }) => [label, [...heat.data]])).toEqual(
    Array.from({ length: 70 }, (_, i) => [i % 12 < 6 ? 0 : 1, heatOf(i % 6)]),
  );
});

test("what cannot be is named", async () => {
  using model = await colours();
  const wrong: [() => Promise<unknown>, string, RegExp][] = [
    [() => gradCam(any({}), spot(0, 0)), "ERR_INVALID_ARGUMENT", /model: expected a model/],
    [() => gradCam(model, any(7)), "ERR_INVALID_ARGUMENT", /pictures: expected a picture: a path, a file URL, the bytes of a file, or pixels \{ data, info: .* \}, got 7$/],
    [() => gradCam(model, any(undefined)), "ERR_INVALID_ARGUMENT", /pictures: expected a picture: .*, got undefined$/],
    [() => gradCam(model, any({ data: new Uint8Array(12), width: 2 })), "ERR_INVALID_ARGUMENT", /pictures\.info: expected \{ width, height, channels \}, got undefined$/],
    [() => gradCam(model, spot(0, 0), { layer: "2" }), "ERR_INVALID_ARGUMENT", /layer: expected the name of a layer or stage that returns maps, such as 0, got 2$/],
    [() => gradCam(model, spot(0, 0), { layer: "1" }), "ERR_INVALID_ARGUMENT", /that returns maps, such as 0, got 1, which returns \(N, 3\)$/],
    [() => gradCam(model, spot(0, 0), { classIndex: 3 }), "ERR_LABEL", /below the network's 3 classes/],
    [() => gradCam(model, spot(0, 0), { classIndex: -1 }), "ERR_INVALID_ARGUMENT", /classIndex/],
    [() => gradCam(model, spot(0, 0), any({ label: 1 })), "ERR_INVALID_ARGUMENT", /^options: expected options named .*classIndex, got label$/],
    [() => gradCam(model, tensor(new Float32Array(8), [1, 2, 2, 2])), "ERR_SHAPE", /3 channels/],
  ];
  for (const [call, code, message] of wrong) {
    expect(await rejection(call())).toMatchObject({ code, message: expect.stringMatching(message) });
  }
  const reason = new Error("enough");
  expect(await rejection(gradCam(model, spot(0, 0), { signal: AbortSignal.abort(reason) }))).toBe(reason);
});

test("the names of a summary are those that layers are asked for by", async () => {
  using model = new ResNet18({ inChannels: 1, seed: 1 });
  const images = tensor(Float32Array.from({ length: 1024 }, (_, i) => ((i * 37) % 101) / 50 - 1), [1, 1, 32, 32]);
  const names = model.layerSummary([1, 1, 32, 32]).map(({ name, outputShape }) => [name, outputShape] as const);
  expect(names.map(([name]) => name)).toEqual(["stem", "layer1", "layer2", "layer3", "layer4", "head"]);
  for (const [layer, shape] of names) {
    expect([layer, (await model.features(images, { layer })).shape]).toEqual([layer, shape]);
    if (layer !== "head") expect((await gradCam(model, images, { layer }))[0]!.heat.shape).toEqual([32, 32]);
  }
  expect(await rejection(gradCam(model, images, { layer: "layer5" }))).toMatchObject({ message: expect.stringMatching(/such as .*stem, .*layer1, layer2, layer3, layer4, got layer5$/) });
  expect(await rejection(model.features(images, { layer: "layer5" }))).toMatchObject({ message: expect.stringMatching(/such as layer1, layer2 or layer3 /) });
});
