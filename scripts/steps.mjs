// Steps of a script: a heading, the command's own output, how long it took. The first step that fails ends the script.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** The repository's root, where commands run. */
export const root = fileURLToPath(new URL("..", import.meta.url));

const bold = (text) => (process.stdout.isTTY && !process.env.NO_COLOR ? `\x1b[1m${text}\x1b[22m` : text);
const began = performance.now();
const since = (time) => `${((performance.now() - time) / 1000).toFixed(1)} s`;
let passed = 0;
const failed = [];

/** Runs a step: a function, or a command with its arguments in one string and what it needs in the environment. */
export async function step(title, run, environment = {}) {
  const start = performance.now();
  const command = typeof run === "string" ? run : undefined;
  console.log(heading(title, command));
  const failure = command ? execute(command, environment) : await run();
  tell(title, since(start), failure);
  if (failed.length > 0) finish();
}

/**
 * Runs lists of steps beside each other: of each a title, a command and what it needs in the environment. Each tells that it begins; what it
 * says is shown when it has ended. After one that fails none begins any more, and what it said comes last, where it is looked for.
 */
export async function beside(...lists) {
  const failures = [];
  await Promise.all(lists.map(async (list) => {
    for (const [title, command, environment] of list) {
      if (failures.length > 0) return;
      const start = performance.now();
      console.log(`… ${title}`);
      const { said, failure } = await overhear(command, environment);
      const took = since(start);
      const show = () => {
        process.stdout.write(`${heading(title, command)}\n${said}`);
        tell(title, took, failure);
      };
      if (failure) failures.push(show);
      else show();
    }
  }));
  for (const show of failures) show();
  if (failures.length > 0) finish();
}

const heading = (title, command) => `\n${bold(`▸ ${title}`)}${command ? `: ${command}` : ""}`;

function tell(title, took, failure) {
  if (failure) failed.push(title);
  else passed += 1;
  console.log(failure ? `\n${bold(`✗ ${title} failed`)} after ${took}: ${failure}` : `✓ ${title}, ${took} (${since(began)} in all)`);
}

/** Says how many steps there were; ends the script if one has failed. */
export function finish() {
  console.log(`\n${passed} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed.join(", ")}` : ""}`);
  if (failed.length > 0) process.exit(1);
}

/** Runs a command that shows its own output; returns what went wrong, if something did. */
function execute(command, environment) {
  const [program, ...args] = command.split(" ");
  const { status, signal, error } = start(program, args, "inherit", environment);
  return error?.message ?? wrong(status, signal);
}

/** Runs a command; what it wrote, and what went wrong, if something did. */
async function overhear(command, environment) {
  const [program, ...args] = command.split(" ");
  const child = spawn(program, args, options(["ignore", "pipe", "pipe"], environment));
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const failure = await once(child, "close").then(([status, signal]) => wrong(status, signal), ({ message }) => message);
  return { said, failure };
}

function wrong(status, signal) {
  if (status === 0) return undefined;
  return signal ? `ended by ${signal}` : `exit code ${status}`;
}

/** What a command writes, or undefined if it cannot be run. */
export function output(program, ...args) {
  const { status, stdout } = start(program, args, "pipe");
  return status === 0 ? stdout.trim() : undefined;
}

/** The triple of the platform that rustc is for, which it compiles for unless it is told another; undefined without rustc. */
export function rustHost() {
  return /^host: (.*)$/m.exec(output("rustc", "-vV") ?? "")?.[1];
}

function start(program, args, stdio, environment) {
  return spawnSync(program, args, { ...options(stdio, environment), encoding: "utf8" });
}

function options(stdio, environment = {}) {
  // On Windows npm is a batch file, which only a shell runs.
  return { cwd: root, env: { ...process.env, ...environment }, stdio, shell: process.platform === "win32" };
}
