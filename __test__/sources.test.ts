import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { gunzipSync, gzipSync } from "node:zlib";
import { fashionMnist, fromArrays, type ResNetError } from "resnet-native";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { download } from "../ts/download.js";
import { collect, rejection } from "./pictures.js";

const SAMPLE = new URL("../data/fashion-mnist-sample/", import.meta.url);
const FILES = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  vi.stubEnv("RESNET_NATIVE_DATA", undefined);
  vi.stubEnv("XDG_CACHE_HOME", join(folder, "cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function copySample(to: string): Promise<string> {
  await mkdir(to, { recursive: true });
  await Promise.all(FILES.map((name) => copyFile(new URL(`${name}.gz`, SAMPLE), join(to, `${name}.gz`))));
  return to;
}

test("arrays become batches of floats; bytes are divided by 255", async () => {
  const data = fromArrays({
    images: [0, 51, 102, 153, 204, 255],
    shape: [3, 1, 1, 2],
    labels: [2, 0, 1],
    classNames: ["a", "b", "c"],
  });
  expect([data.length, data.imageShape, data.numClasses, data.classNames]).toEqual([3, [1, 1, 2], 3, ["a", "b", "c"]]);
  const [first, last] = await collect(data, { batchSize: 2 });
  expect(first).toEqual({
    images: { data: new Float32Array([0, 51, 102, 153]), shape: [2, 1, 1, 2] },
    labels: new Uint32Array([2, 0]),
  });
  expect(last!.labels).toEqual(new Uint32Array([1]));
  const bytes = fromArrays({
    images: Buffer.from([0, 51, 102, 255]),
    shape: [2, 1, 1, 2],
    labels: new Uint8Array([0, 1]),
  });
  const [batch] = await collect(bytes);
  expect(batch!.images.data).toEqual(Float32Array.from([0, 0.2, 0.4, 1]));
  expect(inspect(bytes)).toBe("Dataset(2 images of 1×1×2, 2 classes)");
});

test("arrays are copied", async () => {
  const images = new Float32Array([1, 2]);
  const data = fromArrays({ images, shape: [2, 1, 1, 1], labels: [0, 1] });
  images.fill(9);
  expect((await collect(data))[0]!.images.data).toEqual(new Float32Array([1, 2]));
});

test.each([
  [
    "no images",
    { images: [], shape: [0, 1, 1, 1], labels: [] },
    "ERR_INVALID_ARGUMENT",
    /shape: expected .*, got \[0, 1, 1, 1\]/,
  ],
  [
    "too few values",
    { images: [1, 2, 3], shape: [2, 1, 1, 2], labels: [0, 1] },
    "ERR_SHAPE",
    /images: .*\[2, 1, 1, 2\].*got 3/,
  ],
  [
    "a wrong rank",
    { images: [1, 2], shape: [2, 1], labels: [0, 1] },
    "ERR_SHAPE",
    /shape: expected .*\(N, C, H, W\), got \[2, 1\]/,
  ],
  ["too few labels", { images: [1, 2], shape: [2, 1, 1, 1], labels: [0] }, "ERR_SHAPE", /labels: .*2 images, got 1/],
  [
    "a label that is no class",
    { images: [1, 2], shape: [2, 1, 1, 1], labels: [0, 2], classNames: ["a", "b"] },
    "ERR_LABEL",
    /labels\[1\].*got 2/,
  ],
  [
    "no names of classes",
    { images: [1], shape: [1, 1, 1, 1], labels: [0], classNames: [] },
    "ERR_INVALID_ARGUMENT",
    /^classNames: expected at least one name, got none$/,
  ],
  ["a negative label", { images: [1, 2], shape: [2, 1, 1, 1], labels: [0, -1] }, "ERR_LABEL", /labels\[1\].*got -1/],
  [
    "an unknown option",
    { images: [1], shape: [1, 1, 1, 1], labels: [0], classnames: ["a"] },
    "ERR_INVALID_ARGUMENT",
    /did you mean classNames/,
  ],
  [
    "strings",
    { images: ["1"], shape: [1, 1, 1, 1], labels: [0] },
    "ERR_INVALID_ARGUMENT",
    /images: expected .*numbers, got \["1"\]/,
  ],
])("arrays with %s are refused", (_, arrays, code, message) => {
  expect(() => fromArrays(arrays as Parameters<typeof fromArrays>[0])).toThrow(
    expect.objectContaining({ name: "ResNetError", code, message: expect.stringMatching(message) }),
  );
});

test("the sample is there without any other file, in the size asked for", async () => {
  const { train, validation, source } = await fashionMnist({ source: "sample", resize: 32 });
  expect([train.length, validation.length, train.imageShape, source]).toEqual([4096, 1024, [1, 32, 32], "sample"]);
  expect(train.classNames).toHaveLength(10);
  const float = await fashionMnist({ source: "sample", resize: [32, 40], interpolation: "float" });
  expect(float.train.imageShape).toEqual([1, 32, 40]);
});

test("the full set is looked for in root, below it, and where the environment says", async () => {
  const raw = await copySample(join(folder, "a", "FashionMNIST", "raw"));
  const inRoot = await fashionMnist({ root: join(folder, "a") });
  expect([inRoot.source, inRoot.train.length]).toEqual([raw, 4096]);
  const below = await copySample(join(folder, "b", "fashion-mnist"));
  vi.stubEnv("RESNET_NATIVE_DATA", join(folder, "b"));
  expect((await fashionMnist()).source).toBe(below);
});

test("unpacked files do as well, and the cache is looked at", async () => {
  const cache = join(folder, "cache", "resnet-native", "fashion-mnist");
  await mkdir(cache, { recursive: true });
  for (const name of FILES)
    await writeFile(join(cache, name), gunzipSync(await readFile(new URL(`${name}.gz`, SAMPLE))));
  expect((await fashionMnist()).source).toBe(cache);
});

test("a root that lacks files is an error that names each place and way", async () => {
  const error = (await rejection(fashionMnist({ root: folder }))) as ResNetError;
  expect(error).toMatchObject({ name: "ResNetError", code: "ERR_DATA_NOT_FOUND" });
  for (const part of [
    folder,
    join(folder, "fashion-mnist"),
    "dataset-fashion-mnist",
    "http",
    "RESNET_NATIVE_DATA",
    "sample",
  ]) {
    expect(error.message).toContain(part);
  }
});

test("damaged files are refused by name", async () => {
  const root = await copySample(join(folder, "damaged"));
  const name = "train-images-idx3-ubyte.gz";
  const path = join(root, name);
  const whole = await readFile(path);
  const damages: Record<string, () => Promise<void>> = {
    truncated: () => truncate(path, 1000),
    "not gzip": () => writeFile(path, "hello, hello, hello"),
    oversized: () => writeFile(path, gzipSync(Buffer.concat([gunzipSync(whole), Buffer.from("tail")]))),
    "wrong kind": () => copyFile(join(root, "train-labels-idx1-ubyte.gz"), path),
  };
  for (const [damage, inflict] of Object.entries(damages)) {
    await inflict();
    const error = (await rejection(fashionMnist({ root }))) as ResNetError;
    expect(error, damage).toMatchObject({ name: "ResNetError", code: "ERR_DATA_CORRUPT" });
    expect(error.message, damage).toContain(name);
  }
});

async function serve(answer: (url: string) => Buffer | undefined): Promise<Server> {
  const server = createServer((request, response) => {
    const body = answer(request.url!);
    response.writeHead(body ? 200 : 404).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  vi.stubEnv("RESNET_NATIVE_MIRROR", `http://127.0.0.1:${(server.address() as AddressInfo).port}/set`);
  return server;
}

/** Where Debian's package is installed nothing is ever downloaded. */
const hasSystemSet = await stat("/usr/share/datasets/fashion-mnist").then(
  () => true,
  () => false,
);

test("a download comes to the folder only when it is the published file", async () => {
  const server = await serve((url) => (url === "/set/train-images-idx3-ubyte.gz" ? Buffer.alloc(1000) : undefined));
  try {
    expect(await rejection(download(folder, undefined, undefined))).toMatchObject({
      message: expect.stringMatching(/train-images-idx3-ubyte.gz: expected 26421880 bytes, got 1000/),
    });
    const reason = new Error("enough");
    expect(await rejection(download(folder, AbortSignal.abort(reason), undefined))).toBe(reason);
    expect(await readdir(folder)).toEqual([]);
  } finally {
    server.close();
  }
});

test.skipIf(hasSystemSet)("a download that is not the published file leaves nothing behind", async () => {
  const cache = join(folder, "cache", "resnet-native", "fashion-mnist");
  const server = await serve(() => Buffer.alloc(26_421_880));
  const seen: number[] = [];
  try {
    const error = (await rejection(fashionMnist({ onProgress: ({ received }) => seen.push(received) }))) as ResNetError;
    expect(error).toMatchObject({ code: "ERR_DATA_NOT_FOUND", cause: { code: "ERR_DATA_CORRUPT" } });
    expect(error.message).toContain("127.0.0.1");
    expect(seen.at(-1)).toBe(26_421_880);
    expect(await rejection(stat(join(cache, "train-images-idx3-ubyte.gz")))).toMatchObject({ code: "ENOENT" });
  } finally {
    server.close();
  }
});

test("an aborted load rejects with the reason", async () => {
  const reason = new Error("enough");
  expect(await rejection(fashionMnist({ source: "sample", signal: AbortSignal.abort(reason) }))).toBe(reason);
});
