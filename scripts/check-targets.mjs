// npm run check:targets: the crates, their tests and examples compile for every platform that a package is for, without a warning. Types are
// checked; nothing is linked or run. What of the standard library is not installed is checked from its sources, which are rustup's component
// rust-src; else, on Debian, from its archive (145 MB, to target/source-toolchain).

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compilesFor, rustWithSources } from "./rust-toolchains.mjs";
import { finish, root, rustHost, step } from "./steps.mjs";

const { napi } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
// Tests on Linux with glibc compile C++: npm test has x64's, npm run test:arm64 arm64's.
const targets = napi.targets.filter((target) => target !== rustHost() && !target.endsWith("-linux-gnu"));
const [installed, others] = [true, false].map((has) => targets.filter((target) => compilesFor("rustc", target) === has));
// As the addon is built: on musl a library is linked to it as any other.
const environment = (target) => ({ CARGO_TARGET_DIR: join(root, "target/targets"), RUSTFLAGS: `-D warnings${target.endsWith("-musl") ? " -C target-feature=-crt-static" : ""}` });
const check = "cargo check --locked --workspace --lib --tests --examples";

for (const target of installed) await step(target, `${check} --target ${target}`, environment(target));
if (others.length > 0) {
  let rustc;
  await step("sources of the standard library", () => {
    rustc = rustWithSources(join(root, "target/source-toolchain"));
    console.log(rustc ?? "");
    return rustc ? undefined : `they are missing: rustup component add rust-src, or rustup target add ${others.join(" ")}`;
  });
  // The compiler's own switch for what is unstable, so that the toolchain of everything else will do.
  const unstable = { RUSTC: rustc, RUSTC_BOOTSTRAP: "1" };
  for (const target of others) await step(target, `${check} -Zbuild-std --target ${target}`, { ...environment(target), ...unstable });
}
finish();
