import type { Findings, Missing } from "./findings.js";
import type { Html } from "./page.js";

/** A section of a report. */
export interface Section {
  /** Its place in the page's address. */
  readonly id: string;
  readonly title: string;
  /** What it shows, or why there is nothing to show. */
  render(findings: Findings): Html | Missing | Promise<Html | Missing>;
}
