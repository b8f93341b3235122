import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "puppeteer-core";
import { evaluate, fit, flip, fromArrays, type History, report, ResNet, sgd } from "resnet-native";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { SECTIONS } from "../ts/report/sections.js";
import { audit, browserHere, opened as openedAt, told, NO_CHROMIUM } from "./chromium.js";
import { collect, pictures } from "./pictures.js";

/** What a page must not make of names. */
const NAMES = [`<script>window.broken=1</script>`, `"><img src=x onerror="window.broken=1">`, "' style='display:none", "a class with a name of a good many words, and an unusuallylongoneatitsend"];

let [folder, address]: string[] = [];
let browser: Browser | undefined;
let history: History;
let accuracy: number;
beforeAll(async () => {
  browser = await browserHere();
  if (browser === undefined) {
    process.stderr.write(`Not tested in a browser: ${NO_CHROMIUM}\n`);
    return;
  }
  folder = await mkdtemp(join(tmpdir(), "resnet-native-browser-"));
  const { images } = (await collect(pictures(96), { batchSize: 96 }))[0]!;
  const labels = Array.from({ length: 96 }, (_, i) => i % 4);
  const data = fromArrays({ images: Float32Array.from(images.data), shape: images.shape, labels, classNames: NAMES });
  using model = new ResNet([[1, 8]], { numClasses: 4, seed: 2 });
  history = await fit(model, { train: data, validation: data }, { epochs: 6, batchSize: 32, optimizer: sgd({ lr: 0.001 }), augment: [flip()] });
  ({ accuracy } = await evaluate(model, data));
  const file = join(folder, "report.html");
  await report(model, history, { train: data, validation: data }, { file, title: NAMES[1]! });
  address = pathToFileURL(file).href;
});
afterAll(async () => {
  await browser?.close();
  if (folder !== undefined) await rm(folder, { recursive: true });
});
beforeEach(({ skip }) => {
  skip(browser === undefined, NO_CHROMIUM);
});

/** Opens the report, does something there, and fails for whatever the page complained of or asked for. */
async function opened<T>(width: number, scheme: "light" | "dark", does: (page: Page) => Promise<T>, isScripted = true): Promise<T> {
  return openedAt(browser!, address!, width, scheme, does, isScripted);
}

test.each([[1280, "light"], [1280, "dark"], [390, "light"], [1600, "light"]] as const)(
  "at %i pixels, %s: every section, nothing beyond the edge, accessible, and no name is more than text",
  async (width, scheme) => {
    await opened(width, scheme, async (page) => {
      expect(await told(page, `[...document.querySelectorAll("main > section")].map(({ id }) => id)`)).toEqual(SECTIONS.map(({ id }) => id));
      expect(await told(page, `[innerWidth, document.documentElement.scrollWidth]`)).toEqual([width, width]);
      expect(await told(page, `[typeof window.broken, document.scripts.length, document.querySelectorAll("[onerror], [style^=display]").length]`)).toEqual(["undefined", 1, 0]);
      expect(await told(page, `[document.title, document.querySelector("h1").textContent]`)).toEqual([NAMES[1], NAMES[1]]);
      expect(await told(page, `[...document.querySelectorAll("img")].filter((image) => !(image.complete && image.naturalWidth > 0)).length`)).toBe(0);
      await told(page, `document.querySelectorAll("details").forEach((details) => (details.open = true))`);
      expect(await audit(page)).toEqual([]);
    });
  },
);

test("on a narrow page what is said of a table is in view, however wide the table is", async () => {
  using many = new ResNet([[1, 8]], { numClasses: 24, inChannels: 1 });
  const names = Array.from({ length: 24 }, (_, i) => `a class of a rather long name ${i}`);
  const images = new Uint8Array(24 * 64).map((_, i) => (i * 37) % 256);
  const wide = fromArrays({ images, shape: [24, 1, 8, 8], labels: names.map((_, i) => i), classNames: names });
  const file = join(folder!, "wide.html");
  await report(many, undefined, wide, { file, mistakes: 0 });
  for (const at of [address!, pathToFileURL(file).href]) {
    await openedAt(browser!, at, 360, "light", async (page) => {
      const ends = `[...document.querySelectorAll("main figcaption, main caption")].flatMap((caption) => { const range = document.createRange(); range.selectNodeContents(caption); return [...range.getClientRects()].map(({ right }) => right); })`;
      const all = await told<number[]>(page, ends);
      expect(all.length).toBeGreaterThan(2);
      expect(Math.max(...all)).toBeLessThanOrEqual(360);
    });
  }
});

test("its numbers are the history's and the evaluation's", async () => {
  await opened(1280, "light", async (page) => {
    const numbers = await told(page, `[...document.querySelectorAll(".numbers tbody tr")].map((row) => [Number(row.cells[0].textContent), ...[...row.querySelectorAll("data")].map(({ value }) => Number(value))])`);
    expect(numbers).toEqual(history.rows.map(({ epoch, loss, accuracy, validationLoss, validationAccuracy, lr, seconds }) => [epoch, loss, accuracy, validationLoss, validationAccuracy, lr, seconds]));
    expect(await told(page, `document.querySelector(".headline dd").textContent`)).toBe(`${(accuracy * 100).toFixed(2)}\u00a0%`);
  });
});

test("epochs are gone through and columns sorted by keys and by pointing", async () => {
  await opened(1280, "light", async (page) => {
    const output = async () => told<string>(page, `document.querySelector("output").textContent`);
    const at = (epoch: number) => expect.stringMatching(new RegExp(`^Epoch ${epoch}: training ${history.rows[epoch - 1]!.loss.toFixed(4)}, validation ${history.rows[epoch - 1]!.validationLoss!.toFixed(4)}$`));
    expect(await output()).toEqual(at(6));
    await page.focus("input[type=range]");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    expect(await output()).toEqual(at(4));
    expect(await told(page, `document.activeElement.getAttribute("aria-valuetext")`)).toBe(await output());
    await page.hover("svg.wide .place:nth-of-type(2)");
    expect(await output()).toEqual(at(2));
    const column = async (n: number) => (await told<string[]>(page, `[...document.querySelectorAll(".sortable tbody tr")].map((row) => row.cells[${n}].textContent)`)).map(Number);
    const before = await column(3);
    await page.focus(".sortable th:nth-child(4) button");
    await page.keyboard.press("Enter");
    expect(await column(3)).toEqual(before.toSorted((a, b) => b - a));
    await page.keyboard.press("Enter");
    expect(await column(3)).toEqual(before.toSorted((a, b) => a - b));
    expect(await told(page, `document.querySelector(".sortable th:nth-child(4)").getAttribute("aria-sort")`)).toBe("ascending");
  });
});

test("the tab key reaches all there is to do, and what it reaches is seen to be", async () => {
  await opened(1280, "light", async (page) => {
    const reached: string[] = [];
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      const [what, outline] = await told<[string, string]>(page, `(({ tagName, className, parentElement }) => [tagName + "." + (className || parentElement.tagName), getComputedStyle(document.activeElement).outlineStyle])(document.activeElement)`);
      if (what.startsWith("BODY")) break;
      expect([what, outline]).toEqual([what, "solid"]);
      reached.push(what);
    }
    expect(reached[0]).toBe("A.skip");
    const count = (what: string) => reached.filter((one) => one === what).length;
    expect([count("A.LI"), count("INPUT.LABEL"), count("BUTTON.TH"), count("SUMMARY.DETAILS")]).toEqual([SECTIONS.length, 3, 5, 2 + 1]);
  });
});

test("without scripts the curves are there, and on paper all that can be folded", async () => {
  await opened(1280, "dark", async (page) => {
    const drawn = await told(page, `[...document.querySelectorAll("figure.chart")].map((figure) => figure.querySelectorAll("svg.wide .curve").length)`);
    expect(drawn).toEqual([2, 2, 1]);
    expect(await page.$("output")).toBeNull();
    await page.emulateMediaType("print");
    expect(await told(page, `getComputedStyle(document.body).backgroundColor`)).toBe("rgb(255, 255, 255)");
    expect(await told(page, `document.querySelector("details table").checkVisibility()`)).toBe(true);
  }, false);
});
