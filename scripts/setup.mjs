// What `npm run demo` and `npm test` begin with: is all there that a build needs, the npm packages, the build.

import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { output, root, step } from "./steps.mjs";

const read = (file) => readFileSync(join(root, file), "utf8");

/** Installs and builds what is not up to date; `tools` names cargo's commands that are needed beside `build`. */
export async function setUp(tools = []) {
  await step("requirements", () => requirements(tools));
  if (!installed()) await step("npm packages", "npm ci --no-audit --no-fund");
  await step("native addon", "npm run --silent build:native");
  await step("TypeScript", "npm run --silent build:ts");
}

/** Says what is missing, with the fix. */
function requirements(tools) {
  // A fresh rustup is on the path of new shells only.
  process.env.PATH += delimiter + join(homedir(), ".cargo", "bin");
  const node = JSON.parse(read("package.json")).engines.node.replace(">=", "");
  const rust = /rust-version = "(.*)"/.exec(read("Cargo.toml"))[1];
  const rustc = output("rustc", "--version")?.split(" ")[1];
  const missing = [];
  if (!isAtLeast(process.versions.node, node)) {
    missing.push(`Node ${node} or newer (this is ${process.versions.node}): https://nodejs.org/en/download`);
  }
  if (!rustc || !output("cargo", "--version")) {
    missing.push(`Rust ${rust} or newer: curl -sSf https://sh.rustup.rs | sh (Windows: https://rustup.rs)`);
  } else if (!isAtLeast(rustc, rust)) {
    missing.push(`Rust ${rust} or newer (this is ${rustc}): rustup update stable`);
  } else {
    const lacking = tools.filter((tool) => !output("cargo", tool, "--version"));
    if (lacking.length > 0) missing.push(`cargo ${lacking.join(" and ")}: rustup component add rustfmt clippy`);
  }
  // On Windows rustup sees to the linker.
  if (process.platform !== "win32" && !output("cc", "--version")) missing.push(`a C compiler, to link with: ${compiler()}`);
  if (missing.length > 0) return `missing\n${missing.map((line) => `  - ${line}`).join("\n")}`;
  console.log(`Node ${process.versions.node}, Rust ${rustc}`);
}

function compiler() {
  if (process.platform === "darwin") return "xcode-select --install";
  return "apt-get install build-essential (Debian, Ubuntu), dnf install gcc (Fedora), apk add build-base (Alpine)";
}

function isAtLeast(version, least) {
  const [a, b] = [version, least].map((text) => text.split(".").map((part) => Number.parseInt(part, 10)));
  const differing = b.findIndex((part, i) => a[i] !== part);
  return differing < 0 || a[differing] > b[differing];
}

/** Whether npm has installed since the lock file changed. */
function installed() {
  const time = (file) => statSync(join(root, file)).mtimeMs;
  const record = "node_modules/.package-lock.json";
  return existsSync(join(root, record)) && time(record) >= time("package-lock.json");
}
