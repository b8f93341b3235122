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

/** The environment of a process that has a library loaded; `control` is a file by which it is told what to do, and is made. */
export function shimmed(name, control) {
  writeFileSync(control, new Uint8Array(5 * 8));
  return { LD_PRELOAD: shim(name), FAULTS_CONTROL: control };
}

/** That of one whose system calls on files in a folder are seen, and written down in the file `log`. */
export function watched(folder, control, log) {
  return { ...shimmed("files", control), FAULTS_FOLDER: folder, ...(log && { FAULTS_LOG: log }) };
}
