import type { Shown } from "./findings.js";
import { html, type Html } from "./page.js";

/** Pixels of a side below which they are shown as squares. */
const SMALL = 64;

/** Pictures in rows, each with a text for those who do not see it and one below it. */
export function gallery(items: readonly { readonly picture: Shown; readonly alt: string; readonly caption: Html }[]): Html {
  return html`<ul class="gallery">${items.map(
    ({ picture, alt, caption }) => html`<li><figure><img${isSmall(picture) ? html` class="pixels"` : ""} src="${picture.src}" width="${picture.width}" height="${picture.height}" alt="${alt}"><figcaption>${caption}</figcaption></figure></li>
`,
  )}</ul>`;
}

function isSmall({ width, height }: Shown): boolean {
  return Math.max(width, height) < SMALL;
}
