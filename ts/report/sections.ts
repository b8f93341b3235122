import { architecture } from "./architecture.js";
import { augmented } from "./augmented.js";
import { card } from "./card.js";
import { classes } from "./classes.js";
import { configuration } from "./configuration.js";
import { confusion } from "./confusion.js";
import { curves } from "./curves.js";
import { environment } from "./environment-table.js";
import { filters } from "./filters.js";
import { type Findings, isMissing } from "./findings.js";
import { mistakes } from "./mistake-pictures.js";
import { type Chapter, html, page } from "./page.js";
import { rate } from "./rate.js";
import type { Section } from "./section.js";
import { summary } from "./summary.js";

/** The sections of a report, in order; a new one has its file and its place here. */
export const SECTIONS: readonly Section[] = [
  summary,
  curves,
  rate,
  confusion,
  classes,
  mistakes,
  filters,
  architecture,
  augmented,
  configuration,
  environment,
  card,
];

/** The report as a page; sections that there is nothing for are told of at its end. */
export async function reportPage(findings: Findings, generator: string): Promise<string> {
  const chapters: Chapter[] = [];
  const missing: [string, string][] = [];
  for (const { id, title, render } of SECTIONS) {
    const content = await render(findings);
    if (isMissing(content)) missing.push([title, content.missing]);
    else chapters.push({ id, title, content });
  }
  if (missing.length > 0) {
    const content = html`<dl class="facts">${missing.map(([name, why]) => html`<div><dt>${name}</dt><dd>${why}</dd></div>`)}</dl>`;
    chapters.push({ id: "missing", title: "Not in this report", content });
  }
  return page(findings.title, isMissing(findings.rows) ? "Model report" : "Training report", chapters, generator);
}
