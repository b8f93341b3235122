// npm run sanitize -- address | thread | loom, or all that there is for.
//   address  unit tests and kernels under AddressSanitizer, whose library rustup's Rust for Linux has
//   thread   the same under ThreadSanitizer; the standard library is built with it too, from its sources, which rustup brings in
//   loom     models of the thread pool, in every order of their threads' steps

import { join } from "node:path";
import { addSources } from "./rust-components.mjs";
import { finish, root, rustHost, step } from "./steps.mjs";

const CRATES = "-p resnet-ops -p resnet-core";
/** Tests ask for more memory than there is, and want to hear so. */
const OPTIONS = "allocator_may_return_null=1";
const host = rustHost();
const checks = { address, thread, loom };
const asked = process.argv.slice(2);
const unknown = asked.find((name) => !(name in checks));
if (unknown) throw new Error(`expected some of ${Object.keys(checks).join(", ")}, got ${unknown}`);
for (const name of asked.length > 0 ? asked : Object.keys(checks)) await checks[name]();
finish();

async function address() {
  // The compiler's own switch for what is unstable, so that the toolchain of everything else will do.
  const environment = { RUSTC_BOOTSTRAP: "1", RUSTFLAGS: "-Zsanitizer=address", CARGO_TARGET_DIR: join(root, "target/address"), ASAN_OPTIONS: `detect_leaks=0:${OPTIONS}` };
  await tests("AddressSanitizer", `--target ${host}`, environment);
}

async function thread() {
  await step("sources of the standard library", addSources);
  const environment = { RUSTC_BOOTSTRAP: "1", RUSTFLAGS: "-Zsanitizer=thread", CARGO_TARGET_DIR: join(root, "target/thread"), TSAN_OPTIONS: OPTIONS };
  await tests("ThreadSanitizer", `-Zbuild-std --target ${host}`, environment);
}

async function tests(sanitizer, how, environment) {
  // One looks at how many pages are in use, of which a sanitizer has its own.
  const elsewhere = "--skip a_call_that_ends_stops_the_making_of_a_large_slot";
  await step(`unit tests under ${sanitizer}`, `cargo test --locked ${how} ${CRATES} --lib -- ${elsewhere}`, environment);
  await step(`kernels under ${sanitizer}`, `cargo test --locked ${how} ${CRATES} --test ops -- kernels::`, environment);
}

async function loom() {
  await step("models", "cargo test --locked --manifest-path reliability/loom/Cargo.toml --test pool", { CARGO_TARGET_DIR: join(root, "target/loom") });
}
