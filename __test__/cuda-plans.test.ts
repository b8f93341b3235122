import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
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

test("the kit looks for cuBLASLt beside cuDNN where the library does", () => {
  const text = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  const [, folders] = /FOLDERS: .*= \[(.*)\];/.exec(text("crates/resnet-ops/src/cuda/cudnn/library.rs"))!;
  const [, names] = /for name in \(([^)]*)\)/.exec(text("scripts/gpu-kit/run.py"))!;
  const beside = [...folders!.matchAll(/"..\/..\/(\w+)\/lib"/g)].map(([, name]) => name);
  expect(beside).toContain("cublas");
  expect(names!.match(/\w+/g)).toEqual(["cudnn", ...beside]);
});
