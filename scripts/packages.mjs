// The packages as strangers get them: packed, inspected, put into a registry on this machine and installed from there into
// empty folders by npm, pnpm and both Yarns, without scripts; then an ESM and a CommonJS program train and predict, in the main
// thread and in a worker. Bun and Deno do the same where they are on the path.
//
// node scripts/packages.mjs [FOLDER...]   folders with addons, default native
//
// With --for linux-x64-musl --by FOLDER, in which `node` is a Node for that platform, npm by this Node and npm by that one alone install: that
// platform's package is as released, and what it trains has the bits of this machine's package, a deep network too where nothing is emulated.

import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildSync } from "esbuild";
import { inspect } from "./packages/inspect.mjs";
import { run, startRegistry } from "./packages/registry.mjs";
import { pack, stage } from "./packages/stage.mjs";
import { output, root } from "./steps.mjs";

const tool = (path) => [process.execPath, join(root, "node_modules", path)];
const [npm, pnpm] = [["npm"], tool("pnpm/bin/pnpm.cjs")];
const [classic, berry] = [tool("yarn/bin/yarn.js"), tool("@yarnpkg/cli-dist/bin/yarn.js")];

const { values: { for: platform, by }, positionals: addons } = parseArgs({ options: { for: { type: "string" }, by: { type: "string" } }, allowPositionals: true });

/** How the name of a package with an addon begins. */
const ADDON = "resnet-native-";
const isImitated = platform && platform.split("-")[1] !== process.arch;
/** NEON's kernels add in the order of AVX2's. */
const kernels = isImitated ? { RESNET_NATIVE_ISA: "avx2" } : {};
/** Who installs, with what the programs run, and which addon alone is taken, where others for this system are not. */
const own = { name: "npm", add: [...npm, "install"], start: [process.execPath], env: kernels, picks: ADDON };
// npm looks for the C library in the system's ldd, not in its Node.
const libc = platform?.endsWith("-musl") ? "musl" : "glibc";
const other = { name: `npm for ${platform}`, add: [...npm, "install", `--libc=${libc}`], start: ["node"], env: { PATH: `${resolve(by ?? "")}${delimiter}${process.env.PATH}` }, picks: `${ADDON}${platform}` };
const installers = platform ? [own, other] : [
  own,
  { name: "pnpm", add: [...pnpm, "add"], start: [process.execPath], picks: ADDON },
  { name: "Yarn 1", add: [...classic, "add"], start: [process.execPath] },
  { name: "Yarn 4, no node_modules", add: [...berry, "add"], start: [...berry, "node"] },
  { name: "Bun", needs: "bun", add: ["bun", "add"], start: ["bun"], picks: ADDON },
  { name: "Deno", needs: "deno", add: ["deno", "add", "--minimum-dependency-age=0"], prefix: "npm:", start: ["deno", "run", "-A"] },
];

const temporary = mkdtempSync(join(tmpdir(), "resnet-native-packages-"));
let registry;
try {
  const tarballs = stage(addons.length > 0 ? addons : ["native"], true);
  const wrong = inspect(tarballs, (name) => name === platform);
  if (wrong) throw new Error(wrong);
  registry = await startRegistry(temporary, [...dependencies(), ...tarballs]);
  let first;
  for (const installer of installers) {
    if (installer.needs && !output(installer.needs, "--version")) {
      console.log(`${installer.name} is not on the path`);
      continue;
    }
    const trained = await installed(installer);
    first ??= trained;
    if (trained !== first) throw new Error(`${installer.name}: other bits than with ${installers[0].name}:\n${trained}\n${first}`);
  }
  console.log(first);
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

/** Installs into an empty folder and runs the programs, and npm's also the command line; gives what was trained. */
async function installed({ name, add, prefix = "", start, env, picks }) {
  const began = performance.now();
  const folder = emptyFolder(`with ${name}`);
  // Without it Yarn 4 takes the folder for a part of a project above it.
  if (add.includes(berry[1])) writeFileSync(join(folder, "yarn.lock"), "");
  const act = async ([program, ...args], more) => run(program, [...args, ...more], { cwd: folder, env: { ...registry.env, ...env } });
  await act(add, [`${prefix}resnet-native`]);
  if (picks) check(folder, picks);
  cpSync(join(root, "scripts/packages/smoke"), folder, { recursive: true });
  const programs = [["esm.mjs"], ["cjs.cjs"]];
  if (add[0] === "npm") programs.push(...bundle(folder));
  // In an emulator it would take minutes.
  if (platform && !isImitated) programs.unshift(["esm.mjs", "--deep"]);
  const trained = new Set();
  for (const words of programs) {
    const { stdout } = await act(start, words);
    const model = readFileSync(join(folder, "model.safetensors"));
    for (const { losses, shape, logits, chart } of JSON.parse(stdout)) {
      const fine = losses.every(Number.isFinite) && losses[2] < losses[0] && shape[1] === 10;
      if (!fine || !(chart > 1000)) throw new Error(`${name}: ${words.join(" ")} gave ${stdout}`);
      const digest = createHash("sha256").update(model).update(logits.join()).digest("hex");
      trained.add(`${words[1] ?? "--shallow"}: losses ${losses.join(", ")}, model and logits ${digest}`);
    }
  }
  if (trained.size > new Set(programs.map(([, word]) => word)).size) throw new Error(`${name}: other bits each time:\n${[...trained].join("\n")}`);
  if (add[0] === "npm") await act(["npm", "exec", "--offline", "--", "resnet-native"], ["export", "model.safetensors", "--size", "28"]);
  console.log(`${name}: ${programs.map((words) => words.join(" ")).join(", ")}, main thread and worker, ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return [...trained].join("\n");
}

/** The programs as esbuild joins them, this package left out. */
function bundle(folder) {
  const settings = { absWorkingDir: folder, bundle: true, platform: "node", external: ["resnet-native"] };
  buildSync({ ...settings, entryPoints: ["esm.mjs"], format: "esm", outfile: "bundle.mjs" });
  buildSync({ ...settings, entryPoints: ["cjs.cjs"], format: "cjs", outfile: "bundle.cjs" });
  return [["bundle.mjs"], ["bundle.cjs"]];
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

/** One addon, and no other, is installed. */
function check(folder, wanted) {
  // pnpm and Deno keep packages in a folder of their own.
  const places = ["", ".pnpm", ".deno"].map((place) => join(folder, "node_modules", place)).filter(existsSync);
  const found = places.flatMap((place) => readdirSync(place)).filter((entry) => entry.startsWith(ADDON));
  if (found.length !== 1 || !found[0].startsWith(wanted)) throw new Error(`expected one package ${wanted}…, found ${found.join(", ") || "none"}`);
}

/** A new folder with a package that nobody publishes. */
function emptyFolder(name) {
  const folder = join(temporary, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  return folder;
}
