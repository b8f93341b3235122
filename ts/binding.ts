import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type * as Addon from "../native/index.js";
import { ResNetError } from "./errors.js";

/** Platform, processor and C library, as the build names its output. */
function target(): string {
  const { platform, arch } = process;
  if (platform === "win32") return `win32-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return `linux-${arch}-${report.header?.glibcVersionRuntime === undefined ? "musl" : "gnu"}`;
}

function load(): typeof Addon {
  const path = fileURLToPath(new URL(`../native/resnet.${target()}.node`, import.meta.url));
  try {
    return createRequire(import.meta.url)(path) as typeof Addon;
  } catch (cause) {
    const why = existsSync(path) ? `it does not load: ${(cause as Error).message}` : "it is not there";
    const at = `${process.platform} ${process.arch}, Node ${process.version}`;
    throw new ResNetError(
      "ERR_ADDON",
      `addon: expected ${path} for this machine (${at}), but ${why}. Build it with \`npm run build\`.`,
      { cause },
    );
  }
}

/** The addon. */
export const addon: typeof Addon = load();

export type {
  CancelFlag,
  NamedTensor,
  NativeBatch,
  NativeDataset,
  NativeModel,
  NativeRun,
  NativeTrainer,
} from "../native/index.js";
