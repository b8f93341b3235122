// npm run release -- version 0.2.0            a new version in every file that has one, and in the changelog
// npm run release -- pack ADDONS...           the packages of this version, from folders with every platform's addon; inspected
// npm run release -- publish                  what `pack` made, the platforms' packages first
//
// `version` and `publish` only tell what they would do, unless --no-dry-run is given.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { inspect } from "./packages/inspect.mjs";
import { folder, stage } from "./packages/stage.mjs";
import { output, root } from "./steps.mjs";

const SEMVER = /^(\d+)\.(\d+)\.(\d+)(?:-[\w.-]+)?$/;
const read = (file) => readFileSync(join(root, file), "utf8");

function setVersion([version], dryRun) {
  if (!SEMVER.test(version ?? "")) throw new Error(`version: expected one like 0.2.0, got ${version}`);
  const { version: last } = JSON.parse(read("package.json"));
  const day = new Date().toISOString().slice(0, 10);
  const edits = [
    ["Cargo.toml", `\nversion = "${last}"`, `\nversion = "${version}"`],
    ["package.json", `"version": "${last}"`, `"version": "${version}"`],
    ["package.json", `"resnet-native-cuda13": "${last}"`, `"resnet-native-cuda13": "${version}"`],
    ["CHANGELOG.md", "## [Unreleased]\n", `## [Unreleased]\n\n## [${version}] - ${day}\n`],
  ];
  const [, news] = /^## \[Unreleased\]\n(.*?)(?=^## \[|$(?![^]))/ms.exec(read("CHANGELOG.md"));
  if (!/^- /m.test(news)) throw new Error("CHANGELOG.md: nothing is listed under Unreleased");
  for (const [file, from, to] of edits) {
    const text = read(file);
    if (text.split(from).length !== 2) throw new Error(`${file}: expected ${from.trim()} once`);
    console.log(`${file}: ${from.trim()} → ${to.trim().replaceAll("\n", " ")}`);
    if (!dryRun) writeFileSync(join(root, file), text.replace(from, to));
  }
  if (dryRun) return;
  command("cargo", "update", "--workspace", "--offline");
  command("npm", "install", "--package-lock-only", "--ignore-scripts");
}

function packAll(addons) {
  if (addons.length === 0) throw new Error("pack: expected folders with addons");
  const { version, repository } = JSON.parse(read("package.json"));
  if (!read("CHANGELOG.md").includes(`\n## [${version}] - `)) throw new Error(`CHANGELOG.md: there is no ${version}`);
  // npm compares it with the repository that the provenance names.
  if (!repository) throw new Error("package.json: expected a repository: npm pkg set repository=github:OWNER/NAME");
  const wrong = inspect(stage(addons), () => true);
  if (wrong) throw new Error(wrong);
}

/** A platform's package goes first: nobody shall get a main package whose addon is not there yet. */
function publish(dryRun) {
  const { name, version } = JSON.parse(read("package.json"));
  const main = `${name}-${version}.tgz`;
  const platforms = readdirSync(folder).filter((file) => file.endsWith(`-${version}.tgz`) && file !== main);
  for (const file of [...platforms, main]) {
    const spec = `${file.slice(0, -`-${version}.tgz`.length)}@${version}`;
    // So that a release that failed halfway can be run again.
    if (output("npm", "view", spec, "version")) console.log(`${spec} is published`);
    else {
      const tag = version.includes("-") ? "next" : "latest";
      command("npm", "publish", join(folder, file), "--access", "public", "--tag", tag, ...(dryRun ? ["--dry-run"] : []));
    }
  }
}

function command(program, ...args) {
  console.log(`> ${program} ${args.join(" ")}`);
  const { status } = spawnSync(program, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) throw new Error(`${program} ${args[0]} failed`);
}

try {
  const options = { "dry-run": { type: "boolean", default: true } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true, allowNegative: true });
  const [action, ...rest] = positionals;
  const dryRun = values["dry-run"];
  if (action === "version") setVersion(rest, dryRun);
  else if (action === "pack") packAll(rest);
  else if (action === "publish") publish(dryRun);
  else throw new Error(`expected version, pack or publish, got ${action}`);
  if (dryRun && action !== "pack") console.log("That was a dry run; --no-dry-run does it.");
} catch (error) {
  console.error(`release: ${error.message}`);
  process.exitCode = 1;
}
