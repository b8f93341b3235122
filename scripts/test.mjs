// npm test: everything that must pass, in the order of what tells most in the shortest time; what takes longer runs beside each other.
// npm run test:all: also the tests that are ignored because together they take minutes, and those of other platforms. npm run
// test:quick: what to run between two edits, in less than a minute once built.

import { houseRules } from "./check.mjs";
import { setUp } from "./setup.mjs";
import { beside, finish, step } from "./steps.mjs";

const [all, quick] = ["--all", "--quick"].map((option) => process.argv.includes(option));
// Read by vitest too.
if (all) process.env.RESNET_NATIVE_TESTS = "all";
// Those with tests, always together: of one alone the dependencies have other features, and are built anew.
const crates = "-p resnet-ops -p resnet-core";
process.env.RUSTDOCFLAGS = "-D warnings";
await setUp(["fmt", "clippy"]);
await step("house rules", houseRules);
await step("Rust format", "cargo fmt --all --check");
await step("TypeScript lint", "npm run --silent lint");
const types = ["types", "npm run --silent typecheck"];
if (quick) {
  await step(...types);
  await step("Rust unit tests", `cargo test --locked ${crates} --lib`);
  await step("Networks", `cargo test --locked ${crates} --test networks -- d2l_resnet18 d2l_resnext18 d2l_cifar --skip every_kernel`);
  await step("TypeScript tests", "npx vitest run layers types optimizers options blocks");
} else {
  // Networks come and go: glibc is to keep what is freed, as memory from the system takes longer to touch than to compute with.
  const keeping = { MALLOC_ARENA_MAX: "1", MALLOC_MMAP_MAX_: "0", MALLOC_TRIM_THRESHOLD_: `${2 ** 40}` };
  const rust = [
    ["Rust lint", "cargo clippy --locked --workspace --lib --tests --examples -- -D warnings"],
    ["Rust docs", "cargo doc --locked --workspace --no-deps"],
    ["Rust tests", `cargo test --locked ${crates}${all ? " -- --include-ignored" : ""}`, keeping],
    ...(all ? [["other platforms' types", "npm run --silent check:targets -- --optional --all"]] : []),
  ];
  // Its tests wait for programs that they start, and the packages for a registry.
  const typescript = [
    types,
    ["TypeScript docs", "npm run --silent docs"],
    ["TypeScript tests", "npm run --silent test:ts"],
    ["licences", "npm run --silent notices"],
    ["packages", "node scripts/packages.mjs"],
    ...(all ? [["arm64", "npm run --silent test:arm64 -- --optional"], ["other platforms' packages", "npm run --silent test:platforms -- --optional"]] : []),
  ];
  await beside(rust, typescript);
}
finish();
