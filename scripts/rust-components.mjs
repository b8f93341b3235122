// What a Rust compiler needs beside itself, which rustup brings in.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { output } from "./steps.mjs";

/** Has rustup bring in the standard libraries for targets; what is missing then, with the fix, if something is. */
export function addLibraries(targets) {
  const lacking = () => targets.filter((target) => {
    const folder = output("rustc", "--print", "target-libdir", "--target", target);
    return !folder || !existsSync(folder) || !readdirSync(folder).some((name) => name.startsWith("libstd-"));
  });
  const wanted = lacking();
  if (wanted.length > 0) output("rustup", "target", "add", ...wanted);
  const left = lacking();
  return left.length > 0 ? `Rust's standard library, which rustup has: rustup target add ${left.join(" ")}` : undefined;
}

/** Has rustup bring in the sources of the standard library; what is missing then, with the fix, if something is. */
export function addSources() {
  const has = () => existsSync(join(output("rustc", "--print", "sysroot") ?? "", "lib/rustlib/src/rust/library/Cargo.lock"));
  if (!has()) output("rustup", "component", "add", "rust-src");
  return has() ? undefined : "the sources of the standard library, which rustup has: rustup component add rust-src";
}
