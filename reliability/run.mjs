// npm run reliability [-- P5 P9] [-- --tenth | --full] [--only NAME] [--seed N] [--trial N] [--keep]
//
//   P5 P9        these promises alone, else all
//   --tenth      a tenth of what is usual, a minute or two; --full is hours
//   --only NAME  experiments whose name has this in it
//   --seed N     repeats a run's random numbers; --trial N, of an experiment, only this trial
//   --keep       RESULTS.md gets each experiment's row, in the usual size or the full one
//
// A table of what was tried and what held is printed. Exit code 1 if anything fell short, each with the command that repeats it.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { machine } from "../benchmark/report.mjs";
import { SIZES, Trial } from "./harness.mjs";
import { pageWith, tableOf } from "./results.mjs";

const options = { tenth: { type: "boolean" }, full: { type: "boolean" }, only: { type: "string" }, seed: { type: "string" }, trial: { type: "string" }, keep: { type: "boolean" } };
const { values: given, positionals } = parseArgs({ options, allowPositionals: true });
const size = SIZES.find((size) => given[size]) ?? "usual";
if (given.keep && (size === "tenth" || given.trial !== undefined)) throw new Error("--keep: expected whole experiments in the usual or the full size");
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
  for (const experiment of named) rows.push(rowOf(id, experiment.name, await conduct(id, experiment)));
}
console.log(`\n${tableOf(["promise", "experiment", "tried", "held", "worst figure"], rows)}\nseed ${seed}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
if (given.keep) await keep();
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

function rowOf(promise, experiment, { tried, held, worst }) {
  return { promise, experiment, tried: String(tried), held: held === tried ? String(held) : `**${held}**`, "worst figure": worst };
}

async function keep() {
  const { cpu, cores, instructionSet, node, commit } = await machine();
  const made = { size, seed: String(seed), commit, machine: `${cpu}, ${cores} cores, ${instructionSet}, Node ${node}` };
  const file = new URL("RESULTS.md", import.meta.url);
  await writeFile(file, pageWith(await readFile(file, "utf8").catch(() => ""), rows.map((row) => ({ ...row, ...made })), all));
}
