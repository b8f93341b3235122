import { ResNetError } from "./errors.js";
import { type Machine, targetOf, targets } from "./platform.js";

/** An addon that was looked for and could not be had. */
export interface Failure {
  /** The package's name, or the file's path. */
  readonly wanted: string;
  /** What failed, or what the system said. */
  readonly cause: unknown;
  readonly machine: Machine;
  /** Versions of `node`, and of `glibc` and of the package manager if they are known. */
  readonly versions: { readonly node: string; readonly glibc?: string; readonly installer?: string };
  /** What was looked for before, and why it was not taken. */
  readonly tried: readonly string[];
  /** This package's addons for other machines that are installed. */
  readonly others: readonly string[];
}

/** An error that names what was looked for, the machine, why it failed and what helps. */
export function addonError(failure: Failure): ResNetError {
  const { wanted, machine, versions, tried, cause } = failure;
  const { why, fix } = diagnose(failure, cause instanceof Error ? cause.message : String(cause));
  const libc = machine.libc && (machine.libc === "gnu" ? `glibc${versions.glibc ? ` ${versions.glibc}` : ""}` : "musl");
  const at = [`${machine.platform} ${machine.arch}`, libc, `Node ${versions.node}`, versions.installer];
  const lines = [
    `addon: expected ${wanted} for this machine (${at.filter(Boolean).join(", ")}), but ${why}`,
    ...tried.map((line) => `  tried before: ${line}`),
    `  to fix it: ${fix}`,
  ];
  return new ResNetError("ERR_ADDON", lines.join("\n"), { cause });
}

const BUILD = "build it in a clone of the repository: npm run build";
/** What helps where an installation is not whole. */
export const AGAIN = "delete node_modules and install again";

/** What systems say of a file that they do not load, what that means and what helps. */
const reasons: readonly [said: RegExp, why: string, fix: string][] = [
  [
    /loading addons is disabled/,
    "Node was started with --no-addons, or with its permission model and without --allow-addons",
    "start it without --no-addons or with --allow-addons; NODE_OPTIONS may have flags too",
  ],
  [
    /Access to this API has been restricted/,
    "Node's permission model keeps it from being read",
    "start Node with --allow-fs-read for the folder node_modules, and with --allow-addons",
  ],
  [
    /failed to map segment|Operation not permitted/,
    "the system runs nothing from that folder, which may be mounted noexec",
    "install where programs may run, or copy the file there and name it in RESNET_NATIVE_ADDON",
  ],
  [
    /EACCES|Permission denied/,
    "this user may not read it",
    "let everybody read node_modules: chmod -R a+rX node_modules",
  ],
  [
    /disallowed by system policy|different Team IDs/,
    "macOS's policy for this program forbids it",
    "take the mark of a download off: xattr -dr com.apple.quarantine node_modules; or sign the file as the program is signed",
  ],
  [/EISDIR/, "it is a folder", "name the file in it that ends with .node"],
  [/ld-musl|libc\.musl|ld-linux|libc\.so:/, "it was built for another C library", `${AGAIN}, on this system`],
  [
    /wrong ELF class|incompatible architecture|\.node: cannot open shared object/,
    "it was built for another processor",
    `${AGAIN}, on this system`,
  ],
  [
    /too short|invalid ELF|not a valid Win32|mach-o|code signature|ELF load command|file data/i,
    "the file is damaged",
    `${AGAIN}; if it stays so, run npm cache clean --force before`,
  ],
  [/(?:)/, "it does not load", `${AGAIN}, or ${BUILD}`],
];

/** Why it failed and what helps, in words; `said` is the message of the cause. */
function diagnose(failure: Failure, said: string): { why: string; fix: string } {
  const { wanted, cause, versions } = failure;
  if (isMissing(cause, wanted)) return missing(failure);
  if (cause instanceof Unfit) return { why: said, fix: cause.fix };
  const glibc = /GLIBC_([\d.]+)' not found/.exec(said)?.[1];
  if (glibc) {
    const has = versions.glibc ? `, and this system has ${versions.glibc}` : "";
    return { why: `it needs glibc ${glibc}${has}: ${said}`, fix: `use a newer Linux, or ${BUILD} on this one` };
  }
  const [, why, fix] = reasons.find(([pattern]) => pattern.test(said))!;
  return { why: `${why}: ${said}`, fix };
}

function missing({ wanted, machine, others }: Failure): { why: string; fix: string } {
  if (wanted === "resnet-native-cuda13") {
    return { why: "it is not installed", fix: "npm install resnet-native-cuda13, or set RESNET_NATIVE_BACKEND=cpu" };
  }
  if (!wanted.startsWith("resnet-native-")) {
    return { why: "there is no such file", fix: "name another in RESNET_NATIVE_ADDON, or unset it" };
  }
  if (!targets.includes(targetOf(machine))) {
    return { why: `there are packages for ${targets.join(", ")} only`, fix: `use one of these, or ${BUILD}` };
  }
  const copied = others.length > 0 ? `; ${others.join(" and ")} is, so node_modules or the lock file is another system's` : "";
  const again = "delete node_modules and the lock file and install again, here and with optional dependencies";
  const elsewhere = `to install for it on another system: npm install ${installFor(machine)}`;
  return {
    why: `it is not installed${copied}`,
    fix: `${again} (no --omit=optional; with npm, 11.3 or newer); ${elsewhere}; or ${BUILD}`,
  };
}

/** What the loader itself finds wrong, and what helps. */
export class Unfit extends Error {
  constructor(
    message: string,
    readonly fix: string,
  ) {
    super(message);
  }
}

/** Whether the wanted module itself, and not one that it wants, is missing. */
function isMissing(cause: unknown, wanted: string): boolean {
  const { code, message } = cause as NodeJS.ErrnoException;
  const [line = ""] = message.split("\n");
  const after = line.split(wanted)[1];
  return (code === "MODULE_NOT_FOUND" || code === "ENOENT") && after !== undefined && !/^[\w-]/.test(after);
}

/** npm's options for another system than the one it runs on. */
function installFor({ platform, arch, libc }: Machine): string {
  const options = [`--os=${platform}`, `--cpu=${arch}`];
  if (libc) options.push(`--libc=${libc === "gnu" ? "glibc" : libc}`);
  return options.join(" ");
}
