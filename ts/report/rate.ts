import { shortened } from "./curves.js";
import { chart } from "./figure.js";
import { isMissing } from "./findings.js";
import { html } from "./page.js";
import type { Section } from "./section.js";

/** The learning rate by epoch. */
export const rate: Section = {
  id: "rate",
  title: "Learning rate",
  async render({ rows }) {
    if (isMissing(rows)) return rows;
    return chart(rows, {
      looks: [{ key: "lr", name: "learning rate", dash: "none", shape: "symbolCircle" }],
      axis: "learning rate",
      always: [0],
      title: "Learning rate by epoch",
      caption: html`Learning rate of each epoch’s last step, before the factors of parameter groups.`,
      text: shortened,
    });
  },
};
