// npm run gpu-kit: builds what tries the CUDA backend on a machine with a GPU that has neither Rust nor Node nor a network, and packs it
// as target/gpu-kit/kit.tar.xz, beside run.sh, which unpacks and runs it. Needs nvcc 13 in $CUDA_HOME/bin or on the path.

import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setUp } from "./setup.mjs";
import { finish, output, root, step } from "./steps.mjs";

/** Bytes that a kit may have. */
const MOST = 60e6;
/** What tests read, and the data that a model learns from. */
const TREE = ["crates/resnet-core/tests/fixtures", "data"];
/** The names in the kit of what cargo builds. */
const PROGRAMS = { "resnet_ops lib": "ops-unit", "ops test": "ops", "resnet_core lib": "core-unit", "networks test": "networks", "gpu example": "gpu" };

const kit = join(root, "target/gpu-kit");
const folder = join(kit, "kit");
rmSync(kit, { recursive: true, force: true });
mkdirSync(join(folder, "package"), { recursive: true });

// The package's TypeScript is built against the types of the usual addon, which are CUDA's too.
await setUp();

/** The programs that cargo has built, by name. */
const programs = {};
await step("tests and the program that trains", () => {
  const args = "test --no-run --locked -p resnet-ops -p resnet-core --features resnet-core/cuda --message-format json";
  const { status, stdout } = spawnSync("cargo", args.split(" "), { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 2 ** 28 });
  if (status !== 0) return `cargo ended with ${status}`;
  for (const { executable, target } of stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))) {
    const name = executable && PROGRAMS[`${target.name} ${target.kind[0]}`];
    if (name) programs[name] = executable;
  }
  const lacking = Object.values(PROGRAMS).filter((name) => !programs[name]);
  return lacking.length > 0 ? `cargo has not built ${lacking.join(", ")}` : undefined;
});
await step("CUDA's addon", "npm run --silent build:cuda");
await step("kit", () => {
  const addon = readdirSync(join(root, "native/cuda")).find((name) => name.endsWith(".node"));
  for (const [name, program] of Object.entries({ ...programs, node: process.execPath, "resnet.node": join(root, "native/cuda", addon) })) {
    copyFileSync(program, join(folder, name));
    execFileSync("strip", [join(folder, name)]);
  }
  for (const name of readdirSync(join(root, "scripts/gpu-kit"))) {
    copyFileSync(join(root, "scripts/gpu-kit", name), join(name === "run.sh" ? kit : folder, name));
  }
  for (const name of ["torch_gpu.py", "torch_networks.py"]) copyFileSync(join(root, "benchmark/peers", name), join(folder, name));
  for (const path of TREE) cpSync(join(root, path), join(folder, "tree", path), { recursive: true });
  for (const path of ["dist", "package.json", "data"]) cpSync(join(root, path), join(folder, "package", path), { recursive: true });
  const about = { builtAt: root.replace(/\/$/, ""), commit: output("git", "rev-parse", "HEAD"), built: new Date().toISOString(), node: process.version };
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(about));
});
await step("pack", () => {
  execFileSync("tar", ["-C", folder, "--owner=0", "--group=0", "-cf", join(kit, "kit.tar"), "."]);
  execFileSync("xz", ["-T2", "-6", join(kit, "kit.tar")]);
  rmSync(folder, { recursive: true });
  const { size } = statSync(join(kit, "kit.tar.xz"));
  console.log(`${join(kit, "kit.tar.xz")}: ${(size / 1e6).toFixed(1)} MB`);
  return size > MOST || !existsSync(join(kit, "run.sh")) ? `expected at most ${MOST / 1e6} MB and run.sh beside it` : undefined;
});
finish();
