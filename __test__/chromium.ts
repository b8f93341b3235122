import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Browser, launch, type Page } from "puppeteer-core";
import { expect } from "vitest";
import { chromium, NO_CHROMIUM } from "../scripts/chromium.mjs";

const axe = fileURLToPath(import.meta.resolve("axe-core/axe.min.js"));

/** Milliseconds after which a browser that does nothing is given up. */
const PATIENCE = 120_000;

export { NO_CHROMIUM };

/** A browser, if there is one here. A sandbox wants rights that a container may lack; nothing but our own pages is opened. */
export async function browserHere(): Promise<Browser | undefined> {
  return chromium === undefined ? undefined : launch({ executablePath: chromium, args: ["--no-sandbox"], timeout: PATIENCE });
}

/** A page that waits as long as a slow machine may need. */
export async function newPage(browser: Browser): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  return page;
}

/** Opens an address, does something there, and fails for whatever the page complained of or asked for elsewhere. */
export async function opened<T>(browser: Browser, address: string, width: number, scheme: "light" | "dark", does: (page: Page) => Promise<T>, isScripted = true): Promise<T> {
  const page = await newPage(browser);
  const wrong: string[] = [];
  page.on("console", (message) => wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${String(error)}`));
  page.on("request", (request) => request.url().startsWith(address) || request.url().startsWith("data:") || wrong.push(`request: ${request.url()}`));
  await page.setJavaScriptEnabled(isScripted);
  await page.setViewport({ width, height: 844 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }]);
  try {
    await page.goto(address);
    const result = await does(page);
    expect(wrong).toEqual([]);
    return result;
  } finally {
    await page.close();
  }
}

/** What a page tells, by an expression. */
export const told = async <T>(page: Page, expression: string) => (await page.evaluate(expression)) as T;

/** What axe-core finds wrong. It is run from outside, as the page's own policy lets nothing in. */
export async function audit(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(axe, "utf8"));
  const { passes, violations } = await told<Record<string, { id: string; nodes: { html: string; failureSummary: string }[] }[]>>(page, `axe.run()`);
  expect(passes!.length).toBeGreaterThan(10);
  return violations!.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
}
