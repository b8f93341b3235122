import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { balancedSampler, flip, fromIterable, mixup, preprocess, previewBatch, type Sample } from "resnet-native";
import { expect, test, vi } from "vitest";
import { any, collect, pictures, rejection } from "./pictures.js";

const file = (name: string) => fileURLToPath(new URL(`../crates/resnet-core/tests/fixtures/pictures/${name}`, import.meta.url));

test("pictures from an iterable are those that preprocess makes, and are asked for one after the other", async () => {
  const names = ["rgb.png", "wide.png", "rgb.jpg"];
  const [bytes, events] = [await readFile(file("wide.png")), [] as string[]];
  async function* samples(): AsyncGenerator<Sample> {
    for (const [i, name] of names.entries()) {
      events.push(`asked for ${i}`);
      yield { image: name === "wide.png" ? bytes : file(name), label: i === 1 ? "b" : "a" };
      events.push(`done with ${i}`);
    }
  }
  const data = await fromIterable(samples(), { size: 16, fit: "crop" });
  expect(events).toEqual(["asked for 0", "done with 0", "asked for 1", "done with 1", "asked for 2", "done with 2"]);
  expect([data.classNames, [...data.labels], data.imageShape]).toEqual([["a", "b"], [0, 1, 0], [3, 16, 16]]);
  expect(data.transform).toEqual({ size: [16, 16], fit: "crop", channels: 3, background: [255, 255, 255] });
  const [batch] = await collect(data);
  expect(batch!.images).toEqual(await preprocess(names.map(file), data.transform!));
  const normalise = { mean: [0.5], std: [0.25] };
  const grey = await fromIterable([{ image: bytes, label: 3 }], { size: [8, 9], channels: 1, normalise });
  expect([grey.numClasses, grey.classNames, grey.imageShape, grey.transform!.normalise]).toEqual([4, undefined, [1, 8, 9], normalise]);
  expect((await collect(grey))[0]!.images).toEqual(await preprocess(bytes, grey.transform!));
  const many = await fromIterable(Array.from({ length: 40 }, (_, i) => ({ image: bytes, label: i % 2 })), { size: 4 });
  expect([many.length, many.split().validation.length]).toEqual([40, 8]);
});

test("images that come in several parts of memory are all there", async () => {
  // Of 3 MB each, so that five fill a part.
  const data = await fromIterable(["rgb.png", "wide.png", "tall.png", "rgb.jpg", "grey.png", "rgba.png", "rgb.png"].map((name, label) => ({ image: file(name), label })), { size: 1024 });
  const images = await collect(data, { batchSize: 1 });
  for (const [i, name] of ["rgb.png", "wide.png", "tall.png", "rgb.jpg", "grey.png", "rgba.png", "rgb.png"].entries()) {
    expect(Buffer.compare(Buffer.from(images[i]!.images.data.buffer), Buffer.from((await preprocess(file(name), data.transform!)).data.buffer))).toBe(0);
  }
});

test("more than the process may have is an error, and not the end of it", async () => {
  const image = await readFile(file("rgb.png"));
  let asked = 0;
  function* endless(): Generator<Sample> {
    for (;;) yield { image, label: asked++ % 2 };
  }
  const most = process.memoryUsage.rss() + 150e6;
  const limit = vi.spyOn(process, "constrainedMemory").mockReturnValue(most);
  try {
    const failure = await rejection(fromIterable(endless(), { size: 1024 }));
    expect(failure).toMatchObject({ name: "ResNetError", code: "ERR_OUT_OF_MEMORY", message: expect.stringMatching(/^samples: out of memory: \d+ bytes and a copy of them asked for$/) });
  } finally {
    limit.mockRestore();
  }
  // Of 3 MB each, which are kept twice in the end: it ends before the room is full, of which what was freed before is a part.
  expect(asked).toBeGreaterThan(4);
  expect(2 * asked * 3 * 1024 ** 2).toBeLessThan(most);
});

test("what is no sample is refused by its place, and what the iterable throws comes out", async () => {
  const image = await readFile(file("rgb.png"));
  const refused = async (code: string, message: string, samples: unknown, options?: object) => {
    expect(await rejection(fromIterable(any(samples), any(options)))).toMatchObject({ code, message: expect.stringContaining(message) });
  };
  await refused("ERR_INVALID_ARGUMENT", "samples: expected an iterable or async iterable of { image, label }, got 3", 3);
  await refused("ERR_INVALID_ARGUMENT", "samples: expected at least one sample", []);
  const detached = new Float32Array(2);
  structuredClone(detached, { transfer: [detached.buffer] });
  await refused("ERR_INVALID_ARGUMENT", "samples: expected an iterable or async iterable of { image, label }, got ", detached);
  await refused("ERR_INVALID_ARGUMENT", "samples[0].image: expected a picture: a path, a file URL, the bytes of a file, or pixels { data, info: { width, height, channels } }, got undefined", [{ label: 1 }]);
  await refused("ERR_LABEL", "samples[0].label: expected a name or an integer", [{ image, label: -1 }]);
  await refused("ERR_INVALID_ARGUMENT", "samples[1].label: expected names or numbers, not both", [{ image, label: 1 }, { image, label: "a" }]);
  await refused("ERR_INVALID_ARGUMENT", 'classNames: expected an array of strings, each once, got ["a", "b", "a"]', [], { classNames: ["a", "b", "a"] });
  await refused("ERR_LABEL", 'samples[0].label: expected one of ["a"], got "b"', [{ image, label: "b" }], { classNames: ["a"] });
  await refused("ERR_DATA_CORRUPT", "samples[1]: expected a JPEG, PNG or WebP picture, got an empty file", [{ image, label: 1 }, { image: new Uint8Array(), label: 1 }]);
  await refused("ERR_IO", "nowhere.png", [{ image: "nowhere.png", label: 1 }]);
  const reason = new Error("mine");
  const failing = (function* () {
    yield { image, label: 0 };
    throw reason;
  })();
  expect(await rejection(fromIterable(failing, { size: 4 }))).toBe(reason);
});

test("a preview shows a batch as a step sees it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  const path = join(folder, "batch.png");
  try {
    await previewBatch(pictures(10, { channels: 3, side: 48 }), { path, batchSize: 4, augment: [flip(), mixup()], shuffle: true });
    const png = await readFile(path);
    expect(png.subarray(1, 4).toString()).toBe("PNG");
    // Twice as large, three beside each other, two lines of letters below each and above.
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([3 * 102 + 6, 2 * 126 + 2 * 12 + 12]);
    const missing = join(folder, "no", "batch.png");
    expect(await rejection(previewBatch(pictures(4), { path: missing }))).toMatchObject({ code: "ERR_IO", message: expect.stringContaining(missing) });
    expect(await rejection(previewBatch(pictures(4), any({})))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^path: expected a path/) });
    expect(await rejection(previewBatch(pictures(4, { channels: 2 }), { path }))).toMatchObject({ message: expect.stringContaining("images of 1 or 3 channels, got 2") });
    expect((await stat(path)).size).toBe(png.length);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("an abort ends the wait for a source that gives nothing", async () => {
  const controller = new AbortController();
  let left = false;
  const silent: AsyncIterable<Sample> = {
    [Symbol.asyncIterator]: () => ({
      next: async () => new Promise(() => {}),
      return: async () => {
        left = true;
        return { done: true, value: undefined };
      },
    }),
  };
  const waiting = rejection(fromIterable(silent, { signal: controller.signal }));
  setTimeout(() => controller.abort("enough"), 10);
  expect(await waiting).toBe("enough");
  expect(left).toBe(true);
});

test("labels beyond what can be counted are refused where each class counts", async () => {
  const data = await fromIterable([4e9, 0].map((label) => ({ image: file("rgb.png"), label })), { size: 4 });
  const calls = [() => data.classWeights(), () => data.split(), async () => collect(data, { sampler: balancedSampler() })];
  for (const call of calls) {
    expect(await rejection((async () => call())())).toMatchObject({ code: "ERR_LABEL", message: expect.stringContaining("1048576 classes") });
  }
});

test("detached bytes and revoked proxies are wrong arguments", async () => {
  const transform = { size: [4, 4], fit: "pad", channels: 3, background: [0, 0, 0] } as const;
  const buffer = new ArrayBuffer(8);
  structuredClone(buffer, { transfer: [buffer] });
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  for (const picture of [buffer, proxy]) {
    expect(await rejection(preprocess(any(picture), transform))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    expect(await rejection(fromIterable([any({ image: picture, label: 0 })]))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  }
  expect(await rejection(fromIterable([any(proxy)]))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});
