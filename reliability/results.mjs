// RESULTS.md: of each experiment the last run in the usual size and the last full one, each with its commit and machine. A full run takes hours,
// so that it may be made promise by promise.

const HEAD = ["promise", "experiment", "size", "tried", "held", "worst figure", "seed", "commit", "machine"];

/** A table of rows that have a text for each title. */
export function tableOf(titles, rows) {
  const cells = rows.map((row) => titles.map((title) => row[title]));
  const widths = titles.map((title, column) => Math.max(...[title, ...cells.map((row) => row[column])].map((text) => text.length)));
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(" | ")} |`;
  return [line(titles), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...cells.map(line)].join("\n");
}

/** The page with new rows in place of those of the same experiment and size, in the order of the promises. */
export function pageWith(page, rows, promises) {
  const all = new Map([...rowsOf(HEAD, page), ...rows].map((row) => [keyOf(row.promise, row.experiment, row.size), row]));
  const keys = promises.flatMap(({ id, experiments }) => experiments.flatMap(({ name }) => ["usual", "full"].map((size) => keyOf(id, name, size))));
  const inOrder = keys.filter((key) => all.has(key)).map((key) => all.get(key));
  const says = promises.map(({ id, says }) => `- ${id}: ${says}`);
  return ["# What was tried, and what held", "", "`npm run reliability -- --keep` writes the rows of this page, with `--full` those of that size.", "", tableOf(HEAD, inOrder), "", ...says, ""].join("\n");
}

/** The rows of a page's table, as `tableOf` takes them. */
export function rowsOf(titles, page) {
  const [, ...lines] = page.split("\n").filter((line) => line.startsWith("| "));
  return lines.map((line) => {
    const cells = line.slice(2, -2).split(" | ");
    return Object.fromEntries(titles.map((title, i) => [title, cells[i]?.trim() ?? ""]));
  });
}

const keyOf = (promise, experiment, size) => [promise, experiment, size].join();
