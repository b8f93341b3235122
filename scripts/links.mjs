// Links in documents, and in the site that is made of them: what they point at is there. Other people's sites are not asked; their addresses
// have the form of one. node scripts/links.mjs FOLDER holds every link of a built site against its files and their places.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { fencesOf } from "./guide-programs.mjs";
import { root } from "./steps.mjs";

/** What is wrong with the links of documents in Markdown; `documents` are their texts by path from the root. */
export function brokenLinks(documents) {
  const places = Object.fromEntries(Object.entries(documents).map(([file, text]) => [file, placesOf(text)]));
  return Object.entries(documents).flatMap(([file, text]) => linksOf(text).flatMap(({ alternative, target }) => {
    const wrong = (why) => [`${file}: ${target}: ${why}`];
    if (alternative === "") return wrong("a link without words, or a picture without a description");
    if (/^[a-z+]+:/.test(target)) return /^https:\/\/[\w.-]+\.[a-z]{2,}(:\d+)?(\/\S*)?$/.test(target) ? [] : wrong("expected https: and a host's name");
    const [path, place] = target.split("#");
    const to = path === "" ? file : posix.join(posix.dirname(file), path);
    if (!documents[to] && !existsSync(join(root, to))) return wrong(`there is no ${to}`);
    return place === undefined || places[to]?.includes(place) ? [] : wrong(`${to} has no heading of that name`);
  }));
}

/** Text without what is code. */
function prose(text) {
  const lines = text.split("\n");
  for (const { from, to } of fencesOf(lines)) lines.fill("", from - 1, to + 1);
  return lines.join("\n");
}

function linksOf(text) {
  const found = prose(text).replace(/`[^`\n]*`/g, "code").matchAll(/\[((?:[^[\]]|\[[^\]]*\])*)\]\(([^\s)]+)\)/g);
  // A picture may be the words of a link.
  return [...found].flatMap(([, alternative, target]) => [{ alternative, target }, ...linksOf(alternative)]);
}

/** The names of a document's headings, as GitHub and TypeDoc make them. */
function placesOf(text) {
  const seen = {};
  return [...prose(text).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim().toLowerCase();
    const place = words.replace(/[^\p{L}\p{M}\p{N}_\- ]/gu, "").replaceAll(" ", "-");
    seen[place] = (seen[place] ?? -1) + 1;
    return seen[place] > 0 ? `${place}-${seen[place]}` : place;
  });
}

/** What is wrong with the links of a site's pages. */
export function brokenSite(folder) {
  const files = readdirSync(folder, { recursive: true }).map((file) => file.replaceAll(sep, "/"));
  const pages = Object.fromEntries(files.filter((file) => file.endsWith(".html")).map((file) => [file, readFileSync(join(folder, file), "utf8")]));
  const places = Object.fromEntries(Object.entries(pages).map(([file, text]) => [file, new Set([...text.matchAll(/\bid="([^"]*)"/g)].map(([, id]) => id))]));
  const known = new Set(files);
  return Object.entries(pages).flatMap(([file, text]) => [...text.matchAll(/\s(?:href|src)="([^"]*)"/g)].flatMap(([, target]) => {
    if (/^([a-z+]+:|\/\/)/.test(target)) return [];
    const [path, place] = target.replaceAll("&amp;", "&").split("#").map(decodeURIComponent);
    const to = path === "" ? file : posix.join(posix.dirname(file), path.replace(/\?.*/, ""));
    if (!known.has(to)) return [`${file}: ${target}: there is no ${to}`];
    return !place || !places[to] || places[to].has(place) ? [] : [`${file}: ${target}: ${to} has no such place`];
  }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broken = [...new Set(brokenSite(process.argv[2]))];
  if (broken.length > 0) console.error(broken.join("\n"));
  process.exitCode = broken.length > 0 ? 1 : 0;
}
