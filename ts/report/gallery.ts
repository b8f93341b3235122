import type { Shown } from "./findings.js";
import { html, type Html } from "./page.js";

/** Pixels of a side below which they are shown as squares. */
const SMALL = 64;

/** A picture with a text for those who do not see it and one below it, and maybe another picture of the same beside it. */
interface Item {
  readonly picture: Shown;
  readonly alt: string;
  readonly caption: Html;
  readonly beside?: { readonly picture: Shown; readonly alt: string };
}

/** Pictures in rows. */
export function gallery(items: readonly Item[]): Html {
  const pairs = items.some(({ beside }) => beside !== undefined);
  return html`<ul class="gallery${pairs ? " pairs" : ""}">${items.map(
    ({ picture, alt, caption, beside }) => html`<li><figure><div>${image(picture, alt)}${beside && image(beside.picture, beside.alt)}</div><figcaption>${caption}</figcaption></figure></li>
`,
  )}</ul>`;
}

function image(picture: Shown, alt: string): Html {
  return html`<img${isSmall(picture) ? html` class="pixels"` : ""} src="${picture.src}" width="${picture.width}" height="${picture.height}" alt="${alt}">`;
}

function isSmall({ width, height }: Shown): boolean {
  return Math.max(width, height) < SMALL;
}
