import { readdir } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

const shown: string[] = [];
beforeEach(() => {
  shown.length = 0;
  vi.spyOn(console, "log").mockImplementation((...values: unknown[]) => void shown.push(values.map(String).join(" ")));
});
afterEach(() => vi.restoreAllMocks());

const expected: Record<string, RegExp> = {
  "train.ts": /stem[^]*epoch 2: validation accuracy 0\.\d+[^]*accuracy of a batch: \d/,
  "own-loop.ts": /epoch 1: loss 2\.\d+, gradient norm \d[^]*epoch 2: loss 1\.\d+/,
  "blocks.ts": /^4,3,6,6\n4,6,3,3\n[^]*downsample/,
  "save-load.ts": /^2,2 \d/,
};

test("each example has its expectation", async () => {
  expect(await readdir(new URL("../examples", import.meta.url))).toEqual(Object.keys(expected).toSorted());
});

test.each(Object.entries(expected))("%s runs", async (name, output) => {
  await import(new URL(`../examples/${name}`, import.meta.url).href);
  expect(shown.join("\n")).toMatch(output);
});
