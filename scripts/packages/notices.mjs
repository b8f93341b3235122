// npm run notices [FOLDER...]   beside every addon of the folders, default native, and of `cuda` below them: the notices of all that is linked into
//                               it, and its bill of materials as CycloneDX. Where it was built, since only there are the crates of its platform.

import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseTriple } from "@napi-rs/cli";
import { output, root } from "../steps.mjs";
import { billOf } from "./bill.mjs";
import { linked } from "./linked.mjs";
import { beside, CUDA, MADE } from "./names.mjs";

/** The notices of an addon: each crate in a line, then each text once, with those whose it is. */
export function noticesOf(addon, crates) {
  const holders = new Map();
  for (const { name, version, texts } of crates) {
    for (const text of texts) {
      const same = text.replaceAll(/\s+/g, " ");
      const held = holders.get(same) ?? holders.set(same, { text, of: [] }).get(same);
      held.of.push(`${name} ${version}`);
    }
  }
  const rows = crates.map(({ name, version, licence, repository }) => [`${name} ${version}`, licence, repository].filter(Boolean).join(" | "));
  const sections = [...holders.values()].map(({ text, of }) => `${"=".repeat(100)}\n${[...new Set(of)].join(", ")}\n\n${text}\n`);
  const head = `${addon} has in it, beside code of its own, Rust's standard library, whose notices are in ${MADE["rust.html"]}, and these crates:`;
  return [head, rows.join("\n"), ...sections].join("\n\n");
}

/** Writes what belongs beside an addon that was built here. */
function describe(addon) {
  const { version, name, napi } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const target = basename(addon).split(".")[1];
  const triple = napi.targets.find((triple) => parseTriple(triple).platformArchABI === target);
  if (!triple) throw new Error(`${addon}: package.json names no such target`);
  const isCuda = basename(dirname(addon)) === "cuda";
  const crates = linked(triple, isCuda ? ["cuda"] : []);
  const rust = join(output("rustc", "--print", "sysroot"), "share/doc/rust/COPYRIGHT-library.html");
  if (!existsSync(rust)) throw new Error(`expected ${rust}, which rustup's toolchains have`);
  copyFileSync(rust, beside(addon, "rust.html"));
  writeFileSync(beside(addon, "notices.txt"), noticesOf(basename(addon), crates));
  const std = { name: "std", version: output("rustc", "--version").split(" ")[1], licence: "MIT OR Apache-2.0" };
  writeFileSync(beside(addon, "cdx.json"), billOf({ name: `${name}-${isCuda ? CUDA : target}`, version, addon: basename(addon), bytes: readFileSync(addon) }, crates, std));
  console.log(`${addon.slice(root.length)}: ${crates.length} crates`);
}

function main(given) {
  const folders = (given.length > 0 ? given : ["native"]).flatMap((folder) => [folder, join(folder, "cuda")]).map((folder) => join(root, folder));
  const addons = folders.filter(existsSync).flatMap((folder) => readdirSync(folder).filter((file) => file.endsWith(".node")).map((file) => join(folder, file)));
  if (addons.length === 0) throw new Error("there is no addon: npm run build:native");
  for (const addon of addons) describe(addon);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    console.error(`notices: ${error.message}`);
    process.exitCode = 1;
  }
}
