import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adam, deviceInfo, loadModel, ResNet, ResNet18, Residual, sgd, tensor, Trainer, type UpdateOptions } from "resnet-native";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
});
afterAll(async () => rm(folder, { recursive: true }));

const small = (options = {}) => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1, seed: 3, ...options });
const images = tensor(Float32Array.from({ length: 4 * 256 }, (_, i) => Math.sin(i)), [4, 1, 16, 16]);

describe("deviceInfo", () => {
  test("tells what auto is and why, the addon, the instruction set in use and the threads", async () => {
    const { device, why, addon, cpu, cuda } = deviceInfo();
    expect(existsSync(addon.file)).toBe(true);
    expect(cpu.instructionSets[0]).toBe("portable");
    expect(cpu.instructionSet).toBe(process.env["RESNET_NATIVE_ISA"] ?? cpu.instructionSets.at(-1));
    expect(cpu.threads).toBeGreaterThanOrEqual(1);
    expect(device).toMatch(/^(cpu|cuda:\d)$/);
    expect(cuda.problem).toBe(device === "cpu" ? why : undefined);
    expect(why).toMatch(device === "cpu" ? /install|start|path|needed|see it/ : /can be used/);
    using model = small();
    expect(await model.device()).toBe(device);
  });

  test("tells how bf16 is computed, which other kernels than the widest do in f32", () => {
    expect(["amx", "avx512-bf16", "f32"]).toContain(deviceInfo().cpu.bf16);
    vi.stubEnv("RESNET_NATIVE_ISA", "portable");
    expect(deviceInfo().cpu.bf16).toBe("f32");
    vi.unstubAllEnvs();
  });

  test("refuses an instruction set that the machine has not", () => {
    vi.stubEnv("RESNET_NATIVE_ISA", "mmx");
    expect(() => deviceInfo()).toThrow(/RESNET_NATIVE_ISA: expected one of portable.* got "mmx"/);
    vi.unstubAllEnvs();
    expect(deviceInfo().cpu.threads).toBeGreaterThanOrEqual(1);
  });
});

describe("a GPU that is not there", () => {
  const missing = { name: "ResNetError", code: "ERR_DEVICE", message: expect.stringMatching(/install|GPU/) };

  test("is refused by the first call of a model, of a block and of a file's model", async () => {
    using model = small({ device: "cuda:900" });
    await expect(model.forward(images)).rejects.toMatchObject(missing);
    await expect(model.device()).rejects.toMatchObject(missing);
    using block = new Residual(4, { device: "cuda:900" });
    await expect(block.forward(images)).rejects.toMatchObject(missing);
    using saved = small({ device: "cpu" });
    await saved.save(join(folder, "model.safetensors"));
    await expect(loadModel(join(folder, "model.safetensors"), { device: "cuda:900" })).rejects.toMatchObject(missing);
  });

  test("is no place to go to, and the model stays where it is", async () => {
    using model = small({ device: "cpu" });
    const before = await model.forward(images);
    await expect(model.to("cuda:900")).rejects.toMatchObject(missing);
    expect(await model.device()).toBe("cpu");
    expect(await model.forward(images)).toEqual(before);
  });
});

test.each<[string, UpdateOptions]>([
  ["momentum and gradients included", { optimizer: sgd({ lr: 0.1, momentum: 0.9 }) }],
  ["in the middle of an update and with its number too", { optimizer: adam({ lr: 0.01 }), accumulate: 2 }],
])("a model that is moved goes on as one that is not, %s", async (_, options) => {
  const trained = async (move: boolean) => {
    using model = small({ device: "cpu" });
    const trainer = new Trainer(model, options);
    const losses = [];
    for (let step = 0; step < 6; step++) {
      losses.push((await trainer.step(images, [0, 1, 2, 3])).loss);
      if (move && step === 2) await model.to("cpu", { threads: 1 });
    }
    return { losses, gradients: await trainer.gradients(), state: await model.stateDict() };
  };
  expect(await trained(true)).toEqual(await trained(false));
});

test("bf16 trains as f32 does, rounded where the processor is faster at it, and strict kernels do not round", async () => {
  // Noise that is brighter from class to class.
  const noise = (i: number) => ((i * 2654435769) % 2 ** 32) / 2 ** 31 - 1;
  const many = tensor(Float32Array.from({ length: 16 * 1024 }, (_, i) => noise(i) + ((i >> 10) % 4) / 2), [16, 1, 32, 32]);
  const labels = Array.from({ length: 16 }, (_, i) => i % 4);
  const losses = async (options: object) => {
    using model = new ResNet18({ numClasses: 4, inChannels: 1, seed: 3, device: "cpu", ...options });
    const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.002 }) });
    const found = [];
    for (let step = 0; step < 8; step++) found.push((await trainer.step(many, labels)).loss);
    return found;
  };
  const [f32, bf16] = [await losses({}), await losses({ precision: "bf16" })];
  expect(Math.abs(bf16[0]! / f32[0]! - 1)).toBeLessThan(0.01);
  for (const found of [f32, bf16]) expect(found.at(-1)!).toBeLessThan(found[0]! / 20);
  expect(f32.every((loss, step) => loss === bf16[step])).toBe(deviceInfo().cpu.bf16 === "f32");
  expect(await losses({ precision: "fp32" })).toEqual(f32);
  expect(await losses({ precision: "bf16", strict: true })).toEqual(await losses({ strict: true }));
});

test("wrong devices and settings are refused at once", async () => {
  const wrong: [object, RegExp][] = [
    [{ device: "gpu" }, /device: expected "auto", "cpu", "cuda" or "cuda:" and the number of a GPU, got "gpu"/],
    [{ device: "cuda:" }, /device: expected .* got "cuda:"/],
    [{ device: 0 }, /device: expected .* got 0/],
    [{ precision: "fp16" }, /precision: expected "tf32" or "fp32" or "bf16", got "fp16"/],
    [{ deterministic: 1 }, /deterministic: expected a boolean, got 1/],
  ];
  for (const [options, message] of wrong) expect(() => small(options)).toThrow(message);
  using model = small();
  await expect(model.to("tpu" as "cpu")).rejects.toThrow(/device: expected .* got "tpu"/);
  await expect(model.to("cpu", { strict: 1 as never })).rejects.toThrow(/strict: expected a boolean/);
});
