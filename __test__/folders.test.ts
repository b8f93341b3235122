import { createHash } from "node:crypto";
import fs from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { CifarResNet, conv2d, fit, globalAvgPool2d, GoogLeNet, linear, loadModel, type Model, type PictureTransform, preprocess, relu, ResNet, ResNet18, sequential, sgd, tensor } from "resnet-native";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { MARK } from "../ts/hub/card.js";
import { architectureOf, ARCHITECTURES, classesOf } from "../ts/hub/architectures.js";
import { parseConfig } from "../ts/hub/config.js";
import { nativeOf, Network } from "../ts/models.js";
import { Staging } from "../ts/staging.js";
import { any, digest, pictures, rejection } from "./pictures.js";
import { writeWeights } from "./weights.js";

// tools/hub_fixture.py reads this line.
const NAMES = "resnet18 resnet18d resnet34 resnet34d resnet50 resnet50c resnet50d resnet101 resnet101c resnet101d resnet152 resnet152c resnet152d resnet26 resnet26d resnet200 resnet200d resnext50_32x4d resnext50d_32x4d resnext101_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2 resnetv2_18 resnetv2_34 resnetv2_50 resnetv2_101 resnetv2_152";

const transform: PictureTransform = { size: [16, 12], fit: "pad", channels: 3, background: [1, 2, 3], normalise: { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] } };
const images = tensor(Float32Array.from({ length: 2 * 3 * 256 }, (_, i) => ((i * 37) % 101) / 50 - 1), [2, 3, 16, 16]);

interface Told {
  readonly configs: Readonly<Record<string, object>>;
  readonly parameters: Readonly<Record<string, number>>;
  readonly names: Readonly<Record<string, string>>;
}
let timm: Told;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-folders-"));
  timm = JSON.parse(await readFile(new URL("../crates/resnet-core/tests/fixtures/hub.json", import.meta.url), "utf8")) as Told;
});
afterAll(async () => rm(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

const tiny = (options: object = {}) => new CifarResNet({ depth: 8, inChannels: 3, numClasses: 4, ...options });
const json = async (file: string) => JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
/** A folder as timm writes it, with the weights of a model. */
async function timms(name: string, config: object, model: Model): Promise<string> {
  const to = join(folder, name);
  await mkdir(to);
  await writeFile(join(to, "config.json"), JSON.stringify(config));
  await writeWeights(join(to, "model.safetensors"), await model.stateDict());
  return to;
}

test("what comes back from a folder is the model, to the bit", async () => {
  using model = tiny({ seed: 3 });
  await fit(model, pictures(16, { channels: 3 }), { epochs: 1, batchSize: 8, optimizer: sgd({ lr: 0.01 }) });
  await model.setInterface({ transform, classNames: ["a", "b", "c", "<d>"], labelKind: "single", temperature: 1.5 });
  const to = join(folder, "round");
  await model.saveFolder(to);
  expect((await readdir(to)).toSorted()).toEqual(["README.md", "config.json", "model.safetensors"]);
  using again = await loadModel(to);
  expect(await digest(again)).toBe(await digest(model));
  expect(await again.predict(images)).toEqual(await model.predict(images));
  const { classNames, labelKind, temperature } = again;
  expect({ transform: again.transform, classNames, labelKind, temperature }).toEqual({ transform, classNames: ["a", "b", "c", "<d>"], labelKind: "single", temperature: 1.5 });
  using headed = await loadModel(to, { numClasses: 7 });
  expect((await headed.predict(images)).shape).toEqual([2, 7]);
});

test("config.json has what timm's has, of the same network", async () => {
  const model = new ResNet("resnet50", { flavor: "torchvision", stem: "deep", shortcut: "avgpool", inChannels: 1, numClasses: 5, seed: 9, zeroInitResidual: true, stochasticDepth: 0.1 });
  await model.setInterface({ transform: { ...transform, channels: 1, normalise: { mean: [0.449], std: [0.226] } }, classNames: [0, 1, 2, 3, 4].map((i) => `class ${i}`) });
  const to = join(folder, "resnet50d");
  await model.saveFolder(to);
  model.dispose();
  const { pretrained_cfg: ours, model_args: args, resnet_native: own, ...top } = await json(join(to, "config.json"));
  const { pretrained_cfg: theirs, model_args: all, ...wanted } = timm.configs["resnet50d"] as Record<string, object>;
  expect(top).toEqual(wanted);
  expect([args, own]).toEqual([pick(all!, ["in_chans"]), expect.objectContaining({ temperature: 1 })]);
  expect(ours).toEqual({ ...pick(theirs!, ["custom_load", "fixed_input_size", "mean", "std", "num_classes", "first_conv", "classifier"]), pool_size: null, input_size: [1, 16, 12], interpolation: "bilinear", crop_pct: 1, crop_mode: "border" });
  const card = await readFile(join(to, "README.md"), "utf8");
  expect(card).toMatch(/^---\nlibrary_name: timm\npipeline_tag: image-classification\ntags:\n- image-classification\n- timm\n- resnet-native\n---\n/);
  for (const part of ["`resnet50d`, as timm has it", "timm.create_model(\"local-dir:FOLDER\", pretrained=True)", "timm's borders have the colour of the mean", "0. class 0\n"]) expect(card).toContain(part);
});
const pick = (from: object, names: readonly string[]) => Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)));

test.each([
  ["resnet18", { flavor: "torchvision" }, "resnet18"],
  ["resnet152", { flavor: "torchvision", stochasticDepth: 0.2 }, "resnet152"],
  [[[2, 64], [2, 128], [2, 256], [2, 512]], { flavor: "torchvision" }, "resnet18"],
  ["resnet18", { flavor: "torchvision", stem: "deep", shortcut: "avgpool" }, "resnet18d"],
  ["resnet18", { flavor: "d2l" }, "resnet_native"],
  ["resnet18", { flavor: "torchvision", stem: "small" }, "resnet_native"],
  ["preactresnet18", { flavor: "torchvision" }, "resnet_native"],
  ["resnext50_32x4d", {}, "resnext50_32x4d"],
])("the network %j with %j has the architecture %s", async (arch, options, architecture) => {
  const described = (model: Model) => nativeOf(model).description;
  const network = described(new ResNet(any(arch), { ...(options as object), seed: 3 }));
  const { name = "resnet_native" } = architectureOf(network, classesOf(network), (recipe) => described(new Network(recipe))) ?? {};
  expect([name, classesOf(network)]).toEqual([architecture, 10]);
});

test("of networks that timm has not the folder says so, and is read all the same", async () => {
  const own = sequential([conv2d(4), relu(), globalAvgPool2d(), linear(3)], { inChannels: 3 });
  for (const [i, model] of [tiny(), new GoogLeNet({ inChannels: 3 }), own, sequential([conv2d(4), relu()], { inChannels: 3 })].entries()) {
    const to = join(folder, `own-${i}`);
    await model.saveFolder(to);
    const config = await json(join(to, "config.json"));
    expect(config).toMatchObject({ architecture: "resnet_native", resnet_native: { network: expect.stringContaining("header of model.safetensors") } });
    expect(config["pretrained_cfg"]).not.toHaveProperty("classifier");
    expect(await readFile(join(to, "README.md"), "utf8")).toMatch(/^---\nlibrary_name: resnet-native\n/);
    using again = await loadModel(to);
    expect(await again.predict(images)).toEqual(await model.predict(images));
    model.dispose();
  }
});

test("the card claims nothing that the model does not know, and names are text", async () => {
  using model = tiny();
  const to = join(folder, "a_b<script>");
  await model.saveFolder(to);
  const bare = await readFile(join(to, "README.md"), "utf8");
  expect(bare).toMatch(/^---\nlibrary_name: resnet-native\npipeline_tag: image-classification\ntags:\n- image-classification\n- resnet-native\n---\n/);
  for (const part of ["- **Licence**: not recorded", "**Training data, results, intended use**: not recorded", "how pictures are prepared is not recorded", "# a&#95;b&#60;script&#62;"]) expect(bare).toContain(part);
  expect(bare).not.toMatch(/license:|## Classes|timm\.create/);
  const names = ["<img src=x onerror=alert(1)>", "[a](javascript:b)", "x\n---\nlicense: mit", "d"];
  await model.setInterface({ transform, classNames: names, labelKind: "multi", temperature: 2 });
  await model.saveFolder(to, { license: "cc-by-4.0" });
  const card = await readFile(join(to, "README.md"), "utf8");
  expect(card.match(/^license: .*$/gm)).toEqual(["license: cc-by-4.0"]);
  expect(card).not.toMatch(/<img|\]\(java/);
  for (const part of ["3 channels, 16x12", "borders of rgb(1, 2, 3)", "any number of classes (sigmoid)", "divided by 2 they are calibrated", "less [0.5, 0.4, 0.3]"]) expect(card).toContain(part);
  expect(await rejection(model.saveFolder(to, { license: "mit\ntags: x" }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^license: expected a short name/) });
});

test("a folder that is there keeps what is not the model's, and a card that is somebody's own", async () => {
  using first = tiny({ seed: 1 });
  using second = tiny({ seed: 2 });
  const to = join(folder, "there");
  await first.saveFolder(to);
  const card = (await readFile(join(to, "README.md"), "utf8")).replace(`${MARK}\n`, "Mine.\n");
  await writeFile(join(to, "README.md"), card);
  await writeFile(join(to, "notes.txt"), "x");
  await second.saveFolder(to);
  expect((await readdir(to)).toSorted()).toEqual(["README.md", "config.json", "model.safetensors", "notes.txt"]);
  expect(await readFile(join(to, "README.md"), "utf8")).toBe(card);
  using again = await loadModel(to);
  expect(await digest(again)).toBe(await digest(second));
});

test("two that write one folder at once both do, and it is whole", async () => {
  const models = [tiny({ seed: 1 }), tiny({ seed: 2 })];
  const to = join(await mkdtemp(join(folder, "both-")), "one");
  await Promise.all(models.map(async (model) => model.saveFolder(to)));
  using again = await loadModel(to);
  expect(await Promise.all(models.map(digest))).toContain(await digest(again));
  expect(await readdir(join(to, ".."))).toEqual(["one"]);
});

test("what a killed save leaves is told, and goes with the next one; what another one has under way stays", async () => {
  const within = await mkdtemp(join(folder, "killed-"));
  const [to, other] = [join(within, "one"), join(within, "other")];
  using old = tiny({ seed: 1 });
  using next = tiny({ seed: 2, numClasses: 5 });
  await old.saveFolder(to);
  await next.saveFolder(other);
  // As between the two renames.
  await copyFile(join(other, "config.json"), join(to, "config.json"));
  const notes: string[] = [];
  using loaded = await loadModel(to, { onNote: (note) => notes.push(note) });
  expect(await digest(loaded)).toBe(await digest(old));
  expect(notes).toEqual([expect.stringMatching(/^config\.json is of another save than model\.safetensors/)]);
  const left = join(within, ".one.left.tmp");
  await mkdir(left);
  await writeFile(join(left, ".lock.left.tmp"), "");
  await utimes(left, 1, 1);
  const open = new Staging(to);
  await utimes(open.folder, 1, 1);
  await next.saveFolder(to);
  expect((await readdir(within)).toSorted()).toEqual([basename(open.folder), "one", "other"]);
  open.remove();
  notes.length = 0;
  using again = await loadModel(to, { onNote: (note) => notes.push(note) });
  expect([await digest(again), notes]).toEqual([await digest(next), []]);
});

test.skipIf(process.platform === "win32")("a folder outlasts a power cut: its names are synced before it has its place, and its place after", async () => {
  const within = await mkdtemp(join(folder, "synced-"));
  const to = join(within, "one");
  const synced: string[][] = [];
  const opened = vi.spyOn(fs, "openSync");
  vi.spyOn(fs, "fsyncSync").mockImplementation((file) => {
    const place = opened.mock.calls[opened.mock.results.findLastIndex(({ value }) => value === file)]![0] as string;
    synced.push([place === within ? "above" : "folder", ...fs.readdirSync(place).filter((name) => !name.startsWith("."))]);
  });
  syncBuiltinESMExports();
  const files = ["README.md", "config.json", "model.safetensors"];
  using model = tiny();
  await model.saveFolder(to);
  expect(synced.splice(0)).toEqual([["folder", ...files], ["above", "one"]]);
  await model.saveFolder(to);
  expect(synced).toEqual([["folder", ...files]]);
});

test("a folder that cannot be begun or removed leaves its error, or none", async () => {
  const within = await mkdtemp(join(folder, "begun-"));
  const to = join(within, "one");
  using model = tiny();
  vi.spyOn(fs, "rmSync").mockImplementationOnce(() => {
    throw new Error("EIO");
  });
  syncBuiltinESMExports();
  await model.saveFolder(to);
  (await loadModel(to)).dispose();
  const make = fs.mkdirSync;
  vi.spyOn(fs, "mkdirSync").mockImplementation((path) => {
    make(path);
    // In the lock's place.
    return make(join(path as string, "lock")) as never;
  });
  syncBuiltinESMExports();
  expect(await rejection(model.saveFolder(to))).toMatchObject({ code: "ERR_IO" });
  expect(await readdir(within)).toEqual(["one"]);
});

test("config.json that is damaged or claims another model is refused by its field, and weights that are cut off are told", async () => {
  using model = new ResNet18({ flavor: "torchvision", inChannels: 3, numClasses: 3 });
  await model.setInterface({ transform, classNames: ["a", "b", "c"] });
  const to = join(folder, "claims");
  await model.saveFolder(to);
  const config = join(to, "config.json");
  const right = await json(config);
  const says = async (text: string) => {
    await writeFile(config, text);
    return rejection(loadModel(to));
  };
  for (const [text, message] of [
    ["", "expected JSON, got an empty file"],
    ["[]", "expected an object, got []"],
    [JSON.stringify({ ...right, num_classes: 4 }), "num_classes: expected 3, as the header of model.safetensors has it, got 4"],
    [JSON.stringify({ ...right, label_names: ["a", "c", "b"] }), 'label_names: expected ["a","b","c"], as the header of model.safetensors has it, got ["a","c","b"]'],
    [JSON.stringify({ ...right, architecture: "resnet34" }), 'architecture: expected "resnet18", as the header of model.safetensors has it, got "resnet34"'],
  ] as const) expect(await says(text)).toMatchObject({ code: "ERR_MODEL_FILE", message: `${config}: ${message}` });
  await writeFile(config, JSON.stringify(right));
  (await loadModel(to)).dispose();
  const weights = join(to, "model.safetensors");
  for (const [bytes, got] of [[100, "a file of 100 bytes that is cut off within its header, or of another form"], [0, "an empty file"]] as const) {
    await truncate(weights, bytes);
    expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_MODEL_FILE", message: `${weights}: expected weights, got ${got}` });
  }
});

test("what cannot be written leaves nothing behind", async () => {
  const within = await mkdtemp(join(folder, "none-"));
  await writeFile(join(within, "file"), "x");
  using model = tiny();
  const fails = async (to: string, options?: object, by: Model = model) => rejection(by.saveFolder(join(within, to), options));
  expect(await fails("file")).toMatchObject({ code: "ERR_IO", message: expect.stringMatching(/file: it is a file; expected the name of a folder$/) });
  expect(await fails("no/where")).toMatchObject({ code: "ERR_IO", message: expect.stringMatching(/^cannot write .*no\/where: there is no folder .*no$/) });
  expect(await fails("x", {}, tiny({ inChannels: undefined }))).toMatchObject({ code: "ERR_NOT_BUILT" });
  const stop = new AbortController();
  const stopped = fails("x", { signal: stop.signal });
  stop.abort(new Error("enough"));
  expect(await stopped).toMatchObject({ message: "enough" });
  expect(await readdir(within)).toEqual(["file"]);
});

test("a folder that timm wrote is read: classes, names, channels, pictures; what is not kept is told", async () => {
  using model = new ResNet18({ flavor: "torchvision", inChannels: 3, numClasses: 5, seed: 4 });
  const to = await timms("timm", timm.configs["resnet18"]!, model);
  const notes: string[] = [];
  using again = await loadModel(to, { onNote: (note) => notes.push(note) });
  expect(await again.predict(images)).toEqual(await model.predict(images));
  expect(again.classNames).toEqual([0, 1, 2, 3, 4].map((i) => `class ${i}`));
  expect(again.transform).toEqual({ size: [224, 224], fit: "crop", channels: 3, background: [124, 116, 104], normalise: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } });
  expect(notes.map((note) => note.split(":")[0])).toEqual(["crop_pct 0.95", `interpolation "bicubic"`]);
  expect((await preprocess({ data: new Uint8Array(48), info: { width: 4, height: 4, channels: 3 } }, again.transform!)).shape).toEqual([1, 3, 224, 224]);
  // A new head of as many classes is new all the same.
  using headed = await loadModel(to, { numClasses: 5, seed: 1 });
  const [before, after] = [await model.stateDict(), await headed.stateDict()];
  const isSame = (name: string) => Buffer.compare(new Uint8Array(after.get(name)!.data.buffer), new Uint8Array(before.get(name)!.data.buffer)) === 0;
  expect([isSame("layer4.1.conv2.weight"), isSame("fc.weight")]).toEqual([true, false]);
  expect(headed.classNames).toBeUndefined();
  using more = await loadModel(to, { numClasses: 8 });
  expect((await more.predict(images)).shape).toEqual([2, 8]);
  await writeFile(join(to, "config.json"), JSON.stringify({ ...timm.configs["resnet18"], architecture: "resnet34" }));
  expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_STATE_DICT" });
});

test("names, shapes and numbers of weights are timm's, for each architecture that is listed", async () => {
  expect(ARCHITECTURES.map(({ name }) => name)).toEqual(NAMES.split(" "));
  for (const { name, recipe, firstConv, classifier, features } of ARCHITECTURES) {
    using model = new Network({ ...recipe, num_classes: 5 }, { inChannels: 3 });
    expect([name, model.numParameters]).toEqual([name, timm.parameters[name]]);
    if (!(name in timm.names)) continue;
    const state = await model.stateDict();
    const lines = [...state].map(([name, { shape }]) => `${name} [${shape}]\n`).toSorted();
    expect([name, createHash("sha256").update(lines.join("")).digest("hex")]).toEqual([name, timm.names[name]]);
    expect(state.has(`${firstConv}.weight`)).toBe(true);
    expect(state.get(`${classifier}.weight`)!.shape).toEqual([5, features]);
  }
});

test.each([
  ["{", /JSON/],
  ["[]", /expected an object, got \[\]/],
  [{ architecture: "vit_tiny" }, /^architecture: expected one that can be made here \(resnet18, .*wide_resnet101_2.*\), got "vit_tiny"$/],
  [{ architecture: "resnet_native" }, /^architecture: its description was in the header/],
  [{ architecture: "resnet18", num_classes: -1 }, /^num_classes: expected an integer of at least 0, got -1$/],
  [{ architecture: "resnet18", model_args: { in_chans: "3" } }, /^in_chans: .* got "3"$/],
  [{ architecture: "resnet18", model_args: { output_stride: 8 } }, /^model_args: .* got output_stride, which would make another network of resnet18$/],
  [{ architecture: "resnet18", global_pool: "max" }, /^global_pool: expected "avg", got "max"$/],
])("config.json %j cannot be", (config, message) => {
  expect(() => parseConfig(typeof config === "string" ? config : JSON.stringify(config))).toThrow(message);
});

test.each([
  [{ mean: [0.5], std: [0.25] }, { normalise: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } }, []],
  [{ crop_mode: "squash" }, { fit: "stretch" }, []],
  [{ crop_mode: "border", mean: [0.5, 0.4, 0.3] }, { fit: "pad", background: [128, 102, 76] }, []],
  [{ crop_mode: "odd" }, { fit: "crop" }, ["crop_mode"]],
  [{ input_size: [1, 8, 9] }, { channels: 1, size: [8, 9], normalise: { mean: [0.449], std: [0.226] } }, []],
  [{ input_size: [5, 8, 9] }, undefined, ["input_size [5,8,9], mean [0.485,0.456,0.406]"]],
  [{ input_size: [3, 0, 9] }, undefined, ["input_size [3,0,9], mean [0.485,0.456,0.406]"]],
  [{ input_size: undefined }, undefined, ["input_size"]],
  [{ label_names: ["a", "a"] }, {}, ["label_names"]],
])("an older config.json with %j prepares pictures by %j", (given, wanted, told) => {
  // All in one object, as timm wrote it once.
  const config = { architecture: "resnet18", num_classes: 2, input_size: [3, 8, 8], crop_pct: 1, interpolation: "bilinear", labels: { 1: "b", 0: "a" }, ...given };
  const { interface: found, notes } = parseConfig(JSON.stringify(config));
  expect(notes.map((note) => note.split(/: |, std/)[0])).toEqual(told);
  if (wanted === undefined) expect(found.transform).toBeUndefined();
  else expect({ ...found.transform, normalise: rounded(found.transform?.normalise) }).toMatchObject(wanted);
  expect(found.classNames).toEqual((told as string[]).includes("label_names") ? undefined : ["a", "b"]);
});
const rounded = (normalise: PictureTransform["normalise"]) => normalise && { mean: normalise.mean.map((n) => Number(n.toFixed(6))), std: normalise.std.map((n) => Number(n.toFixed(6))) };

test("a folder that is no model's says what is missing", async () => {
  const to = join(folder, "empty");
  await mkdir(to);
  expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_MODEL_FILE", message: `${to}: expected a model's file, or a folder with model.safetensors or pytorch_model.bin, got a folder with nothing` });
  await writeFile(join(to, "model.safetensors"), "x");
  expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_MODEL_FILE", message: `${join(to, "model.safetensors")}: expected weights, got a file of 1 bytes that is cut off within its header, or of another form` });
  await writeFile(join(to, "model.safetensors"), "\x02\0\0\0\0\0\0\0{}");
  expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_MODEL_FILE", message: expect.stringMatching(/expected a description in model\.safetensors, or config\.json beside it, got neither$/) });
  await writeFile(join(to, "config.json"), JSON.stringify({ architecture: "resnet18", num_classes: 0 }));
  expect(await rejection(loadModel(to))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^numClasses: .* no head/) });
  expect(await rejection(loadModel(to, { numClasses: 2 }))).toMatchObject({ code: "ERR_STATE_DICT" });
  expect(await rejection(loadModel(join(folder, "nowhere")))).toMatchObject({ code: "ERR_IO" });
});
