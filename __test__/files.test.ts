import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { CifarResNet, fit, loadModel, ResNet, ResNet18, type ResNetError, tensor } from "resnet-native";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digest, pictures, rejection } from "./pictures.js";
import { safetensors, writeWeights } from "./weights.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A file as PyTorch saved it, such as torchvision's ResNet-18; `tools/torch_files.py` made it. */
async function published(name: string): Promise<string> {
  const packed = new URL(`../crates/resnet-core/tests/fixtures/torch_files/${name}.gz`, import.meta.url);
  const path = join(folder, name);
  await writeFile(path, gunzipSync(await readFile(packed)));
  return path;
}

const tiny = (inChannels?: number) => new ResNet([[1, 8]], { numClasses: 4, inChannels });
const image = tensor(
  Float32Array.from({ length: 256 }, (_, i) => i / 256),
  [1, 1, 16, 16],
);

test("a saved model comes back from its file alone", async () => {
  using model = tiny();
  await fit(model, pictures(32), { batchSize: 16 });
  const path = join(folder, "model.safetensors");
  await model.save(path);
  expect(await readdir(folder)).toEqual(["model.safetensors"]);
  using loaded = await loadModel(pathToFileURL(path), { threads: 1 });
  expect([loaded.inChannels, loaded.numParameters]).toEqual([1, model.numParameters]);
  expect(await digest(loaded)).toBe(await digest(model));
  expect(await loaded.predict(image)).toEqual(await model.predict(image));
  expect(loaded.layerSummary([1, 1, 16, 16])).toEqual(model.layerSummary([1, 1, 16, 16]));
  using other = tiny();
  expect(await other.loadWeights(path)).toEqual({ missing: [], unexpected: [], kept: [] });
  expect(other.inChannels).toBe(1);
  expect(await digest(other)).toBe(await digest(model));
});

test("a strict model differs in rounding alone, and a file may be loaded as one", async () => {
  const images = tensor(
    Float32Array.from({ length: 16 * 1024 }, (_, i) => Math.sin(i)),
    [16, 1, 32, 32],
  );
  using model = new ResNet([[1, 64]], { stem: "small", numClasses: 4, seed: 1 });
  using strict = new ResNet([[1, 64]], { stem: "small", numClasses: 4, seed: 1, strict: true });
  const [logits, strictLogits] = [await model.predict(images), await strict.predict(images)];
  expect(logits.data).not.toEqual(strictLogits.data);
  for (const [i, value] of logits.data.entries()) expect(value).toBeCloseTo(strictLogits.data[i]!, 4);
  const path = join(folder, "model.safetensors");
  await model.save(path);
  using loaded = await loadModel(path, { strict: true });
  expect(await loaded.predict(images)).toEqual(strictLogits);
});

test("a model can be saved while it is trained", async () => {
  using model = tiny();
  const path = join(folder, "model.safetensors");
  let saved = "";
  await fit(model, pictures(64), {
    epochs: 2,
    batchSize: 16,
    async onEpochEnd({ epoch }) {
      if (epoch > 1) return;
      await model.save(path);
      saved = await digest(model);
    },
  });
  using loaded = await loadModel(path);
  expect(await digest(loaded)).toBe(saved);
  expect(await digest(model)).not.toBe(saved);
});

test("weights that do not fit are refused, and nothing changes", async () => {
  using model = tiny(1);
  const before = await digest(model);
  const weights = [...(await model.stateDict())];
  const path = join(folder, "weights.safetensors");
  const refused = async (tensors: typeof weights, message: RegExp) => {
    await writeWeights(path, tensors);
    expect(await rejection(model.loadWeights(path))).toMatchObject({
      name: "ResNetError",
      code: "ERR_STATE_DICT",
      message: expect.stringMatching(message),
    });
    expect(await digest(model)).toBe(before);
  };
  const extra = tensor([1, 2], [2]);
  await refused(weights.slice(1), /conv1\.weight/);
  await refused([...weights, ["extra.weight", extra]], /extra\.weight/);
  await refused(
    weights.map(([name, value]) => [name, name === "fc.bias" ? extra : value] as const) as typeof weights,
    /fc\.bias.*\[4\].*\[2\]/,
  );
  await writeWeights(path, [...weights.slice(1), ["extra.weight", extra]]);
  expect(await model.loadWeights(path, { strict: false })).toEqual({
    missing: ["conv1.weight"],
    unexpected: ["extra.weight"],
    kept: [],
  });
});

test("torchvision's own file gives its logits; another head and other channels are taken on request", async () => {
  const path = await published("resnet18.pth");
  using model = new ResNet18({ flavor: "torchvision", numClasses: 1000 });
  expect(await model.loadWeights(path)).toEqual({ missing: [], unexpected: [], kept: [] });
  expect(model.inChannels).toBe(3);
  using other = new ResNet18({ flavor: "torchvision", inChannels: 1 });
  expect(await rejection(other.loadWeights(path))).toMatchObject({
    code: "ERR_STATE_DICT",
    message: expect.stringMatching(/newHead: true.*adaptInput: true/),
  });
  const { kept } = await other.loadWeights(path, { newHead: true, adaptInput: true });
  expect(kept).toEqual(["fc.weight", "fc.bias"]);
  const [given, taken] = [await model.stateDict(), await other.stateDict()];
  const same = Buffer.from(given.get("layer2.0.conv1.weight")!.data.buffer);
  expect(same.equals(Buffer.from(taken.get("layer2.0.conv1.weight")!.data.buffer))).toBe(true);
  const [rgb, grey] = [given.get("conv1.weight")!.data, taken.get("conv1.weight")!.data];
  expect(grey[10]).toBeCloseTo(rgb[10]! + rgb[49 + 10]! + rgb[98 + 10]!, 5);
});

test("a file's names may be changed to the network's", async () => {
  const path = await published("cifar_resnet20.th");
  using model = new CifarResNet({ depth: 20, shortcut: "pad", flavor: "torchvision" });
  expect(await rejection(model.loadWeights(path))).toMatchObject({
    code: "ERR_STATE_DICT",
    message: expect.stringMatching(/; rename: \{ "linear": "fc" \} makes/),
  });
  expect(await model.loadWeights(path, { rename: { linear: "fc" } })).toEqual({ missing: [], unexpected: [], kept: [] });
  expect((await model.predict(tensor(new Float32Array(3 * 1024), [1, 3, 32, 32]))).shape).toEqual([1, 10]);

  const own = join(folder, "weights.safetensors");
  await writeWeights(own, [...(await model.stateDict())].map(([name, value]) => [`net.${name}`, value] as const));
  using again = new CifarResNet({ depth: 20, shortcut: "pad", flavor: "torchvision" });
  await again.loadWeights(own, { rename: { net: "" } });
  const before = await digest(again);
  expect(before).toBe(await digest(model));
  // What is reported are the new names.
  const { missing, unexpected } = await again.loadWeights(own, { strict: false, rename: { net: "", "net.fc": "head" } });
  expect([missing, unexpected]).toEqual([["fc.weight", "fc.bias"], ["head.weight", "head.bias"]]);
  const refused = async (rename: Record<string, string>, message: RegExp) => {
    const error = await rejection(again.loadWeights(own, { strict: false, rename }));
    expect(error).toMatchObject({ name: "ResNetError", code: "ERR_STATE_DICT", message: expect.stringMatching(message) });
  };
  for (const from of ["linear", "ne", "__proto__", "nul\0", "\ud800"]) {
    await refused({ net: "", [from]: "fc" }, /^rename: expected what names in the file begin with up to a dot, as net, got "/);
  }
  await refused({ "net.conv1": "net.bn1" }, /^rename: expected names that differ, got net\.bn1\.weight for both net\..* and net\./);
  expect(await digest(again)).toBe(before);
});

test("a PyTorch file that asks for code is refused and runs nothing", async () => {
  const path = join(folder, "evil.pth");
  const mark = join(folder, "mark");
  // PyTorch's form before zip files: a magic number, a version, { little_endian: true }, then an object that reduces to
  // os.system("touch …").
  const parts = [
    Buffer.from("80028a0a6cfc9c46f9206aa850192e80024de9032e", "hex"),
    Buffer.from("80027d580d0000006c6974746c655f656e6469616e88732e", "hex"),
    Buffer.from(`\x80\x02cposix\nsystem\nX${String.fromCharCode(mark.length + 6)}\0\0\0touch ${mark}\x85R.`, "latin1"),
  ];
  await writeFile(path, Buffer.concat(parts));
  using model = tiny(1);
  const error = await rejection(model.loadWeights(path));
  expect(error).toMatchObject({ code: "ERR_MODEL_FILE", message: expect.stringContaining("posix.system") });
  expect(await readdir(folder)).toEqual(["evil.pth"]);
});

test("files that are no model are refused", async () => {
  const path = join(folder, "model.safetensors");
  using model = tiny(1);
  await model.save(path);
  const whole = await readFile(path);
  const overlapping = {
    a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
    b: { dtype: "F32", shape: [2], data_offsets: [4, 12] },
  };
  const damages: Record<string, Buffer> = {
    truncated: whole.subarray(0, whole.length - 10),
    "with a tail": Buffer.concat([whole, Buffer.alloc(8)]),
    empty: Buffer.alloc(0),
    "a header beyond the file": Buffer.concat([Buffer.alloc(8, 0x7f), Buffer.from("{}")]),
    "no JSON": safetensors("{", Buffer.alloc(0)),
    overlapping: safetensors(overlapping, Buffer.alloc(12)),
  };
  for (const [damage, bytes] of Object.entries(damages)) {
    await writeFile(path, bytes);
    for (const call of [() => loadModel(path), () => model.loadWeights(path)]) {
      const error = (await rejection(call())) as ResNetError;
      expect(error, damage).toMatchObject({ name: "ResNetError", code: "ERR_MODEL_FILE" });
      expect(error.message, damage).toContain(path);
    }
  }
  await writeWeights(path, await model.stateDict());
  expect(await rejection(loadModel(path))).toMatchObject({ code: "ERR_MODEL_FILE" });
  expect(await rejection(loadModel(join(folder, "absent")))).toMatchObject({ code: "ERR_IO" });
  expect(await rejection(model.save(join(folder, "absent", "model")))).toMatchObject({ code: "ERR_IO" });
});

test("calls with an aborted signal reject with its reason", async () => {
  using model = tiny(1);
  const reason = new Error("no");
  const options = { signal: AbortSignal.abort(reason) };
  const path = join(folder, "model.safetensors");
  for (const call of [
    () => model.save(path, options),
    () => model.loadWeights(path, options),
    () => loadModel(path, options),
    () => model.predict(image, options),
    () => model.forward(image, options),
  ]) {
    expect(await rejection(call())).toBe(reason);
  }
  expect(await readdir(folder)).toEqual([]);
});
