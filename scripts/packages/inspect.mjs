// What must hold of packed tarballs before anybody installs them.

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parseTriple } from "@napi-rs/cli";
import { importsOf } from "../imports.mjs";
import { root } from "../steps.mjs";
import { neededGlibc } from "./glibc.mjs";
import { CUDA, CUDA_TARGET, MADE } from "./names.mjs";
import { folder } from "./stage.mjs";

/** Bytes of a packed package. */
const LARGEST = 15e6;
/** What a released addon for glibc may ask for. */
const GLIBC = [2, 17];

const tar = (...args) => execFileSync("tar", args, { cwd: folder, encoding: "utf8" });

/** The package.json in a tarball. */
export function manifestOf(tarball) {
  return JSON.parse(execFileSync("tar", ["-xOzf", basename(tarball), "package/package.json"], { cwd: dirname(tarball), encoding: "utf8" }));
}

/**
 * Returns what is wrong with tarballs that `stage` made, if something is; shows their sizes. Those of `released` platforms must run on
 * old systems; what was built here is for this one.
 */
export function inspect(tarballs, released = () => false) {
  const packages = tarballs.map((tarball) => ({ tarball, manifest: manifestOf(tarball) }));
  const { manifest: main, tarball } = packages.at(-1);
  const platforms = packages.slice(0, -1);
  const wrong = [...versions(main), ...platforms.flatMap((each) => platform(each, main, released))];
  const expect = (holds, text) => holds || wrong.push(`${main.name}: ${text}`);

  // The list is the source's, so that no package is forgotten on the way.
  const targets = JSON.parse(read("package.json")).napi.targets.map((triple) => parseTriple(triple).platformArchABI);
  const wanted = Object.fromEntries(targets.map((target) => [`${main.name}-${target}`, main.version]));
  const named = main.optionalDependencies ?? {};
  for (const name of Object.keys(wanted)) {
    expect(named[name] === wanted[name], `optionalDependencies has ${name} ${named[name]}, not ${wanted[name]}`);
    expect(platforms.some(({ manifest }) => manifest.name === name), `there is no tarball of ${name}`);
  }
  expect(Object.keys(named).every((name) => name in wanted), "optionalDependencies has other packages than napi.targets");
  const files = tar("-tzf", basename(tarball)).trim().split("\n");
  expect(!files.some((name) => name.endsWith(".node")), "it has an addon, which belongs to the platforms' packages");

  for (const name of bundled()) wrong.push(`${main.name}: ${name} is in a bundle; build:ts names it as external`);

  for (const { tarball, manifest } of packages) {
    const { size } = statSync(tarball);
    console.log(`${(size / 1e6).toFixed(2).padStart(6)} MB  ${manifest.name} ${manifest.version}`);
    if (size > LARGEST) wrong.push(`${manifest.name}: ${size} bytes packed, at most ${LARGEST}`);
    const hook = ["preinstall", "install", "postinstall"].find((script) => manifest.scripts?.[script]);
    if (hook) wrong.push(`${manifest.name}: it has a script for ${hook}`);
  }
  wrong.push(...lint("publint", "publint", "run", tarball, "--strict"));
  // ESM alone, which require() reads from Node 20.19 on.
  wrong.push(...lint("attw", "@arethetypeswrong/cli", tarball, "--profile", "esm-only"));
  return wrong.length > 0 ? `\n${wrong.join("\n")}` : undefined;
}

const read = (file) => readFileSync(join(root, file), "utf8");

/** One version in every place that has one. */
function versions({ name, version, peerDependencies }) {
  const [, crates] = /^version = "(.*)"/m.exec(read("Cargo.toml"));
  const places = { "Cargo.toml": crates, "peerDependencies of resnet-native-cuda13": peerDependencies[`${name}-cuda13`] };
  const differing = Object.entries(places).filter(([, found]) => found !== version);
  return differing.map(([place, found]) => `${place}: ${found}, where package.json has ${version}`);
}

/** A platform's package: chosen on its platform alone, and its addon is inside and asks for no newer glibc than promised. */
function platform({ manifest, tarball }, main, released) {
  const { name, version, os, cpu, libc, main: addon } = manifest;
  const suffix = name.slice(main.name.length + 1);
  const [system, arch, abi] = (suffix === CUDA ? CUDA_TARGET : suffix).split("-");
  const chosen = [system, arch, { gnu: "glibc", musl: "musl" }[abi]].join();
  const wrong = [];
  if (version !== main.version) wrong.push(`${name}: version ${version}, where ${main.name} has ${main.version}`);
  if ([os, cpu, libc].join() !== chosen) wrong.push(`${name}: it is for ${[os, cpu, libc].join()}, not ${chosen}`);
  const files = tar("-tzf", basename(tarball)).split("\n");
  const lacking = [addon, "LICENSE", ...Object.values(MADE)].filter((file) => !files.includes(`package/${file}`));
  wrong.push(...lacking.map((file) => `${name}: ${file} is not in it`));
  wrong.push(...contents(suffix, addon).map((text) => `${name}: ${text}`));
  if (abi === "gnu" && released(suffix)) {
    const needed = neededGlibc(join(folder, "npm", suffix, addon));
    if (needed[0] > GLIBC[0] || needed[1] > GLIBC[1]) wrong.push(`${name}: it needs glibc ${needed.join(".")}, not ${GLIBC.join(".")}`);
  }
  return wrong;
}

/** What is wrong with what a package says is in its addon: it is of this very file, and the notices name all of it. */
function contents(suffix, addon) {
  const read = (file) => readFileSync(join(folder, "npm", suffix, file), "utf8");
  const { metadata, components } = JSON.parse(read(MADE["cdx.json"]));
  const [file] = metadata.component.components;
  const digest = createHash("sha256").update(readFileSync(join(folder, "npm", suffix, addon))).digest("hex");
  if (file.hashes[0].content !== digest) return [`${MADE["cdx.json"]} is of another ${addon}: npm run notices`];
  const notices = read(MADE["notices.txt"]);
  const unnamed = components.filter(({ name, version }) => name !== "std" && !notices.includes(`\n${name} ${version} | `));
  return unnamed.map(({ name }) => `${MADE["notices.txt"]} does not name ${name}`);
}

/** Packages that the sources import and a bundle has taken in, whose licences would have to come with it. */
function bundled() {
  const texts = (below, ending) => readdirSync(below, { recursive: true }).filter((file) => file.endsWith(ending)).map((file) => [file, readFileSync(join(below, file), "utf8")]);
  const imported = (files) => new Set(files.flatMap(([file, text]) => importsOf(file, text)).map(({ path }) => path).filter((path) => !path.startsWith("node:")));
  const left = imported(texts(join(folder, "package", "dist"), ".js"));
  return [...imported(texts(join(root, "ts"), ".ts"))].filter((path) => !path.endsWith(".ts") && !left.has(path));
}

function lint(command, name, ...args) {
  const { bin } = JSON.parse(read(`node_modules/${name}/package.json`));
  const script = join(root, "node_modules", name, typeof bin === "string" ? bin : bin[command]);
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
  return status === 0 ? [] : [`${command}: ${stdout}${stderr}`];
}
