// A promise's experiments are made of trials. A trial starts programs of children/ as processes of their own and looks at how they end: whatever
// a process does to itself, the campaign goes on and tells.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Random } from "./random.mjs";

/** How much is tried: `amount.tenth`, `.usual` and `.full` of an experiment. */
export const SIZES = ["tenth", "usual", "full"];

/** What is kept of a process's output. */
const MOST_LETTERS = 2 ** 24;

/**
 * A promise, for `run.mjs`. Each experiment has a name, its trials, which are a number for each size, a list or a function that gives one, and `run`, which
 * throws where the promise fell short. One that is `alone` measures times, which a trial beside it would change; `missing` tells what a machine lacks for it.
 */
export function promise(id, says, experiments) {
  return { id, says, experiments };
}

/** How a trial falls short, as a line. */
export class FellShort extends Error {}

/** Throws unless it is so. */
export function hold(isSo, otherwise) {
  if (!isSo) throw new FellShort(otherwise);
}

/** One try: its random numbers, its folder, its processes, and what it found. */
export class Trial {
  tried = 0;
  held = 0;
  figures = new Map();
  isSkipped = false;
  #folders = [];
  #running = new Set();

  constructor({ seed, name, index, size, item }) {
    this.random = new Random(seed, name, index);
    this.index = index;
    this.size = size;
    this.item = item;
  }

  /** The one of three amounts that is this size's. */
  amount(amounts) {
    return amounts[SIZES.indexOf(this.size)];
  }

  /** Counts what was tried within this trial, where that is more than itself. */
  count(tried, held = tried) {
    this.tried += tried;
    this.held += held;
  }

  /** Leaves this trial out, in a size that has no time for it. */
  skip() {
    this.isSkipped = true;
  }

  /** Takes note of a number, of which the largest is told. */
  figure(name, value, unit = "") {
    const { value: worst = -Infinity } = this.figures.get(name) ?? {};
    if (value > worst) this.figures.set(name, { value, unit });
  }

  /** A folder of its own; `where` is for those that must be in memory. */
  async folder(where = tmpdir()) {
    const folder = await mkdtemp(join(where, "resnet-native-reliability-"));
    this.#folders.push(folder);
    return folder;
  }

  /** Runs a program to its end; what it last printed is `result`. See {@link Process}. */
  async run(program, data, options) {
    return this.start(program, data, options).ended();
  }

  /** Starts a program of children/, which finds `data` by `children/given.mjs`. */
  start(program, data, { environment = {}, node = [], ...options } = {}) {
    const file = fileURLToPath(new URL(`children/${program}.mjs`, import.meta.url));
    const given = { ...process.env, RELIABILITY: JSON.stringify(data ?? {}), ...environment };
    return this.command(process.execPath, [...node, file], { environment: given, ...options });
  }

  /** Starts any command. */
  command(command, args, options) {
    const started = new Process(command, args, options);
    this.#running.add(started);
    return started;
  }

  /** Ends what still runs, and removes the folders. */
  async end() {
    for (const running of this.#running) running.kill("SIGKILL");
    // What a killed process was writing may come while its folder goes.
    for (const folder of this.#folders) await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** A process that was started: what it prints, how it ends. */
export class Process {
  #child;
  #exit;
  #lines = [];
  #waiting = [];
  #stdout = "";
  #stderr = "";
  #isLate = false;

  constructor(command, args, { environment = process.env, cwd, timeout = 120_000, stdin = "ignore", stdout = "pipe" } = {}) {
    const began = performance.now();
    this.#child = spawn(command, args, { env: environment, cwd, stdio: [stdin, stdout, "pipe"] });
    const late = setTimeout(() => {
      this.#isLate = true;
      this.#child.kill("SIGKILL");
    }, timeout);
    if (this.#child.stdout) createInterface({ input: this.#child.stdout }).on("line", (line) => this.#hear(line));
    this.#child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#stderr = (this.#stderr + text).slice(-MOST_LETTERS);
    });
    this.#exit = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve({ code: null, signal: null, error }));
      this.#child.on("close", (code, signal) => resolve({ code, signal }));
    }).then((exit) => {
      clearTimeout(late);
      for (const { resolve } of this.#waiting.splice(0)) resolve(undefined);
      return { ...exit, stdout: this.#stdout, stderr: this.#stderr, isLate: this.#isLate, ms: performance.now() - began };
    });
  }

  get pid() {
    return this.#child.pid;
  }

  kill(signal) {
    this.#child.kill(signal);
  }

  /** The next line that is printed; none when the process has ended. */
  async line() {
    if (this.#lines.length > 0) return this.#lines.shift();
    const next = Promise.withResolvers?.() ?? withResolvers();
    this.#waiting.push(next);
    return Promise.race([next.promise, this.#exit.then(() => this.#lines.shift())]);
  }

  /** All lines that were printed and not taken. */
  lines() {
    return this.#lines.splice(0);
  }

  /**
   * Its end, which must be the one that is expected: an exit code, or a signal that it was sent. What it prints last is its `result`, if that is
   * JSON. A panic's message falls short whatever the end.
   */
  async ended({ code = 0, signal = null, isSilent = true } = {}) {
    const end = await this.#exit;
    const told = () => `; stderr: ${end.stderr.trim().slice(-2000) || "nothing"}`;
    if (end.error) throw end.error;
    hold(!end.isLate, `hangs: killed after ${(end.ms / 1000).toFixed(0)} s${told()}`);
    hold(!/panicked at|AddressSanitizer|memory allocation of/.test(end.stderr), `panics${told()}`);
    const is = end.signal === null ? `exit code ${end.code}` : `signal ${end.signal}`;
    const wanted = signal === null ? `exit code ${code}` : `signal ${signal}`;
    hold(is === wanted, `ends with ${is}, not with ${wanted}${told()}`);
    hold(!isSilent || end.stderr === "", `writes to stderr: ${end.stderr.trim().slice(-2000)}`);
    return { ...end, result: resultOf(end.stdout) };
  }

  #hear(line) {
    this.#stdout = `${this.#stdout}${line}\n`.slice(-MOST_LETTERS);
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve(line);
    else this.#lines.push(line);
  }
}

function resultOf(stdout) {
  try {
    return JSON.parse(stdout.trimEnd().split("\n").at(-1));
  } catch {
    return undefined;
  }
}

function withResolvers() {
  const all = {};
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
}

/** The names in an object of this name in a program of children/, which a trial can be made for each of without running it. */
export function namesIn(program, object) {
  const source = readFileSync(new URL(`children/${program}.mjs`, import.meta.url), "utf8");
  const entries = source.split(`\nconst ${object} = {`)[1].split("\n};")[0];
  return [...entries.matchAll(/^ {2}(?:"([^"]+)"|(\w+)): /gm)].map(([, quoted, plain]) => quoted ?? plain);
}

/** The value below which a share of all lies. */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
