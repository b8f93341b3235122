// What builds for arm64 on another machine, runs it and looks at it: a Rust compiler that has arm64's standard library, GCC for arm64, QEMU and
// LLVM's models of processors.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { compilesFor, debianRust } from "../rust-toolchains.mjs";
import { output, root } from "../steps.mjs";
import { modeller } from "./model.mjs";

export const TARGET = "aarch64-unknown-linux-gnu";
/** Where a compiler from Debian's archive, with both standard libraries (145 MB), is unpacked to. */
const unpacked = join(root, "target/arm64-toolchain");
const LIBRARIES = "/usr/aarch64-linux-gnu";
const PACKAGES = "gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";

/** The environment of a build and of its tests; or, if something is missing, what it is, with the fix. */
export function toolchain(seconds) {
  const missing = [];
  const serves = (rustc) => compilesFor(rustc, TARGET);
  const foreign = (library) => [`${library}:arm64`, "libstd-rust-web-dev:arm64"];
  const rustc = [process.env.RUSTC, "rustc", join(unpacked, "rustc")].find(serves) ?? [debianRust(unpacked, seconds, foreign, ["amd64", "arm64"])].find(serves);
  if (!rustc) missing.push(`Rust's standard library for arm64: rustup target add ${TARGET}, or Debian's packages rustc-web and libstd-rust-web-dev:arm64`);
  const tools = ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64"];
  const lacking = tools.filter((tool) => output(tool, "--version") === undefined);
  if (lacking.length > 0) missing.push(`${lacking.join(", ")}: apt-get install ${PACKAGES}`);
  else if (!existsSync(join(LIBRARIES, "lib/libc.so.6"))) missing.push(`arm64's C library in ${LIBRARIES}: apt-get install libc6-dev-arm64-cross`);
  const mca = modeller();
  if (!mca) missing.push("llvm-mca of LLVM 20 or newer: apt-get install llvm-22");
  if (missing.length > 0) return { missing };
  return {
    environment: {
      RUSTC: rustc,
      // With the sizes that a function is made for in its name.
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS: "-Csymbol-mangling-version=v0",
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: tools[0],
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: `qemu-aarch64 -L ${LIBRARIES}`,
    },
    objdump: tools[2],
    mca,
  };
}
