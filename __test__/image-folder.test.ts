import { createHash } from "node:crypto";
import { copyFile, link, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  affine,
  type Augmentation,
  balancedSampler,
  colorJitter,
  cutmix,
  type Dataset,
  erasing,
  evaluate,
  fit,
  flip,
  imageFolder,
  type ImageFolderOptions,
  type Mixed,
  mixup,
  type Numbers,
  preprocess,
  randomCrop,
  ResNet,
  resizedCrop,
  sgd,
  Trainer,
  trivialAugment,
} from "resnet-native";
import { afterEach, beforeEach, expect, test } from "vitest";
import { collect, rejection } from "./pictures.js";
import { pngOfShortPalette } from "./png.js";
import { runIn } from "./program.js";

const child = fileURLToPath(new URL("children/cached-pictures.mjs", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../crates/resnet-core/tests/fixtures/pictures/", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-pictures-"));
});
afterEach(async () => rm(folder, { recursive: true }));

/** Puts copies of fixtures to these places, by place. */
async function put(files: Record<string, string>): Promise<void> {
  for (const [place, fixture] of Object.entries(files)) {
    await mkdir(dirname(join(folder, place)), { recursive: true });
    await copyFile(join(FIXTURES, fixture), join(folder, place));
  }
}

/** Two classes that a glance tells apart: each with so many links to a picture, so that it costs no room. */
async function classes(counts: Record<string, number>, pictures = ["rgb.png", "wide.png", "tall.png"]): Promise<void> {
  for (const [i, [name, count]] of Object.entries(counts).entries()) {
    await put({ [`${name}/0.png`]: pictures[i % pictures.length]! });
    for (let n = 1; n < count; n++) await link(join(folder, name, "0.png"), join(folder, name, `${n}.png`));
  }
}

const load = (options?: ImageFolderOptions) => imageFolder(folder, { size: 16, ...options });

async function hash(data: Dataset, options: Parameters<Dataset["batches"]>[0]): Promise<string> {
  const hash = createHash("sha256");
  for (const { images, labels, indices } of await collect(data, options)) {
    hash.update(new Uint8Array(images.data.buffer, images.data.byteOffset, images.data.byteLength));
    hash.update(labels).update(indices);
  }
  return hash.digest("hex");
}

test("a folder for each class, in natural order, whatever the formats and the names", async () => {
  await put({
    "class10/a.jpg": "rgb.jpg",
    "class2/b.PNG": "palette_alpha.png",
    "class2/inner/deeper/c.webp": "alpha.webp",
    "猫\nand dogs/d.jpeg": "cmyk.jpg",
    "猫\nand dogs/wrongly named.jpg": "grey16.png",
    "class2/notes.txt": "rgb.png",
    "class2/.hidden.png": "rgb.png",
    ".git/x.png": "rgb.png",
    "readme.md": "rgb.png",
    "cover.jpg": "rgb.jpg",
  });
  const data = await load({ fit: "stretch" });
  expect(data.train.classNames).toEqual(["class2", "class10", "猫\nand dogs"]);
  expect([...data.train.labels]).toEqual([0, 0, 1, 2, 2]);
  expect([data.train.imageShape, data.validation]).toEqual([[3, 16, 16], undefined]);
  expect(data.skipped).toEqual({ hidden: 2, links: 0, others: 3, unreadable: [], emptyClasses: [], untrainedClasses: [], test: 0 });
  const [batch] = await collect(data.train);
  expect(batch!.images.shape).toEqual([5, 3, 16, 16]);
  const chosen = await imageFolder(folder, { size: 8, classNames: ["猫\nand dogs", "class2", "class10", "none yet"] });
  expect([chosen.train.numClasses, ...chosen.train.labels]).toEqual([4, 0, 0, 1, 1, 2]);
});

test.skipIf(process.platform === "win32")("links are passed over, so that there is an end to every walk", async () => {
  await classes({ a: 1, b: 2 });
  await symlink(folder, join(folder, "a", "loop"));
  await symlink(join(folder, "b", "0.png"), join(folder, "a", "link.png"));
  await symlink(join(folder, "a"), join(folder, "c"));
  const { train, skipped } = await load();
  expect([train.length, train.classNames, skipped.links]).toEqual([3, ["a", "b"], 3]);
});

test("training and validation may stand apart", async () => {
  await put({ "train/b/1.png": "rgb.png", "train/a/1.png": "wide.png", "val/b/2.png": "tall.png", "train/x.txt": "rgb.png" });
  const { train, validation, skipped } = await load();
  expect([[...train.labels], [...validation!.labels], skipped.others]).toEqual([[0, 1], [1], 1]);
  expect(validation!.classNames).toEqual(["a", "b"]);
  expect(await rejection(load({ split: 0.5 }))).toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: "split: expected none where pictures for validation stand apart already, got 0.5",
  });
  await put({ "val/c/3.png": "rgb.png" });
  expect(await rejection(load())).toMatchObject({ message: expect.stringMatching(/only classes that there are for training.*got "c"/) });
});

test("what is left out of the parts is counted: a class for validation alone, and a test where there is a validation", async () => {
  await put({ "train/a/1.png": "rgb.png", "train/b/1.png": "wide.png", "val/b/2.png": "tall.png", "val/c/3.png": "rgb.png", "val/d/3.png": "rgb.png" });
  await put({ "test/a/4.png": "rgb.png", "test/b/5.png": "rgb.png", "test/b/notes.txt": "rgb.png" });
  const { train, validation, skipped } = await load({ onError: "skip" });
  expect([train.classNames, [...train.labels], [...validation!.labels]]).toEqual([["a", "b"], [0, 1], [1]]);
  expect(skipped).toMatchObject({ untrainedClasses: ["c", "d"], test: 2 });
  await rm(join(folder, "val"), { recursive: true });
  const tested = await load();
  expect([[...tested.validation!.labels], tested.skipped.test]).toEqual([[0, 1], 0]);
  const list = join(folder, "list.csv");
  const rows = ["train/a/1.png,a,train", "train/b/1.png,b,train", "test/a/4.png,a,test", "test/b/5.png,b,test"];
  await writeFile(list, ["path,label,split", ...rows].join("\n"));
  const listed = await imageFolder(list);
  expect([[...listed.validation!.labels], listed.skipped.test]).toEqual([[0, 1], 0]);
  await writeFile(list, ["path,label,split", ...rows, "train/a/1.png,a,val"].join("\n"));
  const both = await imageFolder(list);
  expect([[...both.validation!.labels], both.skipped.test]).toEqual([[0], 2]);
  await writeFile(list, ["path,label,split", ...rows, "train/a/1.png,a,dev"].join("\n"));
  expect(await rejection(imageFolder(list))).toMatchObject({ message: expect.stringMatching(/list\.csv:6: .*a part named "dev", which is neither train nor validation nor test$/) });
});

test.skipIf(process.platform !== "linux")("a folder whose name is no Unicode is passed over and counted", async () => {
  await classes({ a: 1, b: 1 });
  const odd = Buffer.concat([Buffer.from(join(folder, "odd")), Buffer.from([0xff, 0xfe])]);
  await mkdir(odd);
  await copyFile(join(FIXTURES, "rgb.png"), Buffer.concat([odd, Buffer.from("/1.png")]));
  const { train, skipped } = await load();
  expect([train.classNames, train.length, skipped.others]).toEqual([["a", "b"], 2, 1]);
});

test("where there are no pictures to be found, the files that should have been some are named", async () => {
  await mkdir(join(folder, "a"));
  await mkdir(join(folder, "b"));
  for (const [i, place] of ["a/1.png", "a/2.jpg", "b/3.png", "b/4.webp"].entries()) await writeFile(join(folder, place), i === 1 ? "GIF89a" : "");
  const wrong = /: expected pictures .*, got none, where these are no pictures: \S+1\.png: an empty file, \S+2\.jpg: a GIF, \S+3\.png: an empty file and 1 more$/;
  expect(await rejection(load({ onError: "skip" }))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(wrong) });
  await put({ "a/5.png": "rgb.png" });
  expect(await rejection(load({ onError: "skip" }))).toMatchObject({ message: expect.stringMatching(/at least two classes .* got \["a"\] alone, where these are no pictures: /) });
  await writeFile(join(folder, "list.csv"), "path,label\n");
  expect(await rejection(imageFolder(join(folder, "list.csv")))).toMatchObject({ message: expect.stringMatching(/expected pictures \(JPEG, PNG or WebP\), named by rows with a label each, got none$/) });
});

test("with verify and skip the data sets have none that cannot be read", async () => {
  await classes({ a: 4, b: 4 });
  await put({ "a/cut.jpg": "rgb.jpg", "c/cut.jpg": "rgb.jpg" });
  for (const place of ["a/cut.jpg", "c/cut.jpg"]) await truncate(join(folder, place), 600);
  const { train, skipped } = await load({ onError: "skip", verify: true });
  expect([train.length, train.classNames, skipped.emptyClasses]).toEqual([8, ["a", "b"], ["c"]]);
  expect(skipped.unreadable.map(({ path }) => path)).toEqual(["a/cut.jpg", "c/cut.jpg"].map((place) => join(folder, place)));
});

test("an address is no path, and what helps is said", async () => {
  const message = /^path: expected a path or a file URL, got "?https:.* \(it must be on this machine: download it first\)$/;
  for (const address of ["https://example.com/pictures", new URL("https://example.com/pictures")]) {
    expect(await rejection(imageFolder(address))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) });
  }
});

test("a list of files with labels, as CSV or as lines of JSON", async () => {
  await put({ "x/1.png": "rgb.png", "2\n.jpg": "rgb.jpg", "3.webp": "lossy.webp" });
  const csv = join(folder, "list.csv");
  await writeFile(csv, 'label,path,split\r\n"big, cat",x/1.png,\r\ndog,"2\n.jpg",train\r\ndog,3.webp,val\r\n');
  const { train, validation } = await imageFolder(csv, { size: 8 });
  expect([train.classNames, [...train.labels], [...validation!.labels]]).toEqual([["big, cat", "dog"], [0, 1], [1]]);
  const lines = join(folder, "list.jsonl");
  await writeFile(lines, '{"path":"x/1.png","label":10}\n{"path":"3.webp","label":9}\n');
  const listed = await imageFolder(lines, { size: 8 });
  expect([listed.train.classNames, [...listed.train.labels]]).toEqual([["9", "10"], [0, 1]]);
  await writeFile(csv, "path,label\nx/1.png\n");
  expect(await rejection(imageFolder(csv))).toMatchObject({ code: "ERR_DATA_CORRUPT", message: expect.stringContaining(`${csv}:2: expected`) });
  await writeFile(lines, '{"path":"gone.png","label":1}\n{"path":"3.webp","label":9}\n');
  expect(await rejection(imageFolder(lines))).toMatchObject({ message: expect.stringContaining("gone.png") });
});

test("what is wrong with a list of long names is told in short", async () => {
  const list = join(folder, "list.csv");
  const long = "long\u{1F40D}".repeat(1000);
  await put({ "1.png": "rgb.png" });
  for (const [rows, said] of [
    [`${long},a,train`, / … .*: expected a JPEG/],
    [`1.png,a,${long}`, /:2: .*a part named "long.* … .*", which is neither/],
    [`1.png,${long},train`, /at least two classes .*, got \["long.* … .*"\] alone$/],
    [`1.png,${long},train\n1.png,b,train\n1.png,c${long},val`, /only classes that there are for training, \["b", .* … .*\], got "clong.* … .*"$/],
  ] as const) {
    await writeFile(list, `path,label,split\n${rows}\n`);
    const error = await rejection(imageFolder(list, { size: 8 }));
    expect(error).toMatchObject({ message: expect.stringMatching(said) });
    expect(String(error).length).toBeLessThan(2000);
  }
});

test("what makes no data set is an error that names it", async () => {
  const refused = async (message: string | RegExp, code = "ERR_DATA_NOT_FOUND", options?: ImageFolderOptions) => {
    expect(await rejection(load(options))).toMatchObject({ name: "ResNetError", code, message: expect.stringMatching(message) });
  };
  await refused(/: expected pictures \(JPEG, PNG or WebP\), each class in a folder of its own, got none$/);
  await classes({ only: 2 });
  await refused(/expected at least two classes .*, got \["only"\] alone/);
  await mkdir(join(folder, "empty"));
  await refused(/class "empty" of .*: expected at least one picture/);
  const { skipped } = await (await classes({ other: 1 }), load({ onError: "skip" }));
  expect(skipped.emptyClasses).toEqual(["empty"]);
  await rm(join(folder, "empty"), { recursive: true });
  await writeFile(join(folder, "only", "paper.jpg"), "%PDF-1.7");
  await refused(/paper\.jpg: expected a JPEG, PNG or WebP picture, got a PDF$/, "ERR_DATA_CORRUPT");
  await rm(join(folder, "only", "paper.jpg"));
  await refused(/^classNames: expected only the classes \["only"\], got also "other"$/, "ERR_INVALID_ARGUMENT", { classNames: ["only"] });
  await refused(/^classNames: expected an array of strings, each once, got \["only", "only"\]$/, "ERR_INVALID_ARGUMENT", { classNames: ["only", "only"] });
  await refused(/^normalise.mean: expected a finite number for each of 1 channels, got \[0.485,/, "ERR_INVALID_ARGUMENT", { channels: 1, normalise: "imagenet" });
  await refused(/^fit: expected "pad" or "crop" or "stretch", got "cover"$/, "ERR_INVALID_ARGUMENT", { fit: "cover" as never });
  await refused(/^size: expected /, "ERR_INVALID_ARGUMENT", { size: 0 });
  expect(await rejection(imageFolder(join(folder, "nowhere")))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringContaining("got nothing") });
  expect(await rejection(imageFolder(join(folder, "only", "0.png")))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringContaining("got a file") });
  const reason = new Error("enough");
  expect(await rejection(load({ signal: AbortSignal.abort(reason) }))).toBe(reason);
});

test("files that are damaged or go are named, or left out and counted, also while a network trains", async () => {
  await classes({ a: 6, b: 6 });
  await put({ "a/cut.jpg": "rgb.jpg", "b/gone.png": "rgb.png" });
  await truncate(join(folder, "a", "cut.jpg"), 600);
  await writeFile(join(folder, "b", "empty.png"), "");
  expect(await rejection(load())).toMatchObject({ message: expect.stringContaining("empty.png: expected a JPEG, PNG or WebP picture, got an empty file") });
  const { train, skipped } = await load({ onError: "skip", cache: 0 });
  expect(skipped.unreadable).toEqual([{ path: join(folder, "b", "empty.png"), got: "an empty file" }]);
  await rm(join(folder, "b", "gone.png"));
  using model = new ResNet([[1, 8]], { numClasses: 2 });
  const history = await fit(model, train, { epochs: 2, batchSize: 4, optimizer: sgd({ lr: 0.01 }) });
  expect([train.length, history.rows.length]).toEqual([14, 2]);
  const { count, files } = train.unreadable;
  expect([count, files.map(({ path }) => path).toSorted()]).toEqual([2, [join(folder, "a", "cut.jpg"), join(folder, "b", "gone.png")]]);
  const batches = await collect(train, { batchSize: 14 });
  expect(batches[0]!.labels).toHaveLength(12);

  await rm(join(folder, "b", "empty.png"));
  const strict = await load();
  const failure = await rejection(fit(model, strict.train, { shuffle: false }));
  expect(failure).toMatchObject({ code: "ERR_DATA_CORRUPT", message: expect.stringContaining("cut.jpg: expected a JPEG, PNG or WebP picture, got a JPEG that ends early") });
  expect(await rejection(load({ verify: true }))).toMatchObject({ message: expect.stringContaining("cut.jpg") });
  await rm(join(folder, "a"), { recursive: true });
  expect(await rejection(fit(model, strict.train, { shuffle: false }))).toMatchObject({ code: "ERR_IO", message: expect.stringContaining("cut.jpg") });
});

test("with all pictures gone, training ends with an error", async () => {
  await classes({ a: 2, b: 2 });
  const { train } = await load({ onError: "skip" });
  await rm(join(folder, "a"), { recursive: true });
  await rm(join(folder, "b"), { recursive: true });
  using model = new ResNet([[1, 8]], { numClasses: 2 });
  expect(await rejection(fit(model, train))).toMatchObject({ code: "ERR_DATA_CORRUPT", message: "data.train: expected at least one sample that can be read, got none" });
});

test("a network learns from a folder, and predicts a picture that it is given alone", async () => {
  await classes({ rgb: 20, tall: 20 }, ["rgb.png", "tall.png"]);
  const data = await load({ split: 0.25, normalise: "measured", fit: "stretch" });
  expect([data.train.length, data.validation!.length]).toEqual([30, 10]);
  using model = new ResNet([[1, 16]], { numClasses: 2, seed: 1 });
  const augment = [flip(), randomCrop({ padding: 2 }), colorJitter({ brightness: 0.2 })];
  const history = await fit(model, data, { epochs: 4, batchSize: 10, optimizer: sgd({ lr: 0.05 }), augment });
  expect(history.rows.at(-1)!.validationAccuracy).toBe(1);
  const transform = data.train.transform!;
  for (const [label, name] of ["rgb", "tall"].entries()) {
    const file = join(folder, name, "3.png");
    const image = await preprocess(file, transform);
    const index = data.train.labels.indexOf(label);
    const [batch] = await collect(data.train.subset([index]));
    expect(image).toEqual(batch!.images);
    expect(model.accuracy(await model.predict(image), [label])).toBe(1);
    const twice = await preprocess([await readFile(file), file], JSON.parse(JSON.stringify(transform)));
    expect(twice.shape).toEqual([2, 3, 16, 16]);
    expect(twice.data).toEqual(Float32Array.from([...image.data, ...image.data]));
  }
});

test("a picture that its decoder fails on is told by an error, and by nothing on stderr", async () => {
  await writeFile(join(folder, "palette.png"), pngOfShortPalette());
  const told = "ERR_DATA_CORRUPT: palette.png: expected a JPEG, PNG or WebP picture, got one that its decoder fails on";
  await classes({ a: 1, b: 1 });
  expect(await runIn(folder, [".", "palette.png"], {}, fileURLToPath(new URL("children/preprocess.mjs", import.meta.url)))).toEqual({ code: 0, stdout: told, stderr: "" });
});

test("preprocess refuses what is no picture or transform", async () => {
  await classes({ a: 1, b: 1 });
  const transform = (await load()).train.transform!;
  expect(transform).toEqual({ size: [16, 16], fit: "pad", channels: 3, background: [255, 255, 255] });
  const refused = async (code: string, message: string, ...given: unknown[]) => {
    const made = preprocess(...(given as Parameters<typeof preprocess>));
    expect(await rejection(made)).toMatchObject({ code, message: expect.stringContaining(message) });
  };
  await refused("ERR_IO", "nowhere.png", join(folder, "nowhere.png"), transform);
  await refused("ERR_DATA_CORRUPT", "pictures[1]: expected a JPEG, PNG or WebP picture, got an empty file", [join(folder, "a/0.png"), new Uint8Array()], transform);
  await refused("ERR_INVALID_ARGUMENT", "pictures: expected at least one picture, got []", [], transform);
  await refused("ERR_INVALID_ARGUMENT", "pictures[0]: expected a picture: a path, a file URL, the bytes of a file, or pixels { data, info: { width, height, channels } }, got 3", [3], transform);
  await refused("ERR_INVALID_ARGUMENT", "transform: expected a transform such as data.train.transform, got undefined", join(folder, "a/0.png"), undefined);
  await refused("ERR_INVALID_ARGUMENT", "transform.channels: expected 1 or 3, got 2", join(folder, "a/0.png"), { ...transform, channels: 2 });
});

test("the same seed gives the same batches on any number of threads, with every change and every cache", async () => {
  await classes({ a: 17, b: 9, c: 3 });
  const augment = [
    resizedCrop({ scale: [0.3, 1] }),
    flip({ alternating: true }),
    affine({ degrees: 20, translate: [0.1, 0.1] }),
    colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
    trivialAugment(),
    erasing(),
    mixup(),
    cutmix(),
  ];
  const settings = { batchSize: 4, shuffle: true, seed: 5, epoch: 2, augment };
  const { train } = await load();
  const expected = await hash(train, { ...settings, loaderThreads: 1 });
  for (const loaderThreads of [0, 2, 4]) expect(await hash(train, { ...settings, loaderThreads })).toBe(expected);
  expect(await hash(train, settings)).toBe(expected);
  expect(await hash(train, { ...settings, epoch: 3 })).not.toBe(expected);
  expect(await hash(train, { ...settings, seed: 6 })).not.toBe(expected);
  const fitted = { ...settings, augment: augment.slice(1), sampler: balancedSampler() };
  const cached = await hash(train, fitted);
  for (const cache of [0, 3000, 2 ** 30]) {
    const other = (await load({ cache })).train;
    for (const loaderThreads of [0, 1, 4]) expect(await hash(other, { ...fitted, loaderThreads })).toBe(cached);
  }
});

test("an augmented run is the same to the bit on any number of loader threads", async () => {
  await classes({ a: 12, b: 12 });
  const { train } = await load();
  const run = async (loaderThreads: number) => {
    using model = new ResNet([[1, 8]], { numClasses: 2, seed: 3 });
    const { rows } = await fit(model, train, { epochs: 2, batchSize: 5, augment: [flip(), randomCrop()], loaderThreads });
    return rows.map(({ loss }) => loss);
  };
  const losses = await run(0);
  for (const threads of [1, 3]) expect(await run(threads)).toEqual(losses);
});

test("a mixed batch tells what was mixed, and a step's loss is that of both labels by their shares", async () => {
  await classes({ a: 3, b: 3 });
  const { train } = await load();
  const settings = { batchSize: 6, shuffle: true, loaderThreads: 0 };
  const [plain] = await collect(train, settings);
  const [batch] = await collect(train, { ...settings, augment: [mixup({ alpha: 1 })] });
  const { labels, share } = batch!.mixed!;
  expect([plain!.mixed ?? undefined, [...labels]]).toEqual([undefined, [batch!.labels[5], ...batch!.labels.slice(0, 5)]]);
  const [own, other] = [0, 5].map((index) => plain!.images.data.subarray(index * 768, (index + 1) * 768));
  for (const [i, value] of batch!.images.data.subarray(0, 768).entries()) expect(value).toBeCloseTo(own![i]! * share + other![i]! * (1 - share), 6);
  const loss = async (labels: Numbers, mixed?: Mixed) => {
    using model = new ResNet([[1, 8]], { numClasses: 2, seed: 3 });
    const step = await new Trainer(model).step(batch!.images, labels, mixed && { mixed });
    return step.loss;
  };
  const expected = share * (await loss(batch!.labels)) + (1 - share) * (await loss(labels));
  expect(await loss(batch!.labels, batch!.mixed)).toBeCloseTo(expected, 6);
  using model = new ResNet([[1, 8]], { numClasses: 2, seed: 3 });
  const { rows } = await fit(model, train, { ...settings, seed: 0, augment: [mixup({ alpha: 1 })] });
  expect(rows[0]!.loss).toBeCloseTo(expected, 6);
  const wrong = new Trainer(model).step(batch!.images, batch!.labels, { mixed: { labels, share: 2 } });
  expect(await rejection(wrong)).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining("mixed: expected { labels, share }") });
});

test("weights of classes change the loss of training, and must be there for all", async () => {
  await classes({ a: 6, b: 2 });
  const { train } = await load();
  const run = async (classWeights?: readonly number[]) => {
    using model = new ResNet([[1, 8]], { numClasses: 2, seed: 3 });
    const { rows } = await fit(model, train, { shuffle: false, batchSize: 8, ...(classWeights && { classWeights }) });
    return rows[0]!.loss;
  };
  expect(await run([1, 1])).toBe(await run());
  const [first, second] = [await run([1, 1e-9]), await run([1e-9, 1])];
  expect(await run()).toBeCloseTo((first * 6 + second * 2) / 8, 5);
  expect(await run(train.classWeights())).toBeCloseTo((first + second) / 2, 5);
  for (const weights of [[1], [1, 0], [1, 1, 1]]) {
    expect(await rejection(run(weights))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^classWeights: expected a number of at least 0 for each of the network's 2 classes/) });
  }
});

test("with flips, logits and metrics are means over images and their mirror images", async () => {
  await classes({ a: 3, b: 4 });
  const { train } = await load();
  using model = new ResNet([[1, 8]], { numClasses: 2, seed: 3 });
  const all = async (augment: Augmentation[]) => (await collect(train, { batchSize: 7, augment }))[0]!;
  const [batch, mirrored] = [await all([]), await all([flip({ p: 1 })])];
  const [one, other] = [await model.predict(batch.images), await model.predict(mirrored.images)];
  const both = await model.predict(batch.images, { flips: true, batchSize: 3 });
  for (const [i, value] of both.data.entries()) expect(value).toBeCloseTo((one.data[i]! + other.data[i]!) / 2, 5);
  const { loss, accuracy } = await evaluate(model, train, { flips: true, batchSize: 4 });
  const losses = [...batch.labels].map((label, i) => Math.log(1 + Math.exp(both.data[2 * i + 1 - label]! - both.data[2 * i + label]!)));
  expect(loss).toBeCloseTo(losses.reduce((sum, value) => sum + value) / 7, 5);
  expect(accuracy).toBe(model.accuracy(both, batch.labels));
});

test("memory stays flat over more pictures than there is room for", async () => {
  await classes({ a: 150, b: 150 });
  // In a process of its own: what others have freed would be filled first.
  const grown = async (cache: number) => Number((await runIn(folder, [folder, String(cache)], {}, child)).stdout || Number.NaN);
  // All of them have 59 million bytes.
  expect(await grown(2_000_000)).toBeLessThan(25e6);
  expect(await grown(1e9)).toBeGreaterThan(40e6);
});

test("rare classes can come as often as frequent ones, and their weights tell", async () => {
  await classes({ often: 18, rarely: 2 });
  const { train } = await load({ size: 4 });
  const labels = (await collect(train, { sampler: balancedSampler() })).flatMap((batch) => [...batch.labels]);
  expect([0, 1].map((label) => labels.filter((other) => other === label).length)).toEqual([10, 10]);
  expect(train.classWeights()).toEqual([20 / 36, 5].map((weight) => expect.closeTo(weight, 10)));
  expect(train.classWeights({ power: 0 })).toEqual([1, 1]);
});
