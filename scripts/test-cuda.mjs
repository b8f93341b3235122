// npm run test:cuda: has cuDNN plan every convolution of every named network, and of the tests, for GPUs that are only described. No GPU
// is needed, nor a driver. cuDNN is taken from RESNET_NATIVE_CUDNN (a folder), from the loader's path, or from PyPI (370 MB) to
// target/cudnn. With --optional, where PyPI does not give it in two minutes, there is nothing to do.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
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
