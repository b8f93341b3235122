import type { LayerRow } from "../summary.js";
import { count, html, type Html, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** Rows up to which the layers are shown one by one. */
const MOST_ROWS = 600;

/** What the network is made of. */
export const architecture: Section = {
  id: "architecture",
  title: "Architecture",
  render({ network: { stages, layers }, data }) {
    const shape = data.measured.imageShape;
    const each = layers.length <= MOST_ROWS ? html`<details><summary>Layer by layer</summary>${scrolling("Layers", rows(layers))}</details>` : html`<p>${count(layers.length)} layers are too many to list; <code>model.layerSummary()</code> does.</p>`;
    return html`<p>For one image of ${shape.join(" × ")} (channels, height, width). Multiply-adds are those of convolutions and linear layers.</p>
${scrolling("Stages", rows(stages))}
${each}`;
  },
};

function rows(all: readonly LayerRow[]): Html {
  const sum = (of: (row: LayerRow) => number) => count(all.reduce((total, row) => total + of(row), 0));
  const line = ({ name, kind, outputShape, params, macs }: LayerRow) =>
    html`<tr><th scope="row"><code>${name}</code></th><td class="text">${kind}</td><td>${outputShape.slice(1).join(" × ")}</td><td>${count(params)}</td><td>${count(macs)}</td></tr>
`;
  return html`<table><thead><tr><th scope="col">name</th><th scope="col" class="text">kind</th><th scope="col">output</th><th scope="col">parameters</th><th scope="col">multiply-adds</th></tr></thead>
<tbody>${all.map(line)}</tbody>
<tfoot><tr><th scope="row">total</th><td></td><td></td><td>${sum((row) => row.params)}</td><td>${sum((row) => row.macs)}</td></tr></tfoot></table>`;
}
