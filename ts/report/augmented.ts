import { isMissing } from "./findings.js";
import { gallery } from "./gallery.js";
import { html, name } from "./page.js";
import type { Section } from "./section.js";

/** What a step of training sees. */
export const augmented: Section = {
  id: "augmented",
  title: "Augmented samples",
  render({ augmented: found }) {
    if (isMissing(found)) return found;
    const { samples, by } = found;
    const items = samples.map(({ picture, told }) => ({ picture, alt: `Augmented image of ${told}`, caption: html`<span class="is">${name(told)}</span><span class="where">augmented</span>` }));
    return html`<p>Training images as the run’s first step takes them: <strong>augmented</strong>, changed at random by ${by.map((one, i) => html`${i > 0 && ", "}<code>${one}</code>`)}, in each epoch otherwise. Nothing was measured on such images.</p>
${gallery(items)}`;
  },
};
