// Which crates are linked into an addon, with the texts of their licences. cargo-about knows more, but takes minutes to install, and here every
// test of the packages needs it.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../steps.mjs";

const cargo = (...args) => execFileSync("cargo", args, { cwd: root, encoding: "utf8", maxBuffer: 1e9, stdio: ["ignore", "pipe", "inherit"] });

/** The crates of others that are linked for a target, such as `x86_64-unknown-linux-gnu`, with features of resnet-napi: nothing that only a build or tests need. */
export function linked(target, features) {
  const chosen = ["--locked", "--features", features.map((feature) => `resnet-napi/${feature}`).join()];
  const tree = cargo("tree", ...chosen, "--package", "resnet-napi", "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}");
  const names = new Set(tree.split("\n").map((line) => line.split(" ", 2).join(" ")));
  const { packages } = JSON.parse(cargo("metadata", ...chosen, "--filter-platform", target, "--format-version", "1"));
  const found = packages.filter(({ name, version, source }) => source !== null && names.has(`${name} v${version}`));
  const own = packages.filter(({ source }) => source === null);
  const lost = [...names].filter((name) => name !== "" && ![...found, ...own].some((each) => name === `${each.name} v${each.version}`));
  if (lost.length > 0) throw new Error(`cargo tree has ${lost.join(", ")}, and cargo metadata has not`);
  return licensed(found, allowedLicences()).toSorted((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

/** The licences on deny.toml's list. */
export function allowedLicences() {
  const [, list] = /^allow = \[(.*?)^\]/ms.exec(readFileSync(join(root, "deny.toml"), "utf8"));
  return [...list.matchAll(/^\s*"(.+?)"/gm)].map(([, name]) => name);
}

/** Packages of `cargo metadata` as crates with the texts of their licences. Refuses one whose licence is not allowed, or whose text is nowhere. */
export function licensed(packages, allowed) {
  return packages.map((found) => {
    const { name, version, repository } = found;
    // As it was written before SPDX had expressions.
    const licence = found.license?.replaceAll(/ ?\/ ?/g, " OR ");
    if (!isAllowed(licence, allowed)) throw new Error(`${name} ${version}: its licence, ${licence}, is not on the list in deny.toml`);
    return { name, version, repository, licence, texts: textsOf(found) };
  });
}

/** Whether an SPDX expression leaves a choice whose licences are all allowed. One with brackets is not taken apart, and so refused. */
function isAllowed(expression = "(none)", allowed) {
  const choices = expression.split(" OR ").map((choice) => choice.split(" AND "));
  return !/[()]/.test(expression) && choices.some((choice) => choice.every((licence) => allowed.includes(licence)));
}

/** What a crate has in its own folder; of one under MIT that carries none, the licence with its authors. */
function textsOf({ name, version, license, license_file: named, authors, manifest_path: manifest }) {
  const folder = dirname(manifest);
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile() && /^((un)?licen[cs]e|copying|copyright|notice|authors)/i.test(entry.name));
  const paths = new Set(files.map((file) => join(folder, file.name)));
  if (named && existsSync(join(folder, named))) paths.add(join(folder, named));
  if (paths.size > 0) return [...paths].map((path) => readFileSync(path, "utf8").trim());
  if (license !== "MIT" || authors.length === 0) throw new Error(`${name} ${version}: expected a file with its licence`);
  return [readFileSync(join(root, "LICENSE"), "utf8").replace(/^Copyright .*$/m, `Copyright (c) ${authors.join(", ")}`).trim()];
}
