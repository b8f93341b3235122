// npm run check:targets: the crates, their tests and examples compile for other platforms without a warning, of clippy's either, for one of each
// system. Types are checked; nothing is linked or run. rustup brings in the standard libraries; with --optional, where it cannot, that is said
// and nothing is checked. --all checks every platform that a package is for.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { addLibraries } from "./rust-components.mjs";
import { finish, root, rustHost, step } from "./steps.mjs";

const [optional, all] = ["--optional", "--all"].map((option) => process.argv.includes(option));
/** Both processors, and all that the sources tell apart; of each target the crates that ours depend on take most of the time. */
const SYSTEMS = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin", "aarch64-unknown-linux-musl"];
const { napi } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const targets = (all ? napi.targets : SYSTEMS).filter((target) => target !== rustHost());
// As the addon is built: on musl a library is linked to it as any other.
const environment = (target) => (target.endsWith("-musl") ? { RUSTFLAGS: "-C target-feature=-crt-static" } : {});
// Tests on Linux with glibc compile C++: npm test has x64's, npm run test:arm64 arm64's.
const parts = (target) => (target.endsWith("-linux-gnu") ? "--lib" : "--lib --tests --examples");

let missing;
await step("standard libraries", () => {
  missing = addLibraries(targets);
  if (!missing) return console.log(targets.join(", "));
  if (!optional) return `missing: ${missing}`;
  console.log(`nothing is checked for other platforms, missing: ${missing}`);
  return undefined;
});
if (!missing) for (const target of targets) await step(target, `cargo clippy --locked --workspace ${parts(target)} --target ${target} -- -D warnings`, environment(target));
finish();
