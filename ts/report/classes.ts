import { count, html, name, percent, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** Precision, recall and F1 of each class. */
export const classes: Section = {
  id: "classes",
  title: "Classes",
  render({ evaluation, network }) {
    const { classes: measured, macroF1, microF1, exactMatch } = evaluation;
    if (measured === undefined) return { missing: "The evaluation told nothing by class." };
    const cell = (value: number, support: number) => html`<td data-value="${value}">${support > 0 ? value.toFixed(4) : "–"}</td>`;
    const head = ["class", "precision", "recall", "F1", "images"];
    const table = html`<table class="sortable"><thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>${measured.map(
      (one) => html`<tr><th scope="row" data-value="${one.label}">${name(one.name)}</th>${cell(one.precision, one.support)}${cell(one.recall, one.support)}${cell(one.f1, one.support)}<td data-value="${one.support}">${count(one.support)}</td></tr>
`,
    )}</tbody></table>`;
    const multi =
      network.labelKind === "multi" &&
      html`<p>Of ${percent(exactMatch ?? NaN, 2)} of the images every decision is right. F1 of all decisions together is ${(microF1 ?? NaN).toFixed(4)}, the mean of the classes’ ${(macroF1 ?? NaN).toFixed(4)}.</p>`;
    return html`${multi}<p>Precision: how much of what was taken for a class is of it. Recall: how much of the class was found. F1: their harmonic mean.</p>
${scrolling("Classes", table)}`;
  },
};
