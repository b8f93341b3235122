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

/**
 * Steps of two models on that driver's GPU, one after the other, and with the word "together" while the first is still there: what became of
 * them, and what deviceInfo tells after each step of captures that were refused.
 */
const TRAINING = `import { deviceInfo, ResNet, sgd, tensor, Trainer } from ${JSON.stringify(at("../dist/index.js"))};
const images = tensor(new Float32Array(32 * 32 * 32), [32, 1, 32, 32]);
const words = process.argv.slice(1);
const models = [];
const refused = [];
const trained = async () => {
  const model = new ResNet([[1, 8]], { numClasses: 4, device: "cuda", deterministic: words.includes("deterministic") });
  models.push(model);
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.1 }) });
  const steps = [];
  try {
    for (let step = 0; step < 6; step++) {
      steps.push((await trainer.step(images, new Uint32Array(32))).loss);
      refused.push(deviceInfo().cuda.refusedCapture);
    }
  } finally {
    if (!words.includes("together")) model.dispose();
  }
  return steps;
};
const said = ({ code, message }) => code + " " + message;
const losses = [await trained().catch(said), await trained().catch(said)];
for (const model of models) model.dispose();
console.log(JSON.stringify({ losses, refused }));`;

describe.skipIf(process.platform !== "linux" || !existsSync(cuda))("CUDA's addon, built here", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
    library("files.so", { FILES: 1 });
  });
  afterAll(async () => rm(folder, { recursive: true }));

  /** Compiles a driver, or cuDNN, of these properties. */
  function library(name: string, properties: Record<string, number>) {
    const driver = { VERSION: 13_000, RESULT: 0, INIT: 0, BIND: 0, CAPABILITY: 9, ROOM: 1e9, REFUSED: 0 };
    const all = { ...driver, WORKSPACE: 1e6, PLANS: 1, SILENT: 0, ...properties };
    const defined = Object.entries(all).map(([key, value]) => `-D${key}=${value}`);
    execFileSync("cc", ["-shared", "-fPIC", ...defined, "-o", join(folder, name), at("children/imitations.c")]);
  }

  /** With variables of its own; without those that hide a GPU. */
  function run(script: string, words: string[], variables: Record<string, string> = {}) {
    const { CUDA_VISIBLE_DEVICES: _, ...inherited } = process.env;
    const env = { ...inherited, RESNET_NATIVE_ADDON: cuda, LD_LIBRARY_PATH: folder, IMITATION_TELLS: "1", ...variables };
    return promisify(execFile)(process.execPath, ["--input-type=module", "-e", script, ...words], { env });
  }

  async function devices(variables: Record<string, string> = {}) {
    const [info, auto, asked] = JSON.parse((await run(SCRIPT, [], variables)).stdout);
    return { info, auto, asked };
  }

  /** Steps on an imaginary GPU: what the program says, and what driver and cuDNN say of it. */
  async function trained(driver: Record<string, number>, cudnn: Record<string, number> = {}, ...words: string[]) {
    library("libcuda.so.1", driver);
    library("libcudnn.so.9", { CUDNN: 91_300, ...cudnn });
    library("libcublasLt.so.99", { SILENT: 1 });
    const { stdout, stderr } = await run(TRAINING, words);
    const told = stderr.split("\n").filter((line) => line.startsWith("{"));
    return Object.assign(JSON.parse(stdout), ...told.map((line) => JSON.parse(line)));
  }

  /** A machine whose kernel has the driver, and whose files open. */
  const MACHINE = { IMITATION_KERNEL: "580.95.05" };
  const every = (error: number) => ({ IMITATION_CONTROL: `${error}`, IMITATION_UVM: `${error}`, IMITATION_GPU: `${error}` });
  const [EPERM, ENOENT, EIO, EACCES] = [1, 2, 5, 13];

  /** Each message ends in its fix. */
  const broken: [string, Record<string, number>, Record<string, string>, RegExp][] = [
    ["no driver", {}, { IMITATION_DRIVERLESS: "1" }, /^there is no NVIDIA driver \(libcuda\.so\.1\): install one of version 580 or newer$/],
    [
      "a container without the driver's libraries",
      {},
      { ...MACHINE, ...every(ENOENT), IMITATION_DRIVERLESS: "1" },
      /^the kernel has the NVIDIA driver 580\.95\.05, but there is no libcuda\.so\.1: start a container with --gpus all .* in that version$/,
    ],
    ["a driver that is too old", { VERSION: 12_080 }, MACHINE, /^the NVIDIA driver supports CUDA 12\.8, .*: install driver 580 or newer$/],
    ["the toolkit's stand-in for a driver", { RESULT: 34 }, MACHINE, /stand-in for builds: take its folder off the library path$/],
    ["a driver of another version than the kernel's", { INIT: 803 }, MACHINE, /of different versions: restart the machine, or take the libcuda\.so\.1 out .* brings along$/],
    ["a driver without the service for NVSwitch", { INIT: 802 }, MACHINE, /: install nvidia-fabricmanager in .* enable --now nvidia-fabricmanager$/],
    ["cuda-compat's libraries on another GPU", { INIT: 804 }, MACHINE, /cuda-compat's, .*: take its folder .*, and install driver 580 or newer$/],
    ["a machine whose kernel has no driver", { INIT: 100 }, every(ENOENT), /kernel has not loaded .*, sudo modprobe nvidia, or restart the machine$/],
    [
      "a container without the device",
      { INIT: 100 },
      { ...MACHINE, ...every(ENOENT) },
      /there is no \/dev\/nvidiactl: start a container with --gpus all .*; outside of one, sudo nvidia-modprobe -c 0$/,
    ],
    [
      "a container without the device for memory",
      { INIT: 999 },
      { ...MACHINE, IMITATION_UVM: `${ENOENT}` },
      /there is no \/dev\/nvidia-uvm: sudo nvidia-modprobe -u -c 0, .*, then start the container again$/,
    ],
    [
      "a container, or a scheduler's job, that may not have the device",
      { INIT: 999 },
      { ...MACHINE, ...every(EPERM) },
      /this container or job may not open \/dev\/nvidiactl: start the container again, with --gpus all .*\(Slurm's --gpus 1\)$/,
    ],
    [
      "a user without permission on the device",
      { INIT: 100 },
      { ...MACHINE, IMITATION_GPU: `${EACCES}` },
      /this user may not read and write \/dev\/nvidia\d+: sudo chmod a\+rw \/dev\/nvidia\*, or .*, and log in again$/,
    ],
    [
      "a GPU that does not answer",
      { INIT: 999 },
      { ...MACHINE, IMITATION_GPU: `${EIO}` },
      /\/dev\/nvidia\d+ does not open \(.*error 5\)\): see what sudo dmesg .*, and restart the machine$/,
    ],
    [
      "a variable that hides the GPUs",
      { INIT: 100 },
      { ...MACHINE, CUDA_VISIBLE_DEVICES: "-1" },
      /since CUDA_VISIBLE_DEVICES is "-1": unset it, or have it name a GPU that nvidia-smi -L lists$/,
    ],
    ["a driver that sees no GPU", { INIT: 100 }, MACHINE, /finds no GPU: pass one to this machine or container, until nvidia-smi lists it$/],
    [
      "a driver that does not start",
      { INIT: 999 },
      { ...MACHINE, CUDA_VISIBLE_DEVICES: "0" },
      /does not start: an imaginary error \(CUDA_ERROR_IMAGINARY\): see what sudo dmesg .*, and restart the machine$/,
    ],
  ];
  for (const [what, properties, variables, message] of broken) {
    test(`${what}: auto is the CPU, and cuda an error that says what helps`, async () => {
      library("libcuda.so.1", properties);
      const { info, auto, asked } = await devices({ LD_PRELOAD: join(folder, "files.so"), ...variables });
      expect(info).toMatchObject({ device: "cpu", why: expect.stringMatching(message), cuda: { problem: info.why } });
      expect(info.cuda.driver).toBe("IMITATION_KERNEL" in variables ? "580.95.05" : undefined);
      expect(info.why).not.toContain("  ");
      expect(auto).toBe("cpu");
      expect(asked).toBe(`ERR_DEVICE ${info.why}`);
    });
  }

  test("no cuDNN, an old one, one without cuBLASLt, and a GPU without kernels are errors too, and the GPUs are told", async () => {
    library("libcuda.so.1", {});
    const gpus = [{ name: "Imaginary GPU", computeCapability: "9.0", memory: 2 ** 34, usable: false }];
    const { info: first } = await devices();
    expect(first).toMatchObject({ device: "cpu", cuda: { version: "13.0", gpus } });
    expect(first.why).toMatch(/there is no cuDNN \(libcudnn\.so\.9\): install cuDNN 9 for CUDA 13/);
    library("libcudnn.so.9", { CUDNN: 8907 });
    expect((await devices()).asked).toMatch(/^ERR_DEVICE the cuDNN found first is too old \(its number is 8907\): install cuDNN 9/);
    // Without it cuDNN would end the process. The version is one that no machine has.
    library("libcudnn.so.9", { CUDNN: 91_300 });
    expect((await devices()).asked).toMatch(/^ERR_DEVICE there is no cuBLASLt \(libcublasLt\.so\.99\), .*: install it \(the package libcublas/);
    library("libcublasLt.so.99", { SILENT: 1 });
    library("libcuda.so.1", { CAPABILITY: 7 });
    const { info, asked } = await devices();
    expect(info.cuda.cudnn).toBe("9.13.0");
    expect(asked).toMatch(/^ERR_DEVICE Imaginary GPU has compute capability 7\.0, and 8\.0 \(Ampere, 2020\) is needed: use a newer GPU, or the device cpu$/);
  });

  test("a GPU's kernels are loaded before the first step, steps become graphs, and all goes back", async () => {
    const { losses, refused, loaded, launches, unloaded, empty, graphLaunches, misused, left, ...cudnn } = await trained({});
    expect(losses).toEqual([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]);
    expect(refused).toEqual(Array.from({ length: 12 }, () => null));
    expect(loaded).toBeGreaterThan(50);
    expect(launches).toBeGreaterThan(50);
    // Forward, backward and statistics, from each model's second step on.
    expect({ unloaded, empty, graphLaunches, misused }).toEqual({ unloaded: 0, empty: 0, graphLaunches: 2 * 3 * 5, misused: 0 });
    expect(new Set(Object.values(left))).toEqual(new Set([0]));
    // The first engine is the faster; the second model times nothing.
    expect(cudnn.inWorkspace).toBeGreaterThan(cudnn.withoutWorkspace);
  });

  test("a capture that the driver refuses is tried again, and until one succeeds deviceInfo says why", async () => {
    const { losses, refused, graphLaunches, captures } = await trained({ REFUSED: 4 });
    expect(losses).toEqual([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]);
    const why = expect.stringMatching(/an imaginary error \(CUDA_ERROR_IMAGINARY\)/);
    expect(refused).toEqual([null, why, why, ...Array.from({ length: 9 }, () => null)]);
    expect({ graphLaunches, captures }).toEqual({ graphLaunches: 2 * 3 * 5 - 4, captures: 2 * 3 + 4 });
  });

  test("an engine that there is no memory for gives way to another, but not to one of other bits", async () => {
    const { losses, inWorkspace, left } = await trained({ ROOM: 1e8 }, { WORKSPACE: 5e8 });
    expect(losses).toEqual([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]);
    expect(inWorkspace).toBe(0);
    expect(new Set(Object.values(left))).toEqual(new Set([0]));
    const { losses: exact } = await trained({ ROOM: 1e8 }, { WORKSPACE: 5e8 }, "deterministic");
    expect(exact).toEqual([expect.stringMatching(/^ERR_OUT_OF_MEMORY .*workspace/), expect.stringMatching(/^ERR_OUT_OF_MEMORY /)]);
  });

  test("a plan that was chosen when there was more memory gives way too, but not to one of other bits", async () => {
    const { losses, graphLaunches, misused, left, ...cudnn } = await trained({}, { WORKSPACE: 6e8 }, "together");
    expect(losses).toEqual([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]);
    expect({ graphLaunches, misused }).toEqual({ graphLaunches: 2 * 3 * 5, misused: 0 });
    // The first model takes the first engine, and both time the other.
    expect(cudnn.inWorkspace).toBeGreaterThan(0);
    expect(cudnn.withoutWorkspace).toBeGreaterThan(cudnn.inWorkspace);
    expect(new Set(Object.values(left))).toEqual(new Set([0]));
    const { losses: exact } = await trained({}, { WORKSPACE: 6e8 }, "together", "deterministic");
    expect(exact).toEqual([[0, 0, 0, 0, 0, 0], expect.stringMatching(/^ERR_OUT_OF_MEMORY .*workspace/)]);
  });

  test("a context that cannot be made current is given back", async () => {
    const { losses, left } = await trained({ BIND: 999 });
    const failed = expect.stringMatching(/^ERR_DEVICE the GPU failed \(context\): an imaginary error/);
    expect(losses).toEqual([failed, failed]);
    expect(left.contexts).toBe(0);
  });

  test("what cuDNN says of a convolution that it has no engine for is told", async () => {
    const { losses } = await trained({}, { PLANS: 0 });
    expect(losses[0]).toMatch(/^ERR_DEVICE cuDNN has no engine for the Forward of .*: cuDNN failed \(plan\): .*, an imaginary reason$/);
  });
});
