import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { estimate, occupancy } from "../benchmark/cuda-model.mjs";
import { faults, kernels } from "../scripts/cuda/compiled.mjs";
import { unplanned } from "../scripts/cuda/planned.mjs";

const OPS = "running 1 test\ntest cudnn_plans::every_convolution_has_plans ... ok\n\ntest result: ok. 1 passed; 0 failed\n";
const CORE = "running 1 test\ntest engine::cudnn_plans::every_convolution_of_every_network_has_plans ... ok\n";

test("test:cuda passes only if the test of each crate was run, and passed", () => {
  expect(unplanned(OPS + CORE)).toEqual([]);
  expect(unplanned(OPS)).toEqual(["resnet-core"]);
  expect(unplanned("running 0 tests\n\ntest result: ok. 0 passed; 0 failed\n")).toEqual(["resnet-ops", "resnet-core"]);
  expect(unplanned(OPS.replace("ok", "FAILED") + CORE)).toEqual(["resnet-ops"]);
  expect(unplanned(OPS.replace("ok", "ignored") + CORE)).toEqual(["resnet-ops"]);
});

test("a kernel that spills, or that no processor has room for, is told by its name", () => {
  const said = (name: string, registers: number, spilled: number, shared: string) =>
    `ptxas info    : Compiling entry function '${name}' for 'sm_90'\nptxas info    : Function properties for ${name}\n` +
    `    ${spilled} bytes stack frame, ${spilled} bytes spill stores, ${spilled} bytes spill loads\n` +
    `ptxas info    : Used ${registers} registers, used 1 barriers, ${shared}440 bytes cmem[0]\n`;
  const good = kernels(`ptxas info    : 0 bytes gmem\n${said("most_f32", 128, 0, "49152 bytes smem, ")}${said("plain_f32", 20, 0, "")}`);
  const none = { spilled: 0, stack: 0 };
  expect(good).toEqual([{ name: "most_f32", registers: 128, shared: 49_152, ...none }, { name: "plain_f32", registers: 20, shared: 0, ...none }]);
  expect(faults(good)).toEqual([]);
  expect(faults(kernels(said("full_bf16", 129, 12, "49160 bytes smem, ")))).toEqual([
    "full_bf16: expected no spills and no stack, got 24 and 12 bytes",
    "full_bf16: expected at most 128 registers, got 129",
    "full_bf16: expected at most 49152 bytes of shared memory, got 49160",
  ]);
});

test("a kernel's occupancy is what registers, shared memory and blocks leave of a processor's warps", () => {
  const of = (registers: number, shared: number, threads: number) => occupancy({ registers, shared }, threads);
  expect(of(32, 0, 256)).toBe(1);
  // One block of 16 warps has all registers; of two that share them, shared memory has room for one.
  expect(of(128, 0, 512)).toBe(16 / 64);
  expect(of(64, 40_000, 512)).toBe(32 / 64);
  expect(of(64, 200_000, 512)).toBe(16 / 64);
  // Registers come in 256s for a warp: 33 are taken for 40.
  expect(of(33, 0, 64)).toBe((25 * 2) / 64);
  expect(of(16, 0, 32)).toBe(32 / 64);
});

test("a step's model is its launches, its bytes at the bandwidth that its blocks reach, and operations at a share of the peak", () => {
  const card = { bandwidth: 1000, processors: 100, launch: 2000, tflops: 100, share: 50 };
  const launch = { kernel: "plain_bf16", blocks: 200, threads: 256, bytes: 3e6 };
  const launches = [launch, { ...launch, blocks: 50, bytes: 1e6 }, { ...launch, kernel: "sum_bf16", threads: 512 }];
  const convolutions = [{ pass: "Forward", multiplyAdds: 5e8, bytes: 4e6 }, { pass: "Forward", multiplyAdds: 1, bytes: 4e6 }];
  const code = [{ name: "sum_bf16", registers: 128, shared: 0 }, { name: "plain_f32", registers: 32, shared: 0 }];
  expect(estimate({ launches, convolutions }, card, code)).toEqual([
    { name: "cuDNN, Forward", launches: 2, bytes: 8e6, operations: 1e9 + 2, work: 24, launching: 4, time: 28, share: 28 / 42 },
    { name: "plain", launches: 2, bytes: 4e6, operations: 0, work: 5, launching: 4, time: 9, share: 9 / 42 },
    { name: "sum", launches: 1, bytes: 3e6, operations: 0, work: 3, launching: 2, time: 5, share: 5 / 42, occupancy: 0.25 },
  ]);
});

test("the kit looks for cuBLASLt beside cuDNN where the library does", () => {
  const text = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  const [, folders] = /FOLDERS: .*= \[(.*)\];/.exec(text("crates/resnet-ops/src/cuda/cudnn/library.rs"))!;
  const [, names] = /for name in \(([^)]*)\)/.exec(text("scripts/gpu-kit/run.py"))!;
  const beside = [...folders!.matchAll(/"..\/..\/(\w+)\/lib"/g)].map(([, name]) => name);
  expect(beside).toContain("cublas");
  expect(names!.match(/\w+/g)).toEqual(["cudnn", ...beside]);
});
