// npm run audit: whether what the packages bring along has known faults, licences that deny.toml does not list, or another source than the registry.
// The exit code is 1 where something was found, 2 where nothing was, but something could not be checked.

import { spawnSync } from "node:child_process";
import { root } from "./steps.mjs";

const run = (program, ...args) => spawnSync(program, args, { cwd: root, encoding: "utf8", shell: process.platform === "win32", maxBuffer: 1e9 });
const deny = (...args) => run("cargo", "deny", ...args);
const lastLine = ({ stderr, stdout, error }) => error?.message ?? `${stdout}${stderr}`.trim().split("\n").at(-1);

/** Each returns what was found, if something was, or throws why it could not look. */
const checks = {
  "crates: licences, sources, versions": () => {
    tool();
    const { status, stderr } = deny("--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources");
    const twice = [...stderr.matchAll(/duplicate entries for crate '(.+?)'/g)].map(([, name]) => name);
    if (twice.length > 0) console.log(`in several versions: ${twice.join(", ")}`);
    return status === 0 ? undefined : stderr;
  },
  "crates: known faults": () => {
    tool();
    const fetched = deny("fetch", "db");
    if (fetched.status !== 0) throw new Error(`the database of advisories cannot be had: ${lastLine(fetched)}`);
    const { status, stderr } = deny("--locked", "check", "--disable-fetch", "advisories");
    return status === 0 ? undefined : stderr;
  },
  "npm packages: known faults": () => {
    const audit = run("npm", "audit", "--omit=dev", "--json");
    const { vulnerabilities, message } = read(audit.stdout) ?? {};
    if (!vulnerabilities) throw new Error(`the registry does not tell: ${message ?? lastLine(audit)}`);
    const found = Object.values(vulnerabilities).map(({ name, severity, range }) => `${name} ${range}: ${severity}`);
    return found.length === 0 ? undefined : found.join("\n");
  },
};

function tool() {
  if (deny("--version").status !== 0) throw new Error("there is no cargo-deny: cargo install --locked cargo-deny");
}

function read(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

let [found, unchecked] = [0, 0];
for (const [what, check] of Object.entries(checks)) {
  try {
    const wrong = check();
    if (wrong !== undefined) found += 1;
    console.log(wrong === undefined ? `✓ ${what}` : `✗ ${what}\n${wrong}`);
  } catch (error) {
    unchecked += 1;
    console.log(`NOT CHECKED: ${what}: ${error.message}`);
  }
}
if (found > 0) process.exitCode = 1;
else if (unchecked > 0) process.exitCode = 2;
