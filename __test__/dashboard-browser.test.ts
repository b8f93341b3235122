import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { Browser, Page } from "puppeteer-core";
import { fit, type FitOptions, flip, fromArrays, ResNet } from "resnet-native";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { audit, browserHere, newPage, opened, told, NO_CHROMIUM } from "./chromium.js";
import { collect, pictures, rejection } from "./pictures.js";

/** What a page must not make of names. */
const NAMES = [`<script>window.broken=1</script>`, `"><img src=x onerror="window.broken=1">`, "' style='display:none", "a class with a name of a good many words, and an unusuallylongoneatitsend"];

let browser: Browser | undefined;
beforeAll(async () => {
  browser = await browserHere();
});
afterAll(async () => browser?.close());
beforeEach(({ skip }) => skip(browser === undefined, NO_CHROMIUM));

/** A run of four epochs that is held before some of them until it is let go, and its page's address. */
async function held(before: readonly number[], options: FitOptions = {}) {
  const { images } = (await collect(pictures(48), { batchSize: 48 }))[0]!;
  const labels = Array.from({ length: 48 }, (_, i) => i % 4);
  const data = fromArrays({ images: Float32Array.from(images.data), shape: images.shape, labels, classNames: NAMES });
  const model = new ResNet([[1, 8]], { numClasses: 4, seed: 2 });
  let go = () => {};
  const onEpochBegin = async ({ epoch }: { epoch: number }) => before.includes(epoch) && new Promise<void>((resolve) => (go = resolve));
  const run = fit(model, { train: data, validation: data }, { epochs: 4, batchSize: 8, augment: [flip()], dashboard: { title: NAMES[1]! }, onEpochBegin, ...options });
  return { run, url: (await run.dashboard)!, go: () => go() };
}

const text = async (page: Page, id: string) => told<string>(page, `document.getElementById("${id}").textContent`);
/** Waits until an expression is true of the page. */
const until = async (page: Page, expression: string) => page.waitForFunction(expression, { polling: 50 });

test.each([[1280, "light"], [1280, "dark"], [390, "light"]] as const)("at %i pixels, %s: numbers are the history's, nothing beyond the edge, accessible, and no name is more than text", async (width, scheme) => {
  const { run, url, go } = await held([1, 4]);
  await opened(browser!, url, width, scheme, async (page) => {
    expect(await audit(page)).toEqual([]);
    await until(page, `!document.getElementById("confuse").disabled`);
    await page.click("#confuse");
    await until(page, `run.state.confusion.wanted`);
    go();
    await until(page, `run.rows.length === 3 && document.querySelector("#matrix td.right")`);
    await told(page, `document.getElementById("samples").scrollIntoView()`);
    await until(page, `document.querySelectorAll("#sheet img").length === 8`);
    await told(page, `document.querySelectorAll("details").forEach((details) => (details.open = true))`);
    expect(await told(page, `[innerWidth, document.documentElement.scrollWidth]`)).toEqual([width, width]);
    expect(await told(page, `[typeof window.broken, document.scripts.length, document.querySelectorAll("[onerror], [style^=display]").length]`)).toEqual(["undefined", 1, 0]);
    expect(await told(page, `[document.title, document.querySelector("h1").textContent]`)).toEqual([NAMES[1], NAMES[1]]);
    expect(await told(page, `[...document.querySelectorAll("#sheet .is")].every(({ textContent }) => ${JSON.stringify(NAMES)}.includes(textContent))`)).toBe(true);
    expect(await audit(page)).toEqual([]);
    go();
    const { rows } = await run;
    await until(page, `document.querySelectorAll("#numbers tr").length === 4`);
    const numbers = await told(page, `[...document.querySelectorAll("#numbers tr")].map((row) => [Number(row.cells[0].textContent), ...[...row.querySelectorAll("data")].map(({ value }) => Number(value))])`);
    expect(numbers).toEqual(rows.map(({ epoch, loss, accuracy, validationLoss, validationAccuracy, lr, seconds }) => [epoch, loss, accuracy, validationLoss, validationAccuracy, lr, seconds]));
    // The legend has the last value of each curve.
    const last = rows.at(-1)!;
    await until(page, `document.querySelector("#chart-loss .legend").textContent.includes("${last.validationLoss!.toFixed(4)}")`);
    expect(await told(page, `document.querySelector("#chart-accuracy > svg").getAttribute("aria-label")`)).toContain(`training ${last.accuracy.toFixed(4)}, validation ${last.validationAccuracy!.toFixed(4)}`);
    expect(await told(page, `Number(document.querySelector("#matrix data").value)`)).toBe(last.validationAccuracy);
    expect(await told(page, `[...document.querySelectorAll(".charts > figure")].map((figure) => figure.querySelectorAll("path[stroke-width]").length / 2)`)).toEqual([3, 3, 1, 1]);
    expect([await text(page, "status"), await told(page, `document.getElementById("progress").value`)]).toEqual(["Finished", 1]);
    expect(await text(page, "connection")).toContain("this page stays");
    expect(await audit(page)).toEqual([]);
  });
});

test("a page that is opened late has all; buttons pause, resume and stop by keys; two pages of a browser agree", async () => {
  const { run, url } = await held([3]);
  const failed = rejection(run);
  await opened(browser!, url, 1280, "light", async (first) => {
    await until(first, `run.rows.length === 2`);
    await opened(browser!, url, 1280, "light", async (page) => {
      await until(page, `run.rows.length === 2 && run.points.length > 2`);
      const status = async (expected: string) => {
        for (const one of [first, page]) await until(one, `(show(), document.getElementById("status").textContent === ${JSON.stringify(expected)})`);
      };
      await status("Training epoch 3 of 4");
      await page.focus("#pause");
      await page.keyboard.press("Enter");
      await status("Paused in epoch 3 of 4");
      expect([run.paused, await text(page, "pause")]).toEqual([true, "Resume"]);
      await page.keyboard.press("Enter");
      await status("Training epoch 3 of 4");
      expect(run.paused).toBe(false);
      // Whoever thinks better of it goes on.
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      expect(await told(page, `[document.getElementById("really").open, document.activeElement.id]`)).toEqual([true, "go-on"]);
      expect(await audit(page)).toEqual([]);
      await page.keyboard.press("Escape");
      expect(await told(page, `[document.getElementById("really").open, document.activeElement.id]`)).toEqual([false, "stop"]);
      await page.keyboard.press("Enter");
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      expect(await failed).toMatchObject({ name: "AbortError" });
      await status("Stopped");
      expect(await told(page, `[document.getElementById("pause").disabled, document.getElementById("stop").disabled]`)).toEqual([true, true]);
    });
  });
});

test("eight pages of a browser are told through one connection, and one that is closed hands it on", async () => {
  const { run, url, go } = await held([3]);
  const pages: Page[] = [];
  for (let i = 0; i < 8; i++) {
    const page = await newPage(browser!);
    await page.goto(url, { waitUntil: "domcontentloaded" });
    pages.push(page);
  }
  for (const page of pages) await page.waitForFunction(`run.rows.length === 2`, { polling: 50 });
  // The first one listens.
  await pages.shift()!.close();
  await pages[0]!.waitForFunction(`navigator.locks.query().then(({ held, pending }) => held.length === 1 && pending.length === 6)`, { polling: 50 });
  go();
  const { rows } = await run;
  const points: string[] = [];
  for (const page of pages) {
    await page.waitForFunction(`isOver`, { polling: 50 });
    expect(await told(page, `run.rows.map(({ loss }) => loss)`)).toEqual(rows.map(({ loss }) => loss));
    points.push(await told(page, `JSON.stringify(run.points)`));
    await page.close();
  }
  expect(new Set(points).size).toBe(1);
});

test("through a tunnel that breaks a page says so, comes back by itself, and stays when the run is gone", async () => {
  const { run, url, go } = await held([3]);
  const { port, pathname } = new URL(url);
  const sockets = new Set<Socket>();
  const tunnel = createServer((near) => {
    const far = connect(Number(port), "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]] as const) {
      sockets.add(one);
      one.on("error", () => {}).on("close", () => other.destroy()).pipe(other);
    }
  });
  const listen = async (at: number) => once(tunnel.listen(at, "127.0.0.1"), "listening");
  const cut = () => {
    tunnel.close();
    for (const socket of sockets) socket.destroy();
  };
  await listen(0);
  const own = (tunnel.address() as { port: number }).port;
  const page = await newPage(browser!);
  await page.goto(`http://localhost:${own}${pathname}`);
  await until(page, `run.rows.length === 2`);
  cut();
  await until(page, `document.getElementById("connection").textContent.includes("is lost")`);
  await listen(own);
  await until(page, `document.getElementById("connection").textContent === ""`);
  await page.click("#pause");
  await until(page, `run.state.paused`);
  expect(run.paused).toBe(true);
  cut();
  run.resume();
  go();
  await run;
  await until(page, `document.getElementById("connection").textContent.includes("is lost")`);
  expect(await told(page, `document.querySelectorAll("#numbers tr").length`)).toBe(2);
  await page.close();
});
