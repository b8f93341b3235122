import { createHash } from "node:crypto";
import { escaped } from "../svg.js";
import { SCRIPT } from "./script.js";
import { STYLE } from "./style.js";

/** What a page may hold as it is. */
export class Html {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** Markup that was made here, such as a chart; never what a caller wrote. */
  static trusted(text: string): Html {
    return new Html(text);
  }
}

/** What stands between pieces of markup. */
export type Part = Html | string | number | false | undefined | readonly Part[];

/** Markup: whatever is put in is text, unless it is markup itself. */
export function html(pieces: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return Html.trusted(pieces.reduce((all, piece, i) => all + written(parts[i - 1]) + piece));
}

function written(part: Part): string {
  if (part === undefined || part === false) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(written).join("");
  return escaped(String(part)).replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

/** A name that somebody else chose, whose letters turn no others around. */
export function name(text: string): Html {
  return html`<bdi>${text}</bdi>`;
}

/** A share of 1 in percent. */
export function percent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(digits)}\u00a0%` : "–";
}

/** A whole number in groups of three digits. */
export function count(value: number): string {
  return value.toLocaleString("en");
}

/** So many of something, in words. */
export function counted(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** A length of time, in words. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${seconds.toFixed(1)} s`;
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

/** What is wider than the page, in a box that scrolls by itself, also by the keyboard; what is said of it stays in view. */
export function scrolling(label: string, content: Html, caption?: Html | string): Html {
  const box = html`<div class="scroll" role="group" aria-label="${label}" tabindex="0">${content}</div>`;
  return caption === undefined ? box : html`<figure><figcaption>${caption}</figcaption>${box}</figure>`;
}

/** A piece of a page under a heading. */
export interface Chapter {
  readonly id: string;
  readonly title: string;
  readonly content: Html;
}

/** What a page may do: what stands in it, and beside that what `more` says. */
export function policyOf(style: string, script: string, more = ""): string {
  const digest = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return `default-src 'none'; img-src data:; style-src ${digest(style)}; script-src ${digest(script)}; base-uri 'none'; form-action 'none'${more}`;
}

/** A page's text; `head` stands before what all pages have there. */
export function document(title: string, generator: string, { style, script, head }: { readonly style: string; readonly script: string; readonly head?: Html }, body: Html): string {
  return `<!doctype html>
${html`<html lang="en">
<head>
<meta charset="utf-8">
${head}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="${generator}">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${Html.trusted(style)}</style>
</head>
<body>
${body}
<script>${Html.trusted(script)}</script>
</body>
</html>`.text}
`;
}

/** A report's page: one file, which asks for nothing else and runs no script but its own. */
export function page(title: string, kicker: string, chapters: readonly Chapter[], generator: string): string {
  const head = html`<meta http-equiv="Content-Security-Policy" content="${Html.trusted(policyOf(STYLE, SCRIPT))}">
`;
  const body = html`<a class="skip" href="#main">Skip to the report</a>
<header><p class="kicker">${kicker}</p><h1>${name(title)}</h1></header>
<nav aria-label="Sections"><ol>${chapters.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ol></nav>
<main id="main" tabindex="-1">
${chapters.map(
  ({ id, title, content }) => html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${content}
</section>
`,
)}</main>
<footer><p>Written by ${generator}. This file needs no network and sends nothing.</p></footer>`;
  return document(title, generator, { style: STYLE, script: SCRIPT, head }, body);
}
