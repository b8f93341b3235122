import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { cifar10, cifar100, fashionMnist, mnist, type ResNetError } from "resnet-native";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CIFAR_10, CIFAR_100, download, FILES, mirror, MNIST } from "../ts/download.js";
import { collect, rejection } from "./pictures.js";

const SAMPLE = new URL("../data/fashion-mnist-sample/", import.meta.url);

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

/** A record of CIFAR: labels, then 3,072 bytes of one value. */
const record = (labels: number[], value: number) => Buffer.concat([Buffer.from(labels), Buffer.alloc(3072, value)]);

/** A tar archive, packed. */
function archive(files: Record<string, Buffer>): Buffer {
  const blocks = Object.entries(files).flatMap(([name, content]) => {
    const header = Buffer.alloc(512);
    header.write(name);
    header.write(content.length.toString(8).padStart(11, "0"), 124);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

const batches = Object.fromEntries([1, 2, 3, 4, 5].map((i) => [`cifar-10-batches-bin/data_batch_${i}.bin`, record([i], i * 10)]));
const CIFAR = archive({ ...batches, "cifar-10-batches-bin/test_batch.bin": record([9], 255) });

test("MNIST is looked for under names of its own, since its files are named as Fashion-MNIST's", async () => {
  const raw = join(folder, "MNIST", "raw");
  await mkdir(raw, { recursive: true });
  for (const { name } of FILES) await copyFile(new URL(`${name}.gz`, SAMPLE), join(raw, `${name}.gz`));
  const { train, validation, source } = await mnist({ root: folder, resize: 14 });
  expect([train.length, validation.length, train.imageShape, source]).toEqual([4096, 1024, [1, 14, 14], raw]);
  expect(train.classNames).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  vi.stubEnv("RESNET_NATIVE_DATA", raw);
  const error = (await rejection(mnist({ download: false }))) as ResNetError;
  expect(error.message).toMatch(/^mnist: expected the files train-images/);
  expect(error.message).not.toMatch(/dataset-fashion-mnist|sample/);
  expect((await fashionMnist({ download: false })).source).toBe(raw);
});

test("CIFAR's archive or its folder is read, wherever it is", async () => {
  await writeFile(join(folder, CIFAR_10.files[0]!.name), CIFAR);
  const inRoot = await cifar10({ root: folder });
  expect([inRoot.train.length, inRoot.validation.length, inRoot.train.imageShape]).toEqual([5, 1, [3, 32, 32]]);
  expect(inRoot.train.classNames![9]).toBe("truck");
  const [batch] = await collect(inRoot.train);
  expect([[...batch!.labels], batch!.images.data[3072]]).toEqual([[1, 2, 3, 4, 5], Math.fround(20 / 255)]);
  vi.stubEnv("RESNET_NATIVE_DATA", folder);
  expect((await cifar10()).source).toBe(join(folder, CIFAR_10.files[0]!.name));
  const inner = join(folder, "cifar-100-binary");
  await mkdir(inner);
  await writeFile(join(inner, "train.bin"), record([1, 7], 3));
  await writeFile(join(inner, "test.bin"), record([2, 8], 3));
  const { train, validation, source } = await cifar100();
  expect([[...train.labels], [...validation.labels], train.numClasses, source]).toEqual([[7], [8], 100, inner]);
  await writeFile(join(inner, "test.bin"), "hello");
  expect(await rejection(cifar100())).toMatchObject({ code: "ERR_DATA_CORRUPT", message: expect.stringContaining("test.bin: expected records of 3074 bytes") });
  const error = (await rejection(cifar10({ root: inner }))) as ResNetError;
  expect(error).toMatchObject({ code: "ERR_DATA_NOT_FOUND" });
  for (const part of [inner, "cifar-10-binary.tar.gz", "cs.toronto.edu", "RESNET_NATIVE_DATA"]) expect(error.message).toContain(part);
});

test("an archive is kept as it was published, and nothing else is", async () => {
  const server = createServer((request, response) => response.end(request.url === "/cifar-10/cifar-10-binary.tar.gz" ? CIFAR : "no"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  vi.stubEnv("RESNET_NATIVE_MIRROR", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const error = (await rejection(cifar10())) as ResNetError;
    expect(error).toMatchObject({ code: "ERR_DATA_NOT_FOUND", cause: { code: "ERR_DATA_CORRUPT", message: expect.stringContaining(CIFAR_10.files[0]!.sha256) } });
    expect(await readdir(join(folder, "cache", "resnet-native", "cifar-10"))).toEqual([]);
    const sha256 = createHash("sha256").update(CIFAR).digest("hex");
    const files = [{ ...CIFAR_10.files[0]!, bytes: CIFAR.length, sha256 }];
    // What a process that was killed left of it.
    await mkdir(join(folder, "to"));
    await writeFile(join(folder, "to", `.${files[0]!.name}.left.tmp`), "half");
    const to = await download(join(folder, "to"), undefined, undefined, files, mirror(CIFAR_10));
    expect(await readdir(to)).toEqual([files[0]!.name]);
    expect(await readFile(join(to, files[0]!.name))).toEqual(CIFAR);
    expect((await cifar10({ root: to })).train.length).toBe(5);
  } finally {
    server.close();
  }
});

test("each set has a place of its own on a mirror", () => {
  vi.stubEnv("RESNET_NATIVE_MIRROR", "http://localhost/sets");
  expect([mirror(), mirror(MNIST), mirror(CIFAR_100)]).toEqual(["http://localhost/sets/", "http://localhost/sets/mnist/", "http://localhost/sets/cifar-100/"]);
});
