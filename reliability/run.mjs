// npm run reliability [-- P5 P9] [-- --tenth | --full] [--only NAME] [--seed N] [--trial N]
//
//   P5 P9        these promises alone, else all
//   --tenth      a tenth of what is usual, a minute or two; --full is hours
//   --only NAME  experiments whose name has this in it
//   --seed N     repeats a run's random numbers; --trial N, of an experiment, only this trial
//
// A table of what was tried and what held is printed; a whole run in the usual size or with --full writes RESULTS.md too. Exit code 1 if anything fell
// short, each with the command that repeats it.

import { readdir, writeFile } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { machine } from "../benchmark/report.mjs";
import { SIZES, Trial } from "./harness.mjs";

const options = { tenth: { type: "boolean" }, full: { type: "boolean" }, only: { type: "string" }, seed: { type: "string" }, trial: { type: "string" } };
const { values: given, positionals } = parseArgs({ options, allowPositionals: true });
const size = SIZES.find((size) => given[size]) ?? "usual";
const seed = whole("seed") ?? Math.floor(Math.random() * 1e9);
const began = performance.now();

const files = (await readdir(new URL(".", import.meta.url))).filter((name) => /^p\d\d-.*\.mjs$/.test(name)).toSorted();
const all = await Promise.all(files.map(async (name) => (await import(`./${name}`)).default));
const unknown = positionals.find((id) => !all.some((promise) => promise.id === id.toUpperCase()));
if (unknown) throw new Error(`expected some of ${all.map(({ id }) => id).join(", ")}, got ${unknown}`);
const chosen = all.filter(({ id }) => positionals.length === 0 || positionals.some((other) => other.toUpperCase() === id));

const isNamed = ({ name }) => name.includes(given.only ?? "");
if (!chosen.some(({ experiments }) => experiments.some(isNamed))) throw new Error(`--only: no experiment has ${given.only} in its name`);

const rows = [];
let shortfalls = 0;
for (const { id, says, experiments } of chosen) {
  const named = experiments.filter((experiment) => isNamed(experiment) && experiment.trials[size] !== 0);
  if (named.length > 0) console.log(`${id}  ${says}`);
  for (const experiment of named) rows.push({ id, says, name: experiment.name, ...(await conduct(id, experiment)) });
}
const table = tableOf(rows);
console.log(`\n${table}\nseed ${seed}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
if (chosen.length === all.length && given.only === undefined && given.trial === undefined && size !== "tenth") await writeResults();
process.exitCode = shortfalls > 0 ? 1 : 0;

/** The whole number that is given as an option, if one is. */
function whole(name) {
  if (given[name] === undefined) return undefined;
  if (!/^\d{1,9}$/.test(given[name])) throw new Error(`--${name}: expected a whole number, got ${given[name]}`);
  return Number(given[name]);
}

/** Makes an experiment's trials, as many beside each other as there are cores. */
async function conduct(id, experiment) {
  const start = performance.now();
  const missing = await experiment.missing?.();
  if (missing !== undefined) {
    console.log(`  - ${experiment.name}: not tried, ${missing}`);
    return { tried: 0, held: 0, worst: `not tried: ${missing}` };
  }
  const trials = typeof experiment.trials === "function" ? await experiment.trials() : experiment.trials;
  const items = Array.isArray(trials) ? trials : Array.from({ length: trials[size] });
  const only = whole("trial");
  if (only >= items.length) throw new Error(`--trial: expected below ${items.length}, got ${only}`);
  const indices = only === undefined ? items.keys() : [only].values();
  const found = { tried: 0, held: 0, figures: new Map() };
  const beside = experiment.alone ? 1 : Math.min(availableParallelism(), items.length);
  await Promise.all(Array.from({ length: beside }, async () => {
    for (const index of indices) await attempt(id, experiment, new Trial({ seed, name: id + experiment.name, index, size, item: items[index] }), found);
  }));
  const worst = [...found.figures].map(([name, { value, unit }]) => `${name} ${rounded(value)}${unit && ` ${unit}`}`).join(", ");
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`  ${found.held === found.tried ? "✓" : "✗"} ${experiment.name}: ${found.held} of ${found.tried}${worst && `; ${worst}`} (${seconds} s)`);
  return { ...found, worst };
}

async function attempt(id, experiment, trial, found) {
  let failure;
  try {
    try {
      await experiment.run(trial);
    } finally {
      await trial.end();
    }
  } catch (error) {
    failure = error;
  }
  if (trial.isSkipped) return;
  if (trial.tried === 0) trial.count(1, failure ? 0 : 1);
  else if (failure && trial.held === trial.tried) trial.count(1, 0);
  found.tried += trial.tried;
  found.held += trial.held;
  for (const [name, figure] of trial.figures) {
    if (!(found.figures.get(name)?.value >= figure.value)) found.figures.set(name, figure);
  }
  if (!failure) return;
  shortfalls++;
  const repeat = [id, ...(size === "usual" ? [] : [`--${size}`]), "--only", JSON.stringify(experiment.name), "--seed", seed, "--trial", trial.index];
  const what = failure.constructor.name === "FellShort" ? failure.message : failure.stack;
  console.log(`  ✗ ${experiment.name}, trial ${trial.index}: ${what.replaceAll("\n", "\n    ")}\n    again: npm run reliability -- ${repeat.join(" ")}`);
}

function rounded(value) {
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}

function tableOf(rows) {
  const head = ["promise", "experiment", "tried", "held", "worst figure"];
  const cells = rows.map(({ id, name, tried, held, worst }) => [id, name, String(tried), held === tried ? String(held) : `**${held}**`, worst]);
  const widths = head.map((title, column) => Math.max(...[title, ...cells.map((row) => row[column])].map((text) => text.length)));
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(" | ")} |`;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...cells.map(line)].join("\n");
}

async function writeResults() {
  const { cpu, cores, instructionSet, system, node, commit } = await machine();
  const lines = [
    "# What was tried, and what held",
    "",
    `\`npm run reliability${size === "full" ? " -- --full" : ""}\` wrote this page: commit ${commit}, seed ${seed}, ${((performance.now() - began) / 60_000).toFixed(0)} minutes.`,
    `${cpu}, ${cores} cores, ${instructionSet}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB; ${system}; Node ${node}.`,
    "",
    table,
    "",
    ...chosen.map(({ id, says }) => `- ${id}: ${says}`),
    "",
  ];
  await writeFile(new URL("RESULTS.md", import.meta.url), lines.join("\n"));
}
