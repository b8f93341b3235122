import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import type { AddressInfo } from "node:net";
import os, { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { gunzipSync, gzipSync } from "node:zlib";
import { fashionMnist, fromArrays, type ResNetError } from "resnet-native";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cacheFolder, download, type DownloadProgress, FILES as PUBLISHED, type File } from "../ts/download.js";
import { collect, rejection } from "./pictures.js";

const SAMPLE = new URL("../data/fashion-mnist-sample/", import.meta.url);
const FILES = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

/** Where Debian's package is installed nothing is ever downloaded. */
const hasSystemSet = await stat("/usr/share/datasets/fashion-mnist").then(
  () => true,
  () => false,
);

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
    indices: new Uint32Array([0, 1]),
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

test("who has no home has no cache, and the other places are looked at", async () => {
  vi.stubEnv("XDG_CACHE_HOME", undefined);
  const homedir = vi.spyOn(os, "homedir").mockImplementation(() => {
    throw new Error("A system error occurred: uv_os_homedir returned ENOENT");
  });
  // Who imports it by name gets it too.
  syncBuiltinESMExports();
  try {
    expect(cacheFolder()).toBeUndefined();
    if (!hasSystemSet) expect(await rejection(fashionMnist())).toMatchObject({ message: expect.stringContaining("no home folder") });
    vi.stubEnv("RESNET_NATIVE_DATA", await copySample(join(folder, "set")));
    expect((await fashionMnist()).source).toBe(join(folder, "set"));
  } finally {
    homedir.mockRestore();
    syncBuiltinESMExports();
  }
});

test.skipIf(process.platform === "win32")("a cache is in no folder that is relative", () => {
  vi.stubEnv("HOME", "/home/somebody");
  vi.stubEnv("XDG_CACHE_HOME", undefined);
  const usual = cacheFolder();
  vi.stubEnv("XDG_CACHE_HOME", "cache");
  expect(cacheFolder()).toBe(usual);
  expect(usual).toMatch(/^\/home\/somebody\/.*fashion-mnist$/);
  for (const home of ["", "home"]) {
    vi.stubEnv("HOME", home);
    expect(cacheFolder()).toBeUndefined();
  }
});

test("a place with a folder or other names for the files is passed over, and what is wrong with it is told", async () => {
  const [name] = FILES;
  const [place, good] = [join(folder, "set"), await copySample(join(folder, "set", "fashion-mnist"))];
  await copySample(place);
  await rm(join(place, `${name}.gz`));
  const told = async () => {
    await rm(good, { recursive: true, force: true });
    return ((await rejection(fashionMnist({ root: place }))) as ResNetError).message;
  };
  await mkdir(join(place, name!));
  expect((await fashionMnist({ root: place })).source).toBe(good);
  expect(await told()).toContain(`${place} (its ${name} is a folder, not a file)\n`);
  await rm(join(place, name!), { recursive: true });
  expect(await told()).toContain(`${place} (it lacks ${name})\n`);
  await writeFile(join(place, "train-images.idx3-ubyte"), "");
  expect(await told()).toContain(`${place} (it has train-images.idx3-ubyte: the name must be ${name})\n`);
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

async function serve(answer: (url: string) => Buffer | undefined, headers = {}): Promise<Server> {
  const server = createServer((request, response) => {
    const body = answer(request.url!);
    response.writeHead(body ? 200 : 404, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  vi.stubEnv("RESNET_NATIVE_MIRROR", `http://127.0.0.1:${(server.address() as AddressInfo).port}/set`);
  return server;
}

test("a download comes to the folder only when it is the published file", async () => {
  const server = await serve((url) => (url === "/set/train-images-idx3-ubyte.gz" ? Buffer.alloc(1000) : undefined));
  try {
    expect(await rejection(download(folder, undefined, undefined))).toMatchObject({
      message: expect.stringMatching(/train-images-idx3-ubyte: expected 47040016 bytes .*, got 1000 bytes/),
    });
    const reason = new Error("enough");
    expect(await rejection(download(folder, AbortSignal.abort(reason), undefined))).toBe(reason);
    expect(await readdir(folder)).toEqual([]);
  } finally {
    server.close();
  }
});

/** The sample's files as if they were published, with their unpacked bytes. */
async function published(): Promise<(File & { packed: Buffer; plain: Buffer })[]> {
  const files = FILES.map(async (name) => {
    const packed = await readFile(new URL(`${name}.gz`, SAMPLE));
    const plain = gunzipSync(packed);
    return { name, packed, plain, bytes: plain.length, sha256: createHash("sha256").update(plain).digest("hex") };
  });
  return Promise.all(files);
}

test("any honest copy may be downloaded, also one that is packed otherwise or unpacked on its way", async () => {
  const files = await published();
  const ways: [string, (file: { packed: Buffer; plain: Buffer }) => Buffer, object?][] = [
    ["as published", ({ packed }) => packed],
    ["packed once more", ({ plain }) => gzipSync(plain, { level: 1 })],
    ["not packed at all", ({ plain }) => plain],
    ["said to be encoded", ({ packed }) => packed, { "Content-Encoding": "gzip" }],
    ["encoded twice", ({ packed }) => gzipSync(packed), { "Content-Encoding": "gzip" }],
  ];
  for (const [way, body, headers] of ways) {
    const server = await serve((url) => body(files.find(({ name }) => url === `/set/${name}.gz`)!), headers);
    const seen: DownloadProgress[] = [];
    try {
      const to = await download(join(folder, way), undefined, (progress) => seen.push(progress), files);
      expect((await readdir(to)).toSorted(), way).toEqual(FILES.toSorted());
      expect((await fashionMnist({ root: to })).train.length).toBe(4096);
      const ends = seen.filter(({ received, total }) => received === total);
      expect(ends.map(({ file }) => file), way).toEqual(FILES.map((name) => `${name}.gz`));
    } finally {
      server.close();
    }
  }
});

test("a download with other bytes inside is refused, packed or not", async () => {
  const [file] = await published();
  const other = Buffer.from(file!.plain).fill(1, 100, 101);
  const bodies = [other, gzipSync(other), file!.packed.subarray(0, -9), gzipSync(Buffer.alloc(file!.bytes * 2))];
  for (const body of bodies) {
    const server = await serve(() => body);
    try {
      const error = (await rejection(download(folder, undefined, undefined, [file!]))) as ResNetError;
      expect(error).toMatchObject({ code: "ERR_DATA_CORRUPT", message: expect.stringContaining(file!.sha256) });
    } finally {
      server.close();
    }
  }
  expect(await readdir(folder)).toEqual([]);
});

test("downloads into one folder at the same time do not meet, and what is there is not downloaded again", async () => {
  const files = await published();
  let asked = 0;
  const server = await serve((url) => {
    asked++;
    return files.find(({ name }) => url === `/set/${name}.gz`)!.packed;
  });
  try {
    const to = [1, 2, 3, 4].map(async () => download(folder, undefined, undefined, files));
    expect(await Promise.all(to)).toEqual([folder, folder, folder, folder]);
    expect((await readdir(folder)).toSorted()).toEqual(FILES.toSorted());
    asked = 0;
    await rm(join(folder, FILES[3]!));
    await download(folder, undefined, undefined, files);
    expect(asked).toBe(1);
  } finally {
    server.close();
  }
});

test.skipIf(!hasSystemSet)("the published files have these bytes inside", async () => {
  for (const { name, bytes, sha256 } of PUBLISHED) {
    const plain = gunzipSync(await readFile(`/usr/share/datasets/fashion-mnist/${name}.gz`));
    expect([name, plain.length, createHash("sha256").update(plain).digest("hex")]).toEqual([name, bytes, sha256]);
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
