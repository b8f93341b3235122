// npm run test:platforms: packages for other platforms, each built by zig as a release does, then installed by npm and run by a Node for it: x64's for
// musl as it is, arm64's in QEMU. What they train has the bits of this machine's. Words name some platforms: npm run test:platforms -- linux-x64-musl.
// rustup brings in standard libraries, PyPI zig and Node, Debian musl, to target/platforms. With --optional, what something is missing for is left out.

import { parseArgs } from "node:util";
import { lacking, packaged, PLATFORMS } from "./packages/platform.mjs";
import { setUp } from "./setup.mjs";
import { finish, step } from "./steps.mjs";

const { values: { optional }, positionals } = parseArgs({ options: { optional: { type: "boolean" } }, allowPositionals: true });
const all = Object.keys(PLATFORMS);
const strange = positionals.find((name) => !all.includes(name));
if (strange) throw new Error(`expected some of ${all.join(", ")}, got ${strange}`);

await setUp();
for (const platform of positionals.length > 0 ? positionals : all) {
  let missing = [];
  await step(`toolchain for ${platform}`, () => {
    missing = lacking(platform);
    if (missing.length === 0) return undefined;
    const said = `missing\n${missing.map((line) => `  - ${line}`).join("\n")}`;
    if (!optional) return said;
    console.log(`its package is not tested: ${said}`);
    return undefined;
  });
  if (missing.length === 0) await packaged(platform);
}
finish();
