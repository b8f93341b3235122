// The packages as they are published: folders and tarballs in out/packages. The addons go into packages of their own, one
// for each machine, which the main package names as optional dependencies: an installer takes the one that fits.

import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { root } from "../steps.mjs";
import { billOf } from "./bill.mjs";
import { beside, CUDA, CUDA_TARGET, MADE } from "./names.mjs";

/** Where the tarballs are. */
export const folder = join(root, "out", "packages");

const shell = process.platform === "win32";
const npm = (cwd, ...args) => execFileSync("npm", args, { cwd, shell, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" });

/**
 * Packs all packages, the main one last; `addons` are folders with the built addons, CUDA's in `cuda` below one of them. A package
 * that none of them has an addon for is an error, or gets a file that says so where `standIns` are wanted, for tests.
 */
export function stage(addons, standIns = false) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const [tarball] = pack(folder, root);
  execFileSync("tar", ["-xzf", tarball], { cwd: folder });
  rmSync(tarball);
  const main = join(folder, "package");
  execFileSync(process.execPath, [join(root, "node_modules/@napi-rs/cli/dist/cli.js"), "create-npm-dirs"], { cwd: main, stdio: "ignore" });
  const targets = readdirSync(join(main, "npm"));

  const missing = [];
  for (const target of targets) {
    const name = `resnet.${target}.node`;
    const built = addons.map((from) => join(root, from, name)).find(existsSync);
    const place = join(main, "npm", target);
    if (built) stageAddon(built, place);
    else if (standIns) stageStandIn(name, place);
    else missing.push(name);
    copyFileSync(join(root, "LICENSE"), join(place, "LICENSE"));
    const manifest = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
    manifest.files.push(...Object.values(MADE));
    writeFileSync(join(place, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  }
  const gpu = stageCuda(main, addons);
  if (gpu.length === 0 && !standIns) missing.push(`cuda/resnet.${CUDA_TARGET}.node`);
  if (missing.length > 0) throw new Error(`not in ${addons.join(" or ")}: ${missing.join(", ")}`);

  const manifest = JSON.parse(readFileSync(join(main, "package.json"), "utf8"));
  manifest.optionalDependencies = Object.fromEntries(targets.map((target) => [`${manifest.name}-${target}`, manifest.version]));
  writeFileSync(join(main, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  cpSync(join(main, "npm"), join(folder, "npm"), { recursive: true });
  rmSync(join(main, "npm"), { recursive: true });
  return pack(folder, ...[...targets, ...gpu].map((target) => `./npm/${target}`), "./package");
}

/** Copies an addon, and what `npm run notices` has made beside it. */
function stageAddon(built, place) {
  copyFileSync(built, join(place, basename(built)));
  for (const [ending, name] of Object.entries(MADE)) {
    const made = beside(built, ending);
    if (!existsSync(made)) throw new Error(`there is no ${made}: npm run notices makes it, where the addon was built`);
    copyFileSync(made, join(place, name));
  }
}

/** Something in the place of an addon, in which nothing is linked. */
function stageStandIn(name, place) {
  const text = "A stand-in: this machine cannot build the addon.\n";
  writeFileSync(join(place, name), text);
  for (const made of Object.values(MADE)) writeFileSync(join(place, made), text);
  const { name: own, version } = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
  writeFileSync(join(place, MADE["cdx.json"]), billOf({ name: own, version, addon: name, bytes: text }, []));
}

/** The folder of the package with CUDA's addon, where that was built: the platform's package, with another name and addon. */
function stageCuda(main, addons) {
  const name = `resnet.${CUDA_TARGET}.node`;
  const built = addons.map((from) => join(root, from, "cuda", name)).find(existsSync);
  if (!built) return [];
  const [from, to] = [CUDA_TARGET, CUDA].map((folder) => join(main, "npm", folder));
  cpSync(from, to, { recursive: true });
  stageAddon(built, to);
  const manifest = JSON.parse(readFileSync(join(to, "package.json"), "utf8"));
  manifest.name = manifest.name.replace(CUDA_TARGET, CUDA);
  manifest.description = "resnet-native's addon for NVIDIA GPUs: CUDA 13, driver 580 or newer, cuDNN 9";
  writeFileSync(join(to, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(to, "README.md"), `# ${manifest.name}\n\n${manifest.description}.\n`);
  return [CUDA];
}

/** Packs folders; returns the paths of the tarballs. */
export function pack(into, ...folders) {
  const packed = JSON.parse(npm(into, "pack", "--ignore-scripts", "--json", ...folders));
  return packed.map(({ filename }) => join(into, filename));
}
