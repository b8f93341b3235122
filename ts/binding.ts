import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type * as Addon from "../native/index.js";
import { addonError, AGAIN, Unfit } from "./addon-error.js";
import { ResNetError } from "./errors.js";
import { isDescriptorLost, pmiOf, ranksOf, rendezvousOf } from "./ranks.js";
import { glibcVersion, isTruncated, type Machine, targetOf, targets, thisMachine } from "./platform.js";

/** Which addon was taken, and why. */
export interface Origin {
  readonly backend: "cpu" | "cuda";
  /** Platform, processor and C library, as packages are named. */
  readonly target: string;
  readonly file: string;
  readonly why: string;
}

/** What an addon is chosen by: a package's folder, the machine, the environment. */
export interface Place {
  readonly root: string;
  readonly machine: Machine;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The file that `RESNET_NATIVE_ADDON` names; or the CUDA package, if there is one; or what was built here; or the platform's package. */
export function load({ root, machine, env }: Place): { addon: typeof Addon; origin: Origin } {
  const require = createRequire(join(root, "package.json"));
  const target = targetOf(machine);
  const tried: string[] = [];
  const open = (wanted: string, backend: Origin["backend"], why: string, forAll = false) => {
    try {
      const file = wanted.startsWith("resnet-native-") ? locate(require, wanted) : wanted;
      if (machine.platform === "linux" && isTruncated(file)) {
        throw new Unfit(`the file is damaged: ${file} ends early`, AGAIN);
      }
      const addon = (forAll ? openedForAll(file) : require(file)) as typeof Addon;
      return { addon, origin: { backend, target, file, why: [why, ...tried].join("; ") } };
    } catch (cause) {
      const others = targets.map((other) => `resnet-native-${other}`).filter((name) => isThere(require, name));
      const glibc = machine.libc === "gnu" ? glibcVersion() : undefined;
      const installer = env["npm_config_user_agent"]?.split(" ")[0];
      const versions = { node: process.versions.node, glibc, installer };
      throw addonError({ wanted, cause, machine, versions, tried, others });
    }
  };
  const ranks = ranksOf(env);
  if (env["RESNET_NATIVE_ADDON"]) return open(resolve(env["RESNET_NATIVE_ADDON"]), "cpu", "RESNET_NATIVE_ADDON names it", ranks !== undefined);

  const byMpi = join(root, "native", "mpi", `resnet.${target}.node`);
  if (ranks !== undefined && mayExist(byMpi)) {
    return open(byMpi, "cpu", `it was built here for MPI, and ${ranks.source} tells of ${ranks.size} processes`, true);
  }

  const backend = env["RESNET_NATIVE_BACKEND"] || "auto";
  if (!["auto", "cpu", "cuda"].includes(backend)) {
    const expected = 'RESNET_NATIVE_BACKEND: expected "auto", "cpu" or "cuda"';
    throw new ResNetError("ERR_INVALID_ARGUMENT", `${expected}, got "${backend}"`);
  }
  const cuda = "resnet-native-cuda13";
  if (backend === "cpu") tried.push("RESNET_NATIVE_BACKEND is cpu");
  else if (backend === "auto" && !isThere(require, cuda)) tried.push(`${cuda} is not installed`);
  else {
    try {
      return open(cuda, "cuda", `${cuda} is installed`);
    } catch (error) {
      if (backend === "cuda") throw error;
      tried.push((error as Error).message);
    }
  }
  const built = join(root, "native", `resnet.${target}.node`);
  if (mayExist(built)) return open(built, "cpu", "it was built here");
  tried.push(`${built} is not there`);
  return open(`resnet-native-${target}`, "cpu", `resnet-native-${target} is installed`);
}

/** The file of a package that has the version of this one. */
function locate(require: NodeJS.Require, name: string): string {
  const ours = manifestOf(require, ".");
  if (ours?.name !== "resnet-native") {
    throw new Unfit("this code was moved out of its package", 'keep it out of the bundle: external: ["resnet-native"]');
  }
  const file = require.resolve(name);
  const version = manifestOf(require, name)?.version;
  if (version === ours.version) return file;
  throw new Unfit(`${version} is installed beside resnet-native ${ours.version}`, `update the lock file, ${AGAIN}`);
}

/** Tells what a rank starts that it is not that rank. */
const RANK_IS_TAKEN = "RESNET_NATIVE_RANK_IS_TAKEN";

/** Opens an addon whose libraries are to be found by what they open in turn: Open MPI's plugins name none that they need. */
function openedForAll(file: string): unknown {
  // UCX, a library of both MPIs, replaces functions of memory as it is loaded, while V8's threads use them: some processes crash then.
  process.env["UCX_MEM_EVENTS"] ??= "no";
  // Here, since who reads the environment while it changes may crash: Node locks it for itself, and no thread of the addon or of MPI is there yet.
  const [ranks, rendezvous] = [ranksOf(process.env), rendezvousOf(process.env)];
  if (ranks && rendezvous) Object.assign(process.env, pmiOf(ranks, rendezvous));
  const module = { exports: {} };
  process.dlopen(module, file, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
  // A program that a rank starts has its variables too, and is none.
  if (process.env[RANK_IS_TAKEN] === undefined && isDescriptorLost(process.env)) {
    const descriptor = (module.exports as Partial<typeof Addon>).mpiDescriptor?.();
    if (typeof descriptor === "number") process.env["PMI_FD"] = String(descriptor);
  }
  if (ranks) process.env[RANK_IS_TAKEN] = String(process.pid);
  return module.exports;
}

function manifestOf(require: NodeJS.Require, name: string): { name: string; version: string } | undefined {
  return isThere(require, `${name}/package.json`) ? require(`${name}/package.json`) : undefined;
}

/** Whether a file is there, or Node's permission model does not tell. */
function mayExist(file: string): boolean {
  try {
    return existsSync(file);
  } catch {
    return true;
  }
}

function isThere(require: NodeJS.Require, name: string): boolean {
  try {
    return require.resolve(name) !== "";
  } catch {
    return false;
  }
}

/** Set where nothing is computed, as for the command line's help: an addon that does not work is then told when it is first used. */
const LATE = Symbol.for("resnet-native.late");

function loaded(): ReturnType<typeof load> {
  try {
    return load({ root: fileURLToPath(new URL("..", import.meta.url)), machine: thisMachine(), env: process.env });
  } catch (error) {
    if (!(LATE in globalThis)) throw error;
    const get = () => {
      throw error;
    };
    return { addon: new Proxy({} as typeof Addon, { get }), origin: new Proxy({} as Origin, { get }) };
  }
}

/** The addon, and where it came from. */
export const { addon, origin } = loaded();

export type {
  CancelFlag,
  NamedTensor,
  NativeBatches,
  NativeDataset,
  NativeMatrix,
  NativeModel,
  NativePicture,
  NativePixels,
  NativeReplacement,
  NativeRun,
  NativeSummary,
  NativeTrainer,
} from "../native/index.js";
