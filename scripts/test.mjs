// npm test: everything that must pass, in the order of what tells most in the shortest time. npm run test:all: with every
// network where `npm test` has one of each kind.

import { houseRules } from "./check.mjs";
import { setUp } from "./setup.mjs";
import { finish, step } from "./steps.mjs";

if (process.argv.includes("--all")) process.env.RESNET_NATIVE_TESTS = "all";
process.env.RUSTDOCFLAGS = "-D warnings";
await setUp(["fmt", "clippy"]);
await step("house rules", houseRules);
await step("Rust format", "cargo fmt --all --check");
await step("types", "npm run --silent typecheck");
await step("TypeScript lint", "npm run --silent lint");
await step("TypeScript docs", "npm run --silent docs");
await step("Rust lint", "cargo clippy --locked --workspace --lib --tests --examples -- -D warnings");
await step("Rust docs", "cargo doc --locked --workspace --no-deps");
await step("Rust tests", "cargo test --locked --workspace");
await step("TypeScript tests", "npm run --silent test:ts");
await step("packages", "node scripts/packages.mjs");
finish();
