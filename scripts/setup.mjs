// What `npm run demo` and `npm test` begin with: is all there that a build needs, the npm packages, the build.

import { existsSync, lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { output, root, step } from "./steps.mjs";

const read = (file) => readFileSync(join(root, file), "utf8");

/** Installs and builds what is not up to date; `tools` names cargo's commands that are needed beside `build`. */
export async function setUp(tools = []) {
  await step("requirements", () => requirements(tools));
  // Of a link npm would empty the folder that it leads to.
  const isLink = lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink();
  if (!isLink) await make("npm packages", "npm ci --no-audit --no-fund", "node_modules/.package-lock.json", "package-lock.json");
  // Cargo alone would do, but napi makes it build the addon anew the second time.
  await make("native addon", "npm run --silent build:native", addon(), "Cargo.toml", "Cargo.lock", "crates");
  await make("TypeScript", "npm run --silent build:ts", "dist/index.js", "tsconfig.json", "ts", "native/index.d.ts");
}

/** The addon's file, named after the platform; any name before it has been built. */
function addon() {
  const found = existsSync(join(root, "native")) && readdirSync(join(root, "native")).find((name) => name.endsWith(".node"));
  return `native/${found || "none"}`;
}

/** A step that is left out if no input is newer than the output. */
async function make(title, command, output, ...inputs) {
  const time = (path) => newest(join(root, path));
  const current = existsSync(join(root, output)) && time(output) >= Math.max(...inputs.map(time));
  await step(title, current ? () => console.log("up to date") : command);
}

/** When a file, or something in a folder, was last changed. */
function newest(path) {
  const stats = statSync(path);
  const within = stats.isDirectory() ? readdirSync(path).map((name) => newest(join(path, name))) : [];
  return Math.max(stats.mtimeMs, ...within);
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
  // CUDA's kernels are tested as C++.
  if (tools.length > 0 && process.platform === "linux" && !output("c++", "--version")) {
    missing.push(`a C++ compiler, for the tests: ${compiler()}`);
  }
  if (missing.length > 0) return `missing\n${missing.map((line) => `  - ${line}`).join("\n")}`;
  console.log(`Node ${process.versions.node}, Rust ${rustc}`);
}

function compiler() {
  if (process.platform === "darwin") return "xcode-select --install";
  return "apt-get install build-essential (Debian, Ubuntu), dnf install gcc-c++ (Fedora), apk add build-base (Alpine)";
}

function isAtLeast(version, least) {
  const [a, b] = [version, least].map((text) => text.split(".").map((part) => Number.parseInt(part, 10)));
  const differing = b.findIndex((part, i) => a[i] !== part);
  return differing < 0 || a[differing] > b[differing];
}
