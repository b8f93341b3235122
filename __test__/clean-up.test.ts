import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { until } from "./program.js";

const library = JSON.stringify(new URL("../scripts/clean-up.mjs", import.meta.url).href);

test.for([
  ["", null, 0],
  ['throw new Error("an error");', null, 1],
  ["setInterval(() => {}, 1000);", "SIGINT", 130],
  ["setInterval(() => {}, 1000);", "SIGTERM", 143],
  ["setInterval(() => {}, 1000);", "SIGHUP", 129],
] as const)("a script cleans up at its end: %s %s", async ([then, signal, expected]) => {
  const program = `import { cleanUpAtExit } from ${library}; import { writeSync } from "node:fs"; cleanUpAtExit(() => writeSync(1, "cleaned\\n")); writeSync(1, "begun\\n"); ${then}`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(child, "exit");
  const seen = await until(child, /begun/);
  if (signal) child.kill(signal);
  const [rest, [code]] = await Promise.all([text(child.stdout), ended]);
  expect(code).toBe(expected);
  expect(seen + rest).toBe("begun\ncleaned\n");
});
