import { isMissing } from "./findings.js";
import { count, html } from "./page.js";
import type { Section } from "./section.js";

/** The first layer's filters as pictures. */
export const filters: Section = {
  id: "filters",
  title: "First-layer filters",
  render({ filters: found }) {
    if (isMissing(found)) return found;
    const { picture, name, shape, count: shown } = found;
    const [filters, channels, height, width] = shape as [number, number, number, number];
    const what = channels === 1 ? "Grey is 0, white positive, black negative" : "Middle grey is 0; colours are the weights of red, green and blue";
    const some = shown < filters ? `, the first ${shown} of which are shown` : "";
    return html`<figure><img class="pixels sheet" src="${picture.src}" width="${picture.width}" height="${picture.height}" alt="${shown} filters ${height} high and ${width} wide, side by side">
<figcaption><code>${name}</code>: ${count(filters)} filters of ${height} × ${width} (height × width)${some}. ${what}; each filter is scaled by its own largest weight.</figcaption></figure>`;
  },
};
