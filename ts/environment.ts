import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { origin } from "./binding.js";
import { deviceInfo } from "./device.js";

/** The version of this package, where its manifest is beside it; a bundle has it elsewhere. */
export function ownVersion(): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { name: string; version: string };
    return name === "resnet-native" ? version : undefined;
  } catch {
    return undefined;
  }
}

/** What a page says that it was made by. */
export function generator(): string {
  return ["resnet-native", ownVersion()].filter(Boolean).join(" ");
}

/** What a program runs on, but nothing by which a person or a machine could be known. */
export function environmentOf(device: string): [name: string, value: string][] {
  const { cpu, cuda, device: usual } = deviceInfo();
  const gpus = cuda.gpus.map(({ name }) => name).join(", ");
  return [
    ["resnet-native", ownVersion() ?? "version not known"],
    ["Node", process.version],
    ["System", `${process.platform} ${release()}, ${process.arch} (${origin.target})`],
    ["Processor", `${cpus()[0]?.model.trim() ?? "not known"}, ${availableParallelism()} threads`],
    ["Memory", `${(totalmem() / 2 ** 30).toFixed(1)} GiB`],
    ["Device of the model", device],
    ["Kernels", `${cpu.instructionSet}, of ${cpu.instructionSets.join(", ")}; bf16 by ${cpu.bf16}, int8 by ${cpu.int8}`],
    ["Threads of a model by default", String(cpu.threads)],
    ...(gpus === "" ? [] : ([["GPUs", `${gpus}; driver ${cuda.driver ?? "not known"}, CUDA ${cuda.version ?? "not known"}, by default ${usual}`]] as [string, string][])),
  ];
}
