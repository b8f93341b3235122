import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** What a process runs on, as far as that decides which addon fits. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** The C library, on Linux. */
  readonly libc?: "gnu" | "musl";
}

/** Machines that there is a package for; `napi.targets` in package.json has the same as Rust names them. */
export const targets: readonly string[] = [
  "darwin-arm64",
  "darwin-x64",
  "linux-arm64-gnu",
  "linux-arm64-musl",
  "linux-x64-gnu",
  "linux-x64-musl",
  "win32-arm64-msvc",
  "win32-x64-msvc",
];

/** Platform, processor and C library, as the build names its output. */
export function targetOf({ platform, arch, libc }: Machine): string {
  if (platform === "win32") return `win32-${arch}-msvc`;
  return libc ? `${platform}-${arch}-${libc}` : `${platform}-${arch}`;
}

/** What this process runs on. */
export function thisMachine(): Machine {
  const { platform, arch } = process;
  return platform === "linux" ? { platform, arch, libc: libc() } : { platform, arch };
}

/** The version of glibc that runs, if one does. A report takes milliseconds, so it is for errors. */
export function glibcVersion(): string | undefined {
  // Otherwise a report looks up the names of all peers, which can take seconds.
  Object.assign(process.report, { excludeNetwork: true });
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime;
}

/** The running program names its dynamic loader. */
function libc(): "gnu" | "musl" {
  try {
    return loaderOf("/proc/self/exe").includes("/ld-musl-") ? "musl" : "gnu";
  } catch {
    return glibcVersion() === undefined ? "musl" : "gnu";
  }
}

/** The loader that a 64-bit ELF program asks for: mostly among its first bytes, but a tool that gave it another one may have put it anywhere. */
export function loaderOf(program: string): string {
  const INTERPRETER = 3;
  const { bytes: header } = part(program, 0, 64);
  const [start, size, count] = [Number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)];
  const { bytes: segments } = part(program, start, size * count);
  const at = Array.from({ length: count }, (_, i) => i * size).find((at) => segments.readUInt32LE(at) === INTERPRETER);
  if (at === undefined) throw new Error(`${program} names no loader`);
  return part(program, Number(segments.readBigUInt64LE(at + 8)), Number(segments.readBigUInt64LE(at + 32))).bytes.toString("latin1");
}

/** Whether an ELF file ends before its table of sections does: to load what is left of it would end the process. */
export function isTruncated(file: string): boolean {
  const { bytes, size } = part(file, 0, 64);
  const elf64 = bytes.length === 64 && bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1;
  return elf64 && Number(bytes.readBigUInt64LE(40)) + bytes.readUInt16LE(58) * bytes.readUInt16LE(60) > size;
}

function part(file: string, start: number, length: number): { bytes: Buffer; size: number } {
  const handle = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(length);
    return { bytes: bytes.subarray(0, readSync(handle, bytes, 0, length, start)), size: fstatSync(handle).size };
  } finally {
    closeSync(handle);
  }
}
