// npm run test:arm64: what can be known of the kernels for NEON on another processor. They are built for arm64; what the compiler made of the
// hot loops is looked at; and a quick set of tests runs in QEMU, some of it beside what this processor's kernels compute. The Rust compiler is
// $RUSTC or the installed one if it has arm64's standard library, else, on Debian, one from its archive (145 MB, to target/arm64-toolchain).
// With --optional, where a tool is missing, that is said and nothing is tested. --all runs every test: hours.

import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { functions, looked } from "./arm64/instructions.mjs";
import { TARGET, toolchain } from "./arm64/toolchain.mjs";
import { finish, root, step } from "./steps.mjs";

const [optional, all] = ["--optional", "--all"].map((option) => process.argv.includes(option));
const CRATES = "-p resnet-ops -p resnet-core";
/** Of the ops' tests and of the networks', what takes seconds in an emulator; of networks one with groups. */
const OPS = "semantics kernels::add kernels::adam kernels::concat kernels::linear kernels::max_pool2d kernels::norm_pool kernels::silu winograd::a";
const NETWORKS = "bits with_every_kernel::d2l_cifar_resnet20 with_every_kernel::d2l_resnext18";
/** Unit tests of what is another code on arm64. */
const UNIT = "cpu::tests denormals:: pool:: relu:: silu:: device::";

let found;
await step("toolchain", () => {
  found = toolchain(optional ? 120 : 600);
  if (!found.missing) return console.log(found.environment.RUSTC);
  const missing = `missing\n${found.missing.map((line) => `  - ${line}`).join("\n")}`;
  if (!optional) return missing;
  console.log(`nothing is tested for arm64: ${missing}`);
  return undefined;
});

if (!found.missing) {
  const { environment, objdump } = found;
  // Kernels as the addon has them.
  const forArm64 = `cargo test --locked --target ${TARGET} --config profile.dev.package.resnet-ops.opt-level=3 ${CRATES}`;
  let programs = [];
  await step("build", () => {
    const words = [...forArm64.split(" ").slice(1), "--lib", "--test", "ops", "--test", "networks", "--no-run", "--message-format=json-render-diagnostics"];
    const { status, stdout, error } = spawnSync("cargo", words, { cwd: root, env: { ...process.env, ...environment }, encoding: "utf8", maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "inherit"] });
    if (status !== 0) return error?.message ?? `exit code ${status}`;
    programs = stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)).filter(({ executable }) => executable);
    return undefined;
  });
  await step("instructions of the hot loops", async () => {
    const program = programs.find(({ target }) => target.name === "ops");
    if (!program) return "expected a program of the ops' tests, got none";
    const { broken, lines } = looked(await functions(objdump, program.executable, /::neon(::<.*>|<.*>)?$/));
    console.log(lines.join("\n"));
    return broken.length > 0 ? broken.join("\n") : undefined;
  });
  const bits = join(root, "target/arm64-bits.json");
  const compared = { RESNET_NATIVE_TESTS_BITS: bits, RESNET_NATIVE_TESTS_TELL: "1" };
  rmSync(bits, { force: true });
  await step("this processor's bits", `cargo test --locked ${CRATES} --test networks bits`, compared);
  if (all) {
    await step("every test", `${forArm64} -- --include-ignored`, { ...environment, ...compared });
  } else {
    await step("unit tests", `${forArm64} --lib -- ${UNIT}`, environment);
    await step("ops", `${forArm64} --test ops -- ${OPS}`, environment);
    await step("networks", `${forArm64} --test networks -- ${NETWORKS}`, { ...environment, ...compared });
  }
}
finish();
