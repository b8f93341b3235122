// Steps of a script: a heading, the command's own output, how long it took. The first step that fails ends the script.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The repository's root, where commands run. */
export const root = fileURLToPath(new URL("..", import.meta.url));

const bold = (text) => (process.stdout.isTTY && !process.env.NO_COLOR ? `\x1b[1m${text}\x1b[22m` : text);
const began = performance.now();
const since = (time) => `${((performance.now() - time) / 1000).toFixed(1)} s`;
let passed = 0;

/** Runs a step: a function, or a command with its arguments in one string and what it needs in the environment. */
export async function step(title, run, environment = {}) {
  const start = performance.now();
  const command = typeof run === "string" ? run : undefined;
  console.log(`\n${bold(`▸ ${title}`)}${command ? `: ${command}` : ""}`);
  const failure = command ? execute(command, environment) : await run();
  if (failure) {
    console.log(`\n${bold(`✗ ${title} failed`)} after ${since(start)}: ${failure}`);
    console.log(`\n${passed} passed, 1 failed`);
    process.exit(1);
  }
  passed += 1;
  console.log(`✓ ${title}, ${since(start)} (${since(began)} in all)`);
}

/** Says how many steps there were. */
export function finish() {
  console.log(`\n${passed} passed, 0 failed`);
}

/** Runs a command that shows its own output; returns what went wrong, if something did. */
function execute(command, environment) {
  const [program, ...args] = command.split(" ");
  const { status, signal, error } = start(program, args, "inherit", environment);
  if (status === 0) return undefined;
  return error?.message ?? (signal ? `ended by ${signal}` : `exit code ${status}`);
}

/** What a command writes, or undefined if it cannot be run. */
export function output(program, ...args) {
  const { status, stdout } = start(program, args, "pipe");
  return status === 0 ? stdout.trim() : undefined;
}

function start(program, args, stdio, environment = {}) {
  // On Windows npm is a batch file, which only a shell runs.
  const env = { ...process.env, ...environment };
  return spawnSync(program, args, { cwd: root, env, stdio, encoding: "utf8", shell: process.platform === "win32" });
}
