import { readdir, readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Dataset, ResNetError } from "resnet-native";
import { beforeAll, describe, expect, test } from "vitest";
import { collect, pictures, rejection } from "./pictures.js";

test("batches come in order, or in the seed's order; the last may be left out", async () => {
  const data = pictures(10, { classes: 10, side: 2 });
  const labels = async (options: Parameters<Dataset["batches"]>[0]) => {
    return (await collect(data, { batchSize: 4, ...options })).map((batch) => [...batch.labels]);
  };
  expect(await labels({})).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ]);
  expect(await labels({ dropLast: true })).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
  ]);
  const shuffled = await labels({ shuffle: true, seed: 3 });
  expect(shuffled).toEqual(await labels({ shuffle: true, seed: 3 }));
  expect(shuffled).not.toEqual(await labels({ shuffle: true, seed: 4 }));
  expect(shuffled.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

describe.skipIf(process.platform !== "linux")("the thread of a pass", () => {
  /** The names of this process's threads, but for Node's own and those of tests before. */
  const threads = async () => {
    const tasks = (await readdir("/proc/self/task")).filter((task) => !before.has(task));
    // A thread may end while its name is asked for.
    const names = tasks.map((task) => readFile(`/proc/self/task/${task}/comm`, "utf8").catch(() => ""));
    return (await Promise.all(names)).map((name) => name.trim()).filter((name) => name.startsWith("resnet-"));
  };
  let before: ReadonlySet<string>;
  beforeAll(async () => {
    before = new Set(await readdir("/proc/self/task"));
  });
  const ended = async () => expect.poll(threads).toEqual([]);
  const data = pictures(400, { side: 8 });
  const pass = () => data.batches({ batchSize: 4, shuffle: true });

  test("starts with the first batch, prepares all of them, and ends behind the last", async () => {
    await ended();
    const batches = pass();
    await setTimeout(50);
    expect(await threads()).toEqual([]);
    for (let step = 0; step < 10; step++) {
      await batches.next();
      expect(await threads()).toEqual(["resnet-loader"]);
    }
    for await (const { labels } of batches) expect(labels).toHaveLength(4);
    await ended();
    expect(await batches.next()).toEqual({ done: true, value: undefined });
  });

  test("ends when the iteration is left: by break, by an error, by return", async () => {
    for await (const batch of pass()) if (batch) break;
    await ended();
    const failing = (async () => {
      for await (const batch of pass()) throw new Error(`${batch.labels.length} labels`);
    })();
    expect(await rejection(failing)).toMatchObject({ message: "4 labels" });
    await ended();
    const [unused, asked] = [pass(), pass()];
    await Promise.all([unused.return(), asked.next(), asked.return()]);
    await ended();
  });

  test("is no longer there after many passes that were left, or forgotten", async () => {
    for (let i = 0; i < 100; i++) for await (const batch of pass()) if (batch) break;
    await ended();
    const forgotten = Array.from({ length: 20 }, pass);
    await Promise.all(forgotten.map(async (batches) => batches.next()));
    expect(await threads()).toHaveLength(20);
    forgotten.length = 0;
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    const left = async () => {
      collect();
      await setTimeout(10);
      return threads();
    };
    await expect.poll(left).toEqual([]);
  });
});

test("a pass that was left gives no more; what was asked for before still comes", async () => {
  const batches = pictures(100, { side: 8 }).batches({ batchSize: 4 });
  const asked = Array.from({ length: 3 }, async () => batches.next());
  await batches.return();
  for (const { value, done } of await Promise.all(asked)) expect([value!.labels.length, done]).toEqual([4, false]);
  expect(await batches.next()).toEqual({ done: true, value: undefined });
});

test("take keeps the first samples", async () => {
  const data = pictures(10, { classes: 10, side: 2 });
  expect((await collect(data.take(3)))[0]!.labels).toEqual(new Uint32Array([0, 1, 2]));
  expect(data.take(99).length).toBe(10);
  expect(() => data.take(0)).toThrow(ResNetError);
});
