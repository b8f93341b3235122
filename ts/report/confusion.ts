import { count, html, type Html, name, percent, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** Classes up to which the whole matrix can be read. */
const MOST_CLASSES = 20;
/** Pairs that are told of more classes. */
const MOST_PAIRS = 25;
/** Shades of a cell. */
const SHADES = 9;

/** Which classes are taken for which. */
export const confusion: Section = {
  id: "confusion",
  title: "Confusion",
  render({ evaluation, network }) {
    const { confusion: matrix, classes = [] } = evaluation;
    if (network.labelKind === "multi") return { missing: "Images are of any number of classes, so that none is taken for another: see the classes, and the share of images that are all right." };
    if (matrix === undefined) return { missing: "The evaluation told no confusion matrix." };
    const names = classes.map((one) => one.name);
    return html`${names.length <= MOST_CLASSES ? whole(matrix, names) : ""}${pairs(matrix, names)}`;
  },
};

function whole(matrix: readonly (readonly number[])[], names: readonly string[]): Html {
  const rows = matrix.map((row, of) => {
    const sum = row.reduce((a, b) => a + b, 0);
    const cells = row.map((value, as) => {
      const share = sum === 0 ? 0 : value / sum;
      const shade = value === 0 ? 0 : Math.max(1, Math.round(share * SHADES));
      return html`<td class="${of === as ? "right" : "wrong"} shade${shade}">${value === 0 ? html`<span class="none">0</span>` : count(value)}</td>`;
    });
    return html`<tr><th scope="row">${name(names[of]!)}</th>${cells}</tr>
`;
  });
  const table = html`<table class="matrix"><thead><tr><td></td>${names.map((one) => html`<th scope="col"><span>${name(one)}</span></th>`)}</tr></thead><tbody>${rows}</tbody></table>`;
  return scrolling("Confusion matrix", table, "Rows: what images are of. Columns: what they were taken for. Shades: share of the row.");
}

/** The pairs that most images were confused of. */
function pairs(matrix: readonly (readonly number[])[], names: readonly string[]): Html {
  const all = matrix.flatMap((row, of) => {
    const sum = row.reduce((a, b) => a + b, 0);
    return row.flatMap((value, as) => (of === as || value === 0 ? [] : [{ of, as, value, share: value / sum }]));
  });
  if (all.length === 0) return html`<p>No image was taken for another class.</p>`;
  const most = names.length <= MOST_CLASSES ? 5 : MOST_PAIRS;
  const shown = all.toSorted((a, b) => b.value - a.value || b.share - a.share).slice(0, most);
  const caption = names.length <= MOST_CLASSES ? "The classes that are confused most often" : `The ${shown.length} most frequent confusions of ${count(all.length)}: ${count(names.length)} classes are too many for a matrix`;
  const table = html`<table class="pairs"><thead><tr><th scope="col">images of</th><th scope="col">taken for</th><th scope="col">images</th><th scope="col">of the class</th></tr></thead>
<tbody>${shown.map(({ of, as, value, share }) => html`<tr><th scope="row">${name(names[of]!)}</th><td class="text">${name(names[as]!)}</td><td>${count(value)}</td><td>${percent(share)}</td></tr>
`)}</tbody></table>`;
  return scrolling("Classes that are confused", table, caption);
}
