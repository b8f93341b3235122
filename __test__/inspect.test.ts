import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectFolder } from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rejection } from "./pictures.js";
import { colourFolder, png } from "./png.js";
import { records, runIn } from "./program.js";

/** A folder with a class of 8 pictures and one of 2, of which one is in the other class too, and a file that is none. */
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  const [many, few] = [join(folder, "all/many"), join(folder, "all/few")];
  await colourFolder(join(folder, "all"), ["many"], 7);
  await colourFolder(join(folder, "all"), ["few"], 1);
  await writeFile(join(many, "tall.png"), png(3, 90, () => [1, 2, 3]));
  await copyFile(join(many, "0.png"), join(few, "same.png"));
  await writeFile(join(few, "broken.png"), (await readFile(join(many, "1.png"))).subarray(0, 60));
  await writeFile(join(few, "page.jpg"), "<html>");
  await writeFile(join(few, "notes.txt"), "");
  if (process.platform !== "win32") await symlink(join(many, "1.png"), join(few, "link.png"));
  await colourFolder(join(folder, "good"), ["red", "green"], 20);
});
afterAll(async () => rm(folder, { recursive: true }));

test("a report counts classes and sizes, and names what is alike or no picture", async () => {
  const { classes, pictures, sizes, colours, duplicates, unreadable, skipped } = await inspectFolder(join(folder, "all"));
  expect(classes).toEqual([{ name: "few", pictures: 2 }, { name: "many", pictures: 8 }]);
  expect([pictures, colours]).toEqual([10, { colour: 10 }]);
  expect(sizes).toEqual({ smallest: { height: 90, width: 3 }, median: { height: 16, width: 20 }, largest: { height: 16, width: 20 } });
  const paths = ["all/few/same.png", "all/many/0.png", "all/few/0.png"].map((path) => join(folder, path));
  expect(duplicates).toHaveLength(1);
  expect(duplicates[0]!.classes).toEqual(["few", "many"]);
  expect(duplicates[0]!.paths.toSorted()).toEqual(paths.toSorted());
  const bad = unreadable.map(({ path, got }) => `${path.slice(folder.length + 1)}: ${got}`).toSorted();
  expect(bad).toEqual([expect.stringMatching(/^all\/few\/broken\.png: a damaged one/), "all/few/page.jpg: a web page"]);
  expect(skipped).toMatchObject({ others: 1, links: process.platform === "win32" ? 0 : 1 });
});

test("a report sees what is in one part alone", async () => {
  const place = join(folder, "parts");
  await colourFolder(join(place, "train"), ["a", "b"], 2);
  await colourFolder(join(place, "val"), ["b", "c"], 1);
  const { classes, skipped } = await inspectFolder(place);
  expect(classes).toEqual([{ name: "a", pictures: 2, validation: 0 }, { name: "b", pictures: 3, validation: 1 }]);
  expect(skipped.untrainedClasses).toEqual(["c"]);
  const { stdout } = await runIn(folder, ["dataset", "parts"]);
  expect(stdout).toMatch(/\nclass {2}pictures {2}for validation\n─+ {2}─+ {2}─+\na +2 +0\nb +3 +1\n/);
  expect(stdout).toContain("\nclasses for validation alone, without pictures to train on: c\nclasses without pictures for validation: a\n");
  expect(stdout).toMatch(/\nTo train on it: .* --skip-unreadable\n$/);
});

test("a class with one picture is told, and a folder without any names its files", async () => {
  await colourFolder(join(folder, "lonely"), ["pair"], 2);
  await colourFolder(join(folder, "lonely"), ["alone"], 1);
  const { stdout } = await runIn(folder, ["dataset", "lonely"]);
  expect(stdout).toContain("\nfewer than 20 pictures: pair\na single picture, which can be trained on or measured with, not both: alone\n");
  for (const name of ["a", "b"]) {
    await mkdir(join(folder, "broken", name), { recursive: true });
    await writeFile(join(folder, "broken", name, "1.png"), "");
  }
  const { code, stderr } = await runIn(folder, ["dataset", "broken"]);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: broken: expected pictures .* got none, where these are no pictures: broken\/a\/1\.png: an empty file, broken\/b\/1\.png: an empty file/)]);
});

test("what is no folder, and an abort, end it", async () => {
  expect(await rejection(inspectFolder(join(folder, "nowhere")))).toMatchObject({ code: "ERR_DATA_NOT_FOUND" });
  expect(await rejection(inspectFolder(join(folder, "all"), { signal: AbortSignal.abort("enough") }))).toBe("enough");
});

test("the command tells what is wrong, and what to type next", async () => {
  const { code, stdout, stderr } = await runIn(folder, ["dataset", "all"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^all: 10 pictures in 2 classes\n\nclass {2}pictures\n─+ {2}─+\nfew +2\nmany +8\n\nsizes +3x90 to 20x16/);
  for (const words of ["2 are no pictures", "page.jpg: a web page", "1 is there more than once", "\n1 of them is in different classes", "fewer than 20 pictures: few, many"]) {
    expect(stdout).toContain(words);
  }
  expect(stdout).toMatch(/\nTo train on it: npx resnet-native train all --skip-unreadable\n$/);
  const good = await runIn(folder, ["dataset", "good"]);
  expect(good.stdout).toMatch(/\n\nnothing is wrong with it\n\nTo train on it: npx resnet-native train good\n$/);
  const [report] = records((await runIn(folder, ["dataset", "all", "--json"])).stdout);
  expect(report).toMatchObject({ pictures: 10, colours: { colour: 10 } });
  expect(await runIn(folder, ["dataset", "nowhere"])).toMatchObject({ code: 1, stderr: expect.stringContaining("nowhere") });
});
