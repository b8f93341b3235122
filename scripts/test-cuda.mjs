// npm run test:cuda: what can be known of the CUDA backend without a GPU or a driver. The kernels run on this processor in two orders, and
// with AddressSanitizer's checks; where there is nvcc, in $CUDA_HOME/bin or on the path, they are compiled, and may not spill; and cuDNN plans
// every convolution of every named network, and of the tests, for GPUs that are only described. cuDNN is taken from RESNET_NATIVE_CUDNN
// (a folder), from the loader's path, or from PyPI (370 MB) to target/cudnn. With --optional, where PyPI does not give it in two minutes,
// that part is left out.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { compile, faults, kernels } from "./cuda/compiled.mjs";
import { unplanned } from "./cuda/planned.mjs";
import { finish, output, root, step } from "./steps.mjs";

const PACKAGE = "nvidia-cudnn-cu13==9.20.0.48";
const CUDNN = "libcudnn.so.9";
const optional = process.argv.includes("--optional");

const downloaded = join(root, "target/cudnn");
/** Where a library is, of these folders and the loader's. */
function place(name, ...folders) {
  const given = (process.env.LD_LIBRARY_PATH ?? "").split(delimiter);
  const found = [...folders, ...given].find((folder) => folder && existsSync(join(folder, name)));
  return found ?? (output("ldconfig", "-p")?.includes(name) ? "" : undefined);
}

/** cuDNN's folder, "" if the loader finds it. */
function cudnn() {
  const fromPip = join(downloaded, "nvidia/cudnn/lib");
  const found = place(CUDNN, process.env.RESNET_NATIVE_CUDNN, fromPip);
  if (found !== undefined) return found;
  const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", downloaded, PACKAGE];
  const { status } = spawnSync("python3", pip, { stdio: ["ignore", "inherit", "inherit"], timeout: optional ? 120_000 : 0 });
  return status === 0 ? place(CUDNN, fromPip) : undefined;
}

const CRATES = "-p resnet-ops -p resnet-core";
/** What runs every kernel of an op, in two orders of blocks and threads, and every optimiser's. */
const ORDERS = `cargo test --locked ${CRATES} --test ops --`;
const CASES = ["together", "kernels::adam", "kernels::lion", "kernels::muon", "kernels::rmsprop", "kernels::sgd"];

await step("kernels in two orders", () => ran([CASES[0]], {}));

/** Runs such tests; what went wrong, if something did: that there is none of them, too. */
function ran(words, environment) {
  const options = { cwd: root, env: { ...process.env, ...environment }, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] };
  const { status, stdout, error } = spawnSync("cargo", [...ORDERS.split(" ").slice(1), ...words], options);
  console.log(stdout);
  if (status !== 0) return error?.message ?? `exit code ${status}`;
  return /^test .* ok$/m.test(stdout) ? undefined : `expected tests named ${words.join(", ")}, got none`;
}

/** The same kernels with AddressSanitizer, as a library: cargo's build has left their source. */
function sanitized() {
  const made = join(root, "target/sanitized");
  const library = join(made, "libkernels.so");
  const builds = join(root, "target/debug/build");
  const sources = readdirSync(builds).map((name) => join(builds, name, "out/host.cpp")).filter(existsSync);
  const source = sources.toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  mkdirSync(made, { recursive: true });
  // Stacks are left alone: those of fibers are none that it knows.
  const words = ["-shared", "-fPIC", "-O1", "-g", "-std=c++17", "-U_FORTIFY_SOURCE", "-fsanitize=address", "--param", "asan-stack=0"];
  execFileSync("c++", [...words, "-I", join(root, "crates/resnet-ops/src"), "-I", join(source, ".."), source, "-o", library]);
  return library;
}

await step("kernels with AddressSanitizer", () => {
  const preloaded = output("c++", "-print-file-name=libasan.so");
  if (!preloaded?.includes("/")) return "expected libasan.so beside the C++ compiler";
  const runner = `env LD_PRELOAD=${preloaded} ASAN_OPTIONS=detect_leaks=0 RESNET_NATIVE_ISA=portable RESNET_NATIVE_TESTS_KERNELS=${sanitized()}`;
  return ran([...CASES, "--test-threads=1"], { CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER: runner, CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: runner });
});

const home = process.env.CUDA_HOME;
const nvcc = home ? join(home, "bin/nvcc") : "nvcc";
await step("registers and spills", () => {
  if (!output(nvcc, "--version")) {
    console.log("there is no nvcc");
    return undefined;
  }
  for (const capability of [80, 90]) {
    const found = kernels(compile(nvcc, join(root, "crates/resnet-ops/src"), join(root, "target/compiled"), capability));
    const most = found.toSorted((a, b) => b.registers - a.registers).slice(0, 3);
    console.log(`compute capability ${capability / 10}: ${found.length} kernels, most registers: ${most.map(({ name, registers }) => `${name} ${registers}`).join(", ")}`);
    const broken = found.length < 50 ? [`expected 50 kernels or more, got ${found.length}`] : faults(found);
    if (broken.length > 0) return broken.join("\n");
  }
  return undefined;
});

let folders = [];
let problem;
await step("cuDNN", () => {
  const folder = cudnn();
  if (folder === undefined) problem = `expected ${CUDNN} in RESNET_NATIVE_CUDNN, on the loader's path or ${PACKAGE} from pip, got none of them`;
  else folders = [folder].filter(Boolean);
  console.log(problem ?? `${folders.join(", ") || "the loader's"}`);
  return optional ? undefined : problem;
});

/** The folder of a cuBLASLt that can do nothing, for where there is none beside cuDNN. */
function blas() {
  const made = join(root, "target/cublaslt");
  mkdirSync(made, { recursive: true });
  execFileSync("cc", ["-shared", "-fPIC", "-o", join(made, "libcublasLt.so.13"), join(root, "scripts/cuda/cublaslt.c")]);
  return made;
}

if (!problem) {
  const path = [...folders, process.env.LD_LIBRARY_PATH, blas()].filter(Boolean).join(delimiter);
  const env = { ...process.env, LD_LIBRARY_PATH: path, RESNET_NATIVE_TESTS_CUDNN: "1", RESNET_NATIVE_TESTS_TELL: "1" };
  const tests = "test --locked -p resnet-ops -p resnet-core --lib --test ops every_convolution";
  await step(`plans: cargo ${tests}`, () => {
    const { status, stdout, error } = spawnSync("cargo", tests.split(" "), { cwd: root, env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    console.log(stdout);
    const lacking = unplanned(stdout);
    if (status !== 0) return error?.message ?? `exit code ${status}`;
    return lacking.length > 0 ? `expected a test of each crate that had cuDNN plan convolutions, got none of ${lacking.join(" and ")}` : undefined;
  });
}
finish();
