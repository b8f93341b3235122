import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { brokenLinks, brokenSite } from "../scripts/links.mjs";

const documents = (text: string) => ({ "guides/start.md": text, "README.md": "# Title\n\n## What `fit` does, by [itself](#title)\n\n## Twice\n\n## Twice\n" });

test.each([
  "[there](../README.md)",
  "[a heading](../README.md#what-fit-does-by-itself)",
  "[the second of a name](../README.md#twice-1)",
  "# Here\n\n[within](#here)",
  "![a picture](../assets/demo.svg)",
  "[elsewhere](https://example.org/a?b=c#d)",
  "`[code](nowhere)`\n\n```ts\n[code](nowhere)\n```\n",
])("%s is a good link", (text) => {
  expect(brokenLinks(documents(text))).toEqual([]);
});

test.each([
  ["[gone](gone.md)", "guides/start.md: gone.md: there is no guides/gone.md"],
  ["[gone](../README.md#gone)", "guides/start.md: ../README.md#gone: README.md has no heading of that name"],
  ["```sh\n# a comment\n```\n[within](#a-comment)", "guides/start.md: #a-comment: guides/start.md has no heading of that name"],
  ["![](../assets/demo.svg)", "guides/start.md: ../assets/demo.svg: a link without words, or a picture without a description"],
  ["[plain](http://example.org)", "guides/start.md: http://example.org: expected https: and a host's name"],
  ["[typo](https:/example.org)", "guides/start.md: https:/example.org: expected https: and a host's name"],
  ["[![a picture](gone.svg)](../README.md)", "guides/start.md: gone.svg: there is no guides/gone.svg"],
])("%s is not", (text, broken) => {
  expect(brokenLinks(documents(text))).toEqual([broken]);
});

test("in a built site every link has its file and its place", async () => {
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  await writeFile(join(folder, "b c.html"), '<h1 id="top">B</h1>');
  await writeFile(join(folder, "a.html"), '<a href="b%20c.html#top">B</a> <a href="b%20c.html#bottom">B</a> <img src="d.png"> <a href="https://example.org">E</a> <a href="#">A</a>');
  expect(brokenSite(folder)).toEqual(["a.html: b%20c.html#bottom: b c.html has no such place", "a.html: d.png: there is no d.png"]);
  await rm(folder, { recursive: true });
});
