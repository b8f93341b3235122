// npm run test:arm64: what can be known of arm64's kernels on another processor. The kernels for NEON are built; what the compiler made of the hot
// loops is looked at and held to models of processors; and tests run in QEMU: all ops give the bits that this processor's kernels give. rustup
// brings in arm64's standard library. With --optional, where a tool is missing, that is said and nothing is tested. --all also runs the unit tests,
// all other tests of the ops, and networks: hours. Packages for arm64 are npm run test:platforms.

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { functions } from "./arm64/instructions.mjs";
import { looked } from "./arm64/loops.mjs";
import { TARGET, toolchain } from "./arm64/toolchain.mjs";
import { finish, root, step } from "./steps.mjs";

const [optional, all] = ["--optional", "--all"].map((option) => process.argv.includes(option));
/** Those with tests; only the ops are built for arm64, unless all is asked for. */
const CRATES = "-p resnet-ops -p resnet-core";
/** Of the ops' tests, beside the bits of them all, what takes a minute in an emulator: what each means, kernels beside plain definitions, rounded
 * operands. */
const OPS = "bits semantics kernels int8 results_are_as_near";

let found;
await step("toolchain", () => {
  found = toolchain();
  if (!found.missing) return undefined;
  const missing = `missing\n${found.missing.map((line) => `  - ${line}`).join("\n")}`;
  if (!optional) return missing;
  console.log(`nothing is tested for arm64: ${missing}`);
  return undefined;
});

if (!found.missing) await kernels(found);
finish();

async function kernels({ environment, objdump, mca }) {
  // Kernels as the addon has them.
  const profile = ["opt-level=3", "overflow-checks=false"].map((setting) => `--config profile.dev.package.resnet-ops.${setting}`).join(" ");
  const forArm64 = `cargo test --locked --target ${TARGET} ${profile} ${all ? CRATES : "-p resnet-ops"}`;
  let programs = [];
  await step("build", () => {
    const words = [...forArm64.split(" ").slice(1), "--test", "ops", "--no-run", "--message-format=json-render-diagnostics"];
    const { status, stdout, error } = spawnSync("cargo", words, { cwd: root, env: { ...process.env, ...environment }, encoding: "utf8", maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "inherit"] });
    if (status !== 0) return error?.message ?? `exit code ${status}`;
    programs = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)).filter(({ executable }) => executable);
    return undefined;
  });
  await step("the hot loops", async () => {
    const program = programs.find(({ target }) => target.name === "ops");
    if (!program) return "expected a program of the ops' tests, got none";
    const { broken, lines } = looked(await functions(objdump, program.executable, /::neon(::<.*>|<.*>)?$/), mca);
    console.log(lines.join("\n"));
    return broken.length > 0 ? broken.join("\n") : undefined;
  });
  const digests = { RESNET_NATIVE_TESTS_DIGESTS: "", RESNET_NATIVE_TESTS_TELL: "1" };
  await step("this processor's digests of all ops", () => {
    const { status, stderr } = spawnSync("cargo", `test --locked ${CRATES} --test ops bits::`.split(" "), { cwd: root, env: { ...process.env, ...digests }, encoding: "utf8", stdio: ["ignore", "inherit", "pipe"] });
    digests.RESNET_NATIVE_TESTS_DIGESTS = stderr.split("\n").filter((line) => line.startsWith("digest ")).join("\n");
    if (status !== 0) return stderr;
    return digests.RESNET_NATIVE_TESTS_DIGESTS === "" ? "expected digests, got none" : undefined;
  });
  if (all) {
    const compared = { ...digests, RESNET_NATIVE_TESTS_BITS: join(root, "target/arm64-bits.json") };
    rmSync(compared.RESNET_NATIVE_TESTS_BITS, { force: true });
    await step("this processor's networks", `cargo test --locked ${CRATES} --test networks bits::`, compared);
    await step("every test", `${forArm64} -- --include-ignored`, { ...environment, ...compared });
  } else {
    await step("ops", `${forArm64} --test ops -- ${OPS}`, { ...environment, ...digests });
  }
}
