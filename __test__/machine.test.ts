import { existsSync } from "node:fs";
import { machine } from "resnet-native";
import { expect, test, vi } from "vitest";

test("machine tells the addon, the instruction set in use and the threads", () => {
  const { backend, addon, why, instructionSet, instructionSets, threads } = machine();
  expect(existsSync(addon)).toBe(true);
  expect([backend, typeof why]).toEqual(["cpu", "string"]);
  expect(instructionSets[0]).toBe("portable");
  expect(instructionSet).toBe(process.env["RESNET_NATIVE_ISA"] ?? instructionSets.at(-1));
  expect(threads).toBeGreaterThanOrEqual(1);
});

test("an instruction set that the machine has not is refused", () => {
  vi.stubEnv("RESNET_NATIVE_ISA", "mmx");
  expect(() => machine()).toThrow(/RESNET_NATIVE_ISA: expected one of portable.* got "mmx"/);
  vi.unstubAllEnvs();
  expect(machine().threads).toBeGreaterThanOrEqual(1);
});
