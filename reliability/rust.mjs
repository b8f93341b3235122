// Promises that Rust's tests keep, whose own numbers are in them: they are run by cargo, and counted.

import { spawnSync } from "node:child_process";
import { root } from "../benchmark/report.mjs";
import { hold } from "./harness.mjs";

/** What this machine lacks for them. */
export function missingRust() {
  return spawnSync("cargo", ["--version"]).status === 0 ? undefined : "there is no cargo";
}

/** Runs the tests of a target whose names have one of these filters in them; in full also those that take minutes. */
export async function rustTests(trial, target, filters) {
  const all = trial.size === "full";
  const args = ["test", "--locked", "-p", "resnet-ops", "-p", "resnet-core", ...target, "--", ...filters, ...(all ? ["--include-ignored"] : [])];
  // Networks come and go: glibc is to keep what is freed.
  const environment = { ...process.env, MALLOC_ARENA_MAX: "1", MALLOC_MMAP_MAX_: "0", MALLOC_TRIM_THRESHOLD_: `${2 ** 40}` };
  const { stdout, code } = await trial.command("cargo", args, { cwd: root, environment, timeout: 7_200_000 }).ended({ code: 0, isSilent: false }).catch((error) => ({ stdout: "", code: error }));
  const [passed, failed] = ["passed", "failed"].map((word) => [...stdout.matchAll(new RegExp(`(\\d+) ${word}`, "g"))].reduce((sum, [, count]) => sum + Number(count), 0));
  trial.count(Math.max(1, passed + failed), passed);
  hold(code === 0 && failed === 0 && passed > 0, `cargo ${args.join(" ")}: ${code === 0 ? `${passed} passed` : code.message}`);
}
