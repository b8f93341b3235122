import type { EpochRow } from "../history.js";
import { chart, thinned } from "./figure.js";
import { isMissing } from "./findings.js";
import { duration, html, type Html, scrolling } from "./page.js";
import type { Section } from "./section.js";

/** Rows of the table; of more epochs, every second or third. */
const MOST_ROWS = 400;
const decimal = (value: number) => value.toFixed(4);

/** Losses and accuracies by epoch. */
export const curves: Section = {
  id: "curves",
  title: "Curves",
  async render({ rows }) {
    if (isMissing(rows)) return rows;
    const loss = await chart(rows, {
      looks: [
        { key: "loss", name: "training", dash: "none", shape: "symbolCircle" },
        { key: "validationLoss", name: "validation", dash: "7 4", shape: "symbolSquare" },
      ],
      axis: "loss (nats)",
      always: [0],
      title: "Loss by epoch",
      caption: html`Mean loss by epoch: of the training images before the update that used each, of the validation images after the epoch.`,
      text: decimal,
    });
    const accuracy = await chart(rows, {
      looks: [
        { key: "accuracy", name: "training", dash: "none", shape: "symbolCircle" },
        { key: "validationAccuracy", name: "validation", dash: "7 4", shape: "symbolSquare" },
      ],
      axis: "accuracy (0 to 1)",
      title: "Accuracy by epoch",
      caption: html`Accuracy by epoch, likewise. The axis has the range of the values.`,
      text: decimal,
    });
    return html`${loss}${accuracy}
<details><summary>The numbers</summary>${numbers(rows)}</details>`;
  },
};

/** The rows as a table. */
function numbers(rows: readonly EpochRow[]): Html {
  const shown = thinned(rows, MOST_ROWS);
  const head = ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy", "learning rate", "time"];
  const cell = (value: number | undefined, text = decimal) => html`<td>${value === undefined ? "–" : html`<data value="${value}">${text(value)}</data>`}</td>`;
  const table = html`<table class="numbers"><thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
<tbody>${shown.map(
    (row) => html`<tr><th scope="row">${row.epoch}</th>${cell(row.loss)}${cell(row.accuracy)}${cell(row.validationLoss)}${cell(row.validationAccuracy)}${cell(row.lr, shortened)}${cell(row.seconds, duration)}</tr>
`,
  )}</tbody></table>`;
  return scrolling("Numbers of the epochs", table, shown.length < rows.length ? `${shown.length} of ${rows.length} epochs` : undefined);
}

/** A learning rate in few digits. */
export function shortened(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
