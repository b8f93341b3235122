import { isMissing } from "./findings.js";
import { html, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** What the training was told. */
export const configuration: Section = {
  id: "configuration",
  title: "Configuration",
  render({ configuration: found }) {
    if (isMissing(found)) return found;
    const entries = Object.entries(found);
    const table = html`<table class="settings"><thead><tr><th scope="col">option</th><th scope="col" class="text">value</th></tr></thead>
<tbody>${entries.map(([name, value]) => html`<tr><th scope="row"><code>${name}</code></th><td class="text"><code>${line(value)}</code></td></tr>
`)}</tbody></table>`;
    return html`<p>What <code>fit</code> was told, or takes by itself.</p>
${scrolling("Options of the training", table)}
<details class="again"><summary>As JSON</summary>${scrolling("Options as JSON", html`<pre><code>${JSON.stringify(found, undefined, 2)}</code></pre>`)}</details>`;
  },
};

/** A value as JSON on one line, with room to break it. */
function line(value: unknown): string {
  return JSON.stringify(value, undefined, 1).replaceAll(/\n\s*/g, " ");
}
