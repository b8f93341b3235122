// The libraries in shims/, which are loaded into a process before all others, and how they are told what to do.

import { spawnSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "../benchmark/report.mjs";

const folder = join(root, "out/reliability");

/** What this machine lacks for them. */
export function missingShims() {
  if (process.platform !== "linux") return "it needs Linux";
  return spawnSync("cc", ["--version"]).status === 0 ? undefined : "there is no C compiler, cc";
}

/** A library, built if its source is newer. */
export function shim(name) {
  const source = fileURLToPath(new URL(`shims/${name}.c`, import.meta.url));
  const library = join(folder, `${name}.so`);
  mkdirSync(folder, { recursive: true });
  if (!(statSync(library, { throwIfNoEntry: false })?.mtimeMs > statSync(source).mtimeMs)) {
    const { status, stderr } = spawnSync("cc", ["-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-o", library, source], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${source}: ${stderr}`);
  }
  return library;
}

/** The environment of a process whose system calls on files in a folder are seen; `control` and `log` are files, the first of which is made. */
export function watched(folder, control, log) {
  writeFileSync(control, new Uint8Array(5 * 8));
  return { LD_PRELOAD: shim("files"), FAULTS_FOLDER: folder, FAULTS_CONTROL: control, ...(log && { FAULTS_LOG: log }) };
}
