// P18. The package loads where it is said to, on every instruction set of the machine, and says what is missing where it cannot.

import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, promise } from "./harness.mjs";

const native = join(root, "native");
const addon = () => join(native, readdirSync(native).find((name) => name.endsWith(".node")));

/** Circumstances: what is made of a folder, and with which environment, flags and options the package is loaded; then what is to come of it. */
const CIRCUMSTANCES = {
  "as it is": { ends: "works" },
  "the portable kernels": { environment: { RESNET_NATIVE_ISA: "portable" }, ends: "works", instructionSet: "portable" },
  "AVX2's kernels": { environment: { RESNET_NATIVE_ISA: "avx2" }, ends: /works|ERR_/ },
  "AVX-512's kernels": { environment: { RESNET_NATIVE_ISA: "avx512" }, ends: /works|ERR_/ },
  "kernels that do not exist": { environment: { RESNET_NATIVE_ISA: "sse9" }, ends: /ERR_/ },
  "no home": { environment: { HOME: undefined, XDG_CACHE_HOME: undefined, RESNET_NATIVE_DATA: undefined }, ends: "works" },
  "a GPU where there is none": { options: { device: "cuda" }, ends: /works|ERR_DEVICE/ },
  "the thousandth GPU": { options: { device: "cuda:999" }, ends: "ERR_DEVICE" },
  "a GPU if there is one": { options: { device: "auto" }, ends: "works" },
  "more threads than cores": { options: { threads: 64 }, ends: "works" },
  "an addon that is not there": { named: () => "absent.node", ends: "ERR_ADDON" },
  "a folder for an addon": { named: (folder) => mkdirSync(join(folder, "a.node")), ends: "ERR_ADDON" },
  "an empty addon": { named: (folder) => writeFileSync(join(folder, "a.node"), ""), ends: "ERR_ADDON" },
  "an addon that is text": { named: (folder) => writeFileSync(join(folder, "a.node"), "version https://git-lfs.github.com/spec/v1\n"), ends: "ERR_ADDON" },
  "an addon of another program": { named: (folder) => copyFileSync(process.execPath, join(folder, "a.node")), ends: "ERR_ADDON" },
  "addons turned off": { flags: ["--no-addons"], ends: "ERR_ADDON" },
  "little address space": { limit: 3_000_000, ends: /works|ERR_/ },
};
/** How much of the addon there is, of a thousand parts: a copy that was cut off. */
const CUTS = [1, 10, 100, 300, 500, 700, 900, 990, 999];

export default promise("P18", "It loads and trains wherever it is said to, on every instruction set of the machine; what cannot be loaded is an error of its own, never a signal", [
  {
    name: "circumstances",
    trials: Object.keys(CIRCUMSTANCES),
    async run(trial) {
      const { environment = {}, flags = [], options, named, limit, ends, instructionSet } = CIRCUMSTANCES[trial.item];
      const folder = await trial.folder();
      named?.(folder);
      const variables = { ...environment, ...(named && { RESNET_NATIVE_ADDON: join(folder, "a.node") }) };
      await load(trial, { options, flags, environment: variables, ends, instructionSet, limit });
    },
  },
  {
    name: "an addon that was cut off",
    missing: () => (process.platform === "linux" ? undefined : "another system's loader looks itself"),
    trials: CUTS,
    async run(trial) {
      const folder = await trial.folder();
      const copy = join(folder, "a.node");
      copyFileSync(addon(), copy);
      chmodSync(copy, 0o755);
      truncateSync(copy, Math.floor((readFileSync(copy).length * trial.item) / 1000));
      await load(trial, { environment: { RESNET_NATIVE_ADDON: copy }, ends: "ERR_ADDON" });
    },
  },
]);

async function load(trial, { options, flags = [], environment, ends, instructionSet, limit }) {
  const file = join(root, "reliability/children/loading.mjs");
  const given = { ...process.env, RELIABILITY: JSON.stringify({ options }), ...environment };
  for (const [name, value] of Object.entries(given)) if (value === undefined) delete given[name];
  const command = [process.execPath, ...flags, file];
  // The shell's limit is in kibibytes.
  const [program, ...args] = limit ? ["sh", "-c", `ulimit -v ${limit}; exec "$0" "$@"`, ...command] : command;
  const { result } = await trial.command(program, args, { environment: given }).ended();
  const end = result.code ?? (result.name === undefined ? "works" : result.name);
  hold(ends instanceof RegExp ? ends.test(end) : end === ends, `${trial.item}: ${JSON.stringify(result)}`);
  hold(result.code === undefined || result.message.length > 20, `${trial.item}: ${JSON.stringify(result)} does not tell much`);
  hold(end !== "works" || Number.isFinite(result.loss), `${trial.item}: the loss is ${result.loss}`);
  hold(instructionSet === undefined || result.instructionSet === instructionSet, `${trial.item}: ${result.instructionSet}`);
}
