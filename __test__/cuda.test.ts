import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { origin } from "../ts/binding.js";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** What `npm run build:cuda` makes. */
const cuda = at(`../native/cuda/resnet.${origin.target}.node`);

/** What a new process says of its devices, with this driver's folder before all others. */
const SCRIPT = `import { CifarResNet, deviceInfo } from ${JSON.stringify(at("../dist/index.js"))};
const name = async (device) => new CifarResNet({ depth: 20, device }).device().catch(({ code, message }) => code + " " + message);
console.log(JSON.stringify([deviceInfo(), await name("auto"), await name("cuda")]));`;

describe.skipIf(process.platform !== "linux" || !existsSync(cuda))("CUDA's addon, built here", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  });
  afterAll(async () => rm(folder, { recursive: true }));

  /** Compiles a driver, or cuDNN, of these properties. */
  function library(name: string, properties: Record<string, number>) {
    const all = { VERSION: 13_000, RESULT: 0, INIT: 0, CAPABILITY: 9, ...properties };
    const defined = Object.entries(all).map(([key, value]) => `-D${key}=${value}`);
    execFileSync("cc", ["-shared", "-fPIC", ...defined, "-o", join(folder, name), at("children/driver.c")]);
  }

  async function devices() {
    const env = { ...process.env, RESNET_NATIVE_ADDON: cuda, LD_LIBRARY_PATH: folder };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", SCRIPT], { env });
    const [info, auto, asked] = JSON.parse(stdout);
    return { info, auto, asked };
  }

  const broken: [string, Record<string, number>, RegExp][] = [
    ["a driver that is too old", { VERSION: 12_080 }, /the NVIDIA driver supports CUDA 12\.8, .* install driver 580 or newer/],
    ["a driver that sees no GPU", { INIT: 100 }, /the NVIDIA driver finds no GPU/],
    ["the toolkit's stand-in for a driver", { RESULT: 34 }, /stand-in for builds: take its folder off the library path/],
    ["a driver of another version than the kernel's", { INIT: 803 }, /of different versions: restart the machine/],
    ["a driver that does not start", { INIT: 999 }, /the NVIDIA driver does not start: an imaginary error \(CUDA_ERROR_IMAG/],
  ];
  for (const [what, properties, message] of broken) {
    test(`${what}: auto is the CPU, and cuda an error that says what helps`, async () => {
      library("libcuda.so.1", properties);
      const { info, auto, asked } = await devices();
      expect(info).toMatchObject({ device: "cpu", why: expect.stringMatching(message), cuda: { problem: info.why } });
      expect(auto).toBe("cpu");
      expect(asked).toBe(`ERR_DEVICE ${info.why}`);
    });
  }

  test("no cuDNN, an old one, one without cuBLASLt, and a GPU without kernels are errors too, and the GPUs are told", async () => {
    library("libcuda.so.1", {});
    const gpus = [{ name: "Imaginary GPU", computeCapability: "9.0", memory: 2 ** 34 }];
    const { info: first } = await devices();
    expect(first).toMatchObject({ device: "cpu", cuda: { version: "13.0", gpus } });
    expect(first.why).toMatch(/there is no cuDNN \(libcudnn\.so\.9\): install cuDNN 9 for CUDA 13/);
    library("libcudnn.so.9", { CUDNN: 8907 });
    expect((await devices()).asked).toMatch(/^ERR_DEVICE the cuDNN found first is too old \(its number is 8907\): install cuDNN 9/);
    // Without it cuDNN would end the process. The version is one that no machine has.
    library("libcudnn.so.9", { CUDNN: 91_300 });
    expect((await devices()).asked).toMatch(/^ERR_DEVICE there is no cuBLASLt \(libcublasLt\.so\.99\), .*: install it \(the package libcublas/);
    library("libcublasLt.so.99", {});
    library("libcuda.so.1", { CAPABILITY: 7 });
    const { info, asked } = await devices();
    expect(info.cuda.cudnn).toBe("9.13.0");
    expect(asked).toMatch(/^ERR_DEVICE Imaginary GPU has compute capability 7\.0, and 8\.0 \(Ampere, 2020\) is needed/);
  });
});
