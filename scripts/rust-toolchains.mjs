// Rust compilers with what a check needs: one that is installed, else one from Debian's archive.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output } from "./steps.mjs";

/** Whether a compiler has the standard library of a target. */
export function compilesFor(rustc, target) {
  const folder = rustc && output(rustc, "--print", "target-libdir", "--target", target);
  return Boolean(folder) && existsSync(folder) && readdirSync(folder).some((name) => name.startsWith("libstd-"));
}

/** A compiler that has the sources of its standard library: $RUSTC, the installed one, or Debian's, unpacked to that folder. */
export function rustWithSources(unpacked) {
  const has = (rustc) => {
    const sysroot = rustc && output(rustc, "--print", "sysroot");
    return Boolean(sysroot) && existsSync(join(sysroot, "lib/rustlib/src/rust/library/Cargo.lock"));
  };
  return [process.env.RUSTC, "rustc", join(unpacked, "rustc")].find(has) ?? [debianRust(unpacked, 600, () => ["rust-web-src"])].find(has);
}

/**
 * Has Debian's archive give a compiler and its standard library, and what `more` names of this library, to a folder, with lists of its own:
 * nothing is installed. The compiler's path, if all of that can be had in so many seconds for each request.
 */
export function debianRust(unpacked, seconds, more, architectures = ["amd64"]) {
  if (!/^ID(_LIKE)?=.*debian/m.test(existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "") || process.arch !== "x64") return undefined;
  const [lists, packages, files] = ["lists", "packages", "files"].map((name) => join(unpacked, name));
  for (const folder of [join(lists, "partial"), packages, files]) mkdirSync(folder, { recursive: true });
  const options = [...architectures.map((name) => `APT::Architectures::=${name}`), `Dir::State::Lists=${lists}`, `Dir::Cache=${unpacked}`, "APT::Sandbox::User=root"];
  const words = (list) => list.map((option) => `-o${option}`);
  const apt = (...asked) => spawnSync("apt-get", ["-qq", ...words(options), ...asked], { cwd: packages, stdio: ["ignore", "ignore", "inherit"], timeout: seconds * 1000 });
  if (apt("update").status !== 0) return undefined;
  const needs = (name, pattern) => pattern.exec(spawnSync("apt-cache", [...words(options), "depends", name], { encoding: "utf8" }).stdout)?.[1];
  const library = needs("libstd-rust-web-dev", /Depends: (libstd-rust-web-[\d.]+)/);
  const llvm = library && needs(library, /Depends: (libllvm\d+)/);
  if (!llvm || apt("download", "rustc-web", llvm, library, "libstd-rust-web-dev", ...more(library)).status !== 0) return undefined;
  for (const name of readdirSync(packages)) {
    if (spawnSync("dpkg", ["-x", join(packages, name), files]).status !== 0) return undefined;
  }
  rmSync(packages, { recursive: true });
  const [usr, rustc] = [join(files, "usr"), join(unpacked, "rustc")];
  writeFileSync(rustc, `#!/bin/sh\nLD_LIBRARY_PATH='${usr}/lib/x86_64-linux-gnu' exec '${usr}/bin/rustc' "$@"\n`);
  chmodSync(rustc, 0o755);
  return rustc;
}
