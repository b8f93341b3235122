// node scripts/site-pictures.mjs, after npm run docs: pictures of the site's guides and of some of its reference, as wide as a desk's screen and as a phone,
// light and dark, in out/site. Fails for a page that is wider than its screen, and for pictures that are not there.
//
//   NAMES…   parts of the pages' names; default all guides, the first page and a page of each kind

import { mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "puppeteer-core";
import { chromium, NO_CHROMIUM } from "./chromium.mjs";
import { root } from "./steps.mjs";

const REFERENCE = ["classes/Reference.Dataset.html", "functions/Reference.fit.html", "modules/Reference.html"];
const docs = join(root, "docs");
const to = join(root, "out", "site");

const names = process.argv.slice(2);
const guides = readdirSync(join(docs, "documents")).map((file) => `documents/${file}`);
const pages = ["index.html", ...guides, ...REFERENCE].filter((page) => names.length === 0 || names.some((name) => page.includes(name)));
if (chromium === undefined) throw new Error(NO_CHROMIUM);
mkdirSync(to, { recursive: true });
const browser = await launch({ executablePath: chromium, args: ["--no-sandbox"] });
for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"]]) {
  const tab = await browser.newPage();
  await tab.setViewport({ width, height: 900 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const page of pages) {
    await tab.goto(pathToFileURL(join(docs, page)).href, { waitUntil: "networkidle0" });
    const { wide, gone } = await tab.evaluate(() => ({
      wide: document.documentElement.scrollWidth - innerWidth,
      gone: [...document.images].filter(({ naturalWidth }) => naturalWidth === 0).map(({ src }) => src),
    }));
    const wrong = [...(wide > 0 ? [`${wide} pixels wider than its screen`] : []), ...gone.map((picture) => `there is no ${picture}`)];
    for (const why of wrong) console.error(`${page} at ${width}: ${why}`);
    if (wrong.length > 0) process.exitCode = 1;
    await tab.screenshot({ path: join(to, `${basename(page, ".html")}-${width}-${scheme}.png`), fullPage: true });
  }
  await tab.close();
}
await browser.close();
console.log(`${pages.length} pages in ${to}`);
