import { html, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** What it ran on. */
export const environment: Section = {
  id: "environment",
  title: "Environment",
  render({ environment: found }) {
    const table = html`<table class="settings"><thead><tr><th scope="col">what</th><th scope="col" class="text">where this report was written</th></tr></thead>
<tbody>${found.map(([name, value]) => html`<tr><th scope="row">${name}</th><td class="text">${value}</td></tr>
`)}</tbody></table>`;
    return scrolling("Environment", table);
  },
};
