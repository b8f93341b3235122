// The packages as strangers get them: packed, inspected, put into a registry on this machine and installed from there into
// empty folders by npm, pnpm and both Yarns, without scripts; then an ESM and a CommonJS program train and predict, in the main
// thread and in a worker. Bun and Deno do the same where they are on the path.
//
// node scripts/packages.mjs [FOLDER...]   folders with addons, default native
//
// With RESNET_NATIVE_ARM64, which runs a program by Node for arm64 here, arm64's package for glibc as released is installed and run, and no other.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { inspect } from "./packages/inspect.mjs";
import { run, startRegistry } from "./packages/registry.mjs";
import { pack, stage } from "./packages/stage.mjs";
import { output, root } from "./steps.mjs";

const tool = (path) => [process.execPath, join(root, "node_modules", path)];
const [npm, pnpm] = [["npm"], tool("pnpm/bin/pnpm.cjs")];
const [classic, berry] = [tool("yarn/bin/yarn.js"), tool("@yarnpkg/cli-dist/bin/yarn.js")];

const arm64 = process.env.RESNET_NATIVE_ARM64?.split(" ");

/** Who installs, with what the programs run, and whether only the addon for this C library is taken. */
const installers = arm64 ? [{ name: "npm for arm64", add: [...npm, "install", "--cpu=arm64"], start: arm64, picks: true }] : [
  { name: "npm", add: [...npm, "install"], start: [process.execPath], picks: true },
  { name: "pnpm", add: [...pnpm, "add"], start: [process.execPath], picks: true },
  { name: "Yarn 1", add: [...classic, "add"], start: [process.execPath] },
  { name: "Yarn 4, no node_modules", add: [...berry, "add"], start: [...berry, "node"] },
  { name: "Bun", needs: "bun", add: ["bun", "add"], start: ["bun"], picks: true },
  { name: "Deno", needs: "deno", add: ["deno", "add", "--minimum-dependency-age=0"], prefix: "npm:", start: ["deno", "run", "-A"] },
];

const addons = process.argv.slice(2);
const temporary = mkdtempSync(join(tmpdir(), "resnet-native-packages-"));
let registry;
try {
  const tarballs = stage(addons.length > 0 ? addons : ["native"], true);
  const wrong = inspect(tarballs, (platform) => arm64 && platform === "linux-arm64-gnu");
  if (wrong) throw new Error(wrong);
  registry = await startRegistry(temporary, [...dependencies(), ...tarballs]);
  for (const installer of installers) {
    if (installer.needs && !output(installer.needs, "--version")) console.log(`${installer.name} is not on the path`);
    else await installed(installer);
  }
  await withoutAddon();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  registry?.stop();
  rmSync(temporary, { recursive: true, force: true });
}

/** Tarballs of all that the main package depends on, from node_modules. */
function dependencies() {
  const found = new Set();
  const visit = (folder) => {
    const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      const place = `node_modules/${name}`;
      if (!found.has(place)) visit((found.add(place), place));
    }
  };
  visit(".");
  return pack(temporary, ...[...found].map((place) => join(root, place)));
}

/** Installs into an empty folder and runs the programs. */
async function installed({ name, add, prefix = "", start, picks }) {
  const began = performance.now();
  const folder = emptyFolder(`with ${name}`);
  // Without it Yarn 4 takes the folder for a part of a project above it.
  if (add.includes(berry[1])) writeFileSync(join(folder, "yarn.lock"), "");
  const act = async ([program, ...args], more) => run(program, [...args, ...more], { cwd: folder, env: registry.env });
  await act(add, [`${prefix}resnet-native`]);
  if (picks) check(folder);
  cpSync(join(root, "scripts/packages/smoke"), folder, { recursive: true });
  const programs = ["esm.mjs", "cjs.cjs"];
  if (name === "npm") programs.push(...bundle(folder));
  const losses = [];
  for (const program of programs) {
    const { stdout } = await act(start, [program]);
    for (const result of JSON.parse(stdout)) {
      const fine = result.losses.every(Number.isFinite) && result.losses[2] < result.losses[0] && result.shape.join() === "64,10";
      if (!fine || !Number.isFinite(result.logit) || !(result.chart > 1000)) throw new Error(`${name}: ${program} gave ${stdout}`);
      losses.push(result.losses.join());
    }
  }
  if (new Set(losses).size > 1) throw new Error(`${name}: the losses differ: ${losses.join(" ")}`);
  console.log(`${name}: ${programs.join(", ")}, main thread and worker, ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/** The programs as esbuild joins them, this package left out. */
function bundle(folder) {
  const settings = { absWorkingDir: folder, bundle: true, platform: "node", external: ["resnet-native"] };
  buildSync({ ...settings, entryPoints: ["esm.mjs"], format: "esm", outfile: "bundle.mjs" });
  buildSync({ ...settings, entryPoints: ["cjs.cjs"], format: "cjs", outfile: "bundle.cjs" });
  return ["bundle.mjs", "bundle.cjs"];
}

/** Without optional dependencies there is no addon, and the error says how to get it. */
async function withoutAddon() {
  const options = { cwd: emptyFolder("without addon"), env: registry.env };
  await run("npm", ["install", "resnet-native", "--omit=optional"], options);
  const { message } = await run(process.execPath, ["-e", "import('resnet-native')"], options).catch((error) => error);
  if (!/ERR_ADDON/.test(message) || !/expected resnet-native-\S+ for this machine .* not installed/.test(message)) {
    throw new Error(`without the addon: ${message}`);
  }
  console.log("without optional dependencies: the error says what is missing");
}

/** This machine's addon, and no other, is installed. */
function check(folder) {
  // pnpm and Deno keep packages in a folder of their own.
  const places = ["", ".pnpm", ".deno"].map((place) => join(folder, "node_modules", place)).filter(existsSync);
  const found = places.flatMap((place) => readdirSync(place)).filter((entry) => entry.startsWith("resnet-native-"));
  if (found.length !== 1) throw new Error(`expected one platform's package, found ${found.join(", ") || "none"}`);
}

/** A new folder with a package that nobody publishes. */
function emptyFolder(name) {
  const folder = join(temporary, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  return folder;
}
