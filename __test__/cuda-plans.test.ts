import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
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

test("the kit looks for cuBLASLt beside cuDNN where the library does", () => {
  const text = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  const [, folders] = /FOLDERS: .*= \[(.*)\];/.exec(text("crates/resnet-ops/src/cuda/cudnn/library.rs"))!;
  const [, names] = /for name in \(([^)]*)\)/.exec(text("scripts/gpu-kit/run.py"))!;
  const beside = [...folders!.matchAll(/"..\/..\/(\w+)\/lib"/g)].map(([, name]) => name);
  expect(beside).toContain("cublas");
  expect(names!.match(/\w+/g)).toEqual(["cudnn", ...beside]);
});
