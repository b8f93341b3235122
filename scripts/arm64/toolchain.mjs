// What builds for arm64 on another machine and runs it: a Rust compiler that has arm64's standard library, GCC for arm64, QEMU.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output, root } from "../steps.mjs";

export const TARGET = "aarch64-unknown-linux-gnu";
/** Where a compiler from Debian's archive is unpacked to. */
const unpacked = join(root, "target/arm64-toolchain");
const LIBRARIES = "/usr/aarch64-linux-gnu";
const PACKAGES = "gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";

/** The environment of a build and of its tests; or, if something is missing, what it is, with the fix. */
export function toolchain(seconds) {
  const missing = [];
  const rustc = [process.env.RUSTC, "rustc", join(unpacked, "rustc")].find(serves) ?? (fetched(seconds) ? join(unpacked, "rustc") : undefined);
  if (!rustc) missing.push(`Rust's standard library for arm64: rustup target add ${TARGET}, or Debian's packages rustc-web and libstd-rust-web-dev:arm64`);
  const tools = ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64"];
  const lacking = tools.filter((tool) => output(tool, "--version") === undefined);
  if (lacking.length > 0) missing.push(`${lacking.join(", ")}: apt-get install ${PACKAGES}`);
  else if (!existsSync(join(LIBRARIES, "lib/libc.so.6"))) missing.push(`arm64's C library in ${LIBRARIES}: apt-get install libc6-dev-arm64-cross`);
  if (missing.length > 0) return { missing };
  return {
    environment: {
      RUSTC: rustc,
      CARGO_TARGET_DIR: join(root, "target/arm64"),
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: tools[0],
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: `qemu-aarch64 -L ${LIBRARIES}`,
    },
    objdump: tools[2],
  };
}

/** Whether it compiles for arm64. */
function serves(rustc) {
  const folder = rustc && output(rustc, "--print", "target-libdir", "--target", TARGET);
  return Boolean(folder) && existsSync(folder) && readdirSync(folder).some((name) => name.startsWith("libstd-"));
}

/** Has Debian's archive give a compiler and both standard libraries (145 MB), with lists of its own: nothing is installed. */
function fetched(seconds) {
  if (!/^ID(_LIKE)?=.*debian/m.test(existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "") || process.arch !== "x64") return false;
  const [lists, packages, files] = ["lists", "packages", "files"].map((name) => join(unpacked, name));
  for (const folder of [join(lists, "partial"), packages, files]) mkdirSync(folder, { recursive: true });
  const options = ["APT::Architectures::=amd64", "APT::Architectures::=arm64", `Dir::State::Lists=${lists}`, `Dir::Cache=${unpacked}`, "APT::Sandbox::User=root"];
  const words = (list) => list.map((option) => `-o${option}`);
  const apt = (...asked) => spawnSync("apt-get", ["-qq", ...words(options), ...asked], { cwd: packages, stdio: ["ignore", "ignore", "inherit"], timeout: seconds * 1000 });
  if (apt("update").status !== 0) return false;
  const needs = (name, pattern) => pattern.exec(spawnSync("apt-cache", [...words(options), "depends", name], { encoding: "utf8" }).stdout)?.[1];
  const library = needs("libstd-rust-web-dev", /Depends: (libstd-rust-web-[\d.]+)/);
  const llvm = library && needs(library, /Depends: (libllvm\d+)/);
  if (!llvm) return false;
  const names = ["rustc-web", llvm, library, "libstd-rust-web-dev", `${library}:arm64`, "libstd-rust-web-dev:arm64"];
  if (apt("download", ...names).status !== 0) return false;
  for (const name of readdirSync(packages)) {
    if (spawnSync("dpkg", ["-x", join(packages, name), files]).status !== 0) return false;
  }
  rmSync(packages, { recursive: true });
  const usr = join(files, "usr");
  writeFileSync(join(unpacked, "rustc"), `#!/bin/sh\nLD_LIBRARY_PATH='${usr}/lib/x86_64-linux-gnu' exec '${usr}/bin/rustc' "$@"\n`);
  chmodSync(join(unpacked, "rustc"), 0o755);
  return serves(join(unpacked, "rustc"));
}
