// What builds for arm64 on another machine, runs it and looks at it: Rust's standard library for arm64, GCC for arm64, QEMU and
// LLVM's models of processors.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { addLibraries } from "../rust-components.mjs";
import { output } from "../steps.mjs";
import { modeller } from "./model.mjs";

export const TARGET = "aarch64-unknown-linux-gnu";
const LIBRARIES = "/usr/aarch64-linux-gnu";
const PACKAGES = "gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";

/** The environment of a build and of its tests; or, if something is missing, what it is, with the fix. */
export function toolchain() {
  const missing = [addLibraries([TARGET])].filter(Boolean);
  const tools = ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64"];
  const lacking = tools.filter((tool) => output(tool, "--version") === undefined);
  if (lacking.length > 0) missing.push(`${lacking.join(", ")}: apt-get install ${PACKAGES}`);
  else if (!existsSync(join(LIBRARIES, "lib/libc.so.6"))) missing.push(`arm64's C library in ${LIBRARIES}: apt-get install libc6-dev-arm64-cross`);
  const mca = modeller();
  if (!mca) missing.push("llvm-mca of LLVM 20 or newer: apt-get install llvm-22");
  if (missing.length > 0) return { missing };
  return {
    environment: {
      // With the sizes that a function is made for in its name.
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS: "-Csymbol-mangling-version=v0",
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: tools[0],
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: `qemu-aarch64 -L ${LIBRARIES}`,
    },
    objdump: tools[2],
    mca,
  };
}
