import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { addonError } from "../ts/addon-error.js";
import { load, origin } from "../ts/binding.js";
import { loaderOf, type Machine, targetOf, targets, thisMachine } from "../ts/platform.js";

const linux: Machine = { platform: "linux", arch: "x64", libc: "gnu" };
const alpine: Machine = { platform: "linux", arch: "x64", libc: "musl" };
const onLinux = describe.skipIf(process.platform !== "linux" || thisMachine().libc !== "gnu");
/** Where a package is installed, beside whatever a test puts there. */
let root: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  root = join(folder, "node_modules", "resnet-native");
  await mkdir(root, { recursive: true });
  await writeFile(join(root, "package.json"), '{ "name": "resnet-native", "version": "0.1.0" }');
});

afterEach(async () => rm(join(root, "../.."), { recursive: true }));

/** Installs a package whose addon is a file with these contents, or a script that gives the package's name. */
async function install(name: string, contents?: Uint8Array | string, version = "0.1.0") {
  const folder = join(root, "..", name);
  const script = typeof contents === "string" ? contents : `module.exports = ${JSON.stringify({ name })};`;
  const main = contents instanceof Uint8Array ? "resnet.node" : "index.js";
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "package.json"), JSON.stringify({ name, version, main }));
  await writeFile(join(folder, main), contents instanceof Uint8Array ? contents : script);
}

const take = (machine: Machine, env = {}) => load({ root, machine, env });

function refusal(machine: Machine, env = {}): string {
  try {
    take(machine, env);
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    return `${name} ${code} ${message}`;
  }
  throw new Error("it loads");
}

describe("which addon is taken", () => {
  test("the one for the machine, where all are installed", async () => {
    for (const target of targets) await install(`resnet-native-${target}`);
    const machines: [Machine, string][] = [
      [linux, "linux-x64-gnu"],
      [alpine, "linux-x64-musl"],
      [{ platform: "linux", arch: "arm64", libc: "gnu" }, "linux-arm64-gnu"],
      [{ platform: "darwin", arch: "arm64" }, "darwin-arm64"],
      [{ platform: "win32", arch: "x64" }, "win32-x64-msvc"],
    ];
    for (const [machine, target] of machines) {
      expect(targetOf(machine)).toBe(target);
      expect(take(machine).addon).toEqual({ name: `resnet-native-${target}` });
      expect(take(machine).origin).toMatchObject({ backend: "cpu", target });
    }
  });

  test("what was built here goes before a package, a file that is named before all", async () => {
    await install("resnet-native-linux-x64-gnu");
    await mkdir(join(root, "native"));
    // A text: that it is tried and fails tells that it goes first.
    await writeFile(join(root, "native/resnet.linux-x64-gnu.node"), "no addon");
    expect(refusal(linux)).toContain(join(root, "native/resnet.linux-x64-gnu.node"));
    const RESNET_NATIVE_ADDON = join(root, "../resnet-native-linux-x64-gnu/index.js");
    expect(take(linux, { RESNET_NATIVE_ADDON }).addon).toEqual({ name: "resnet-native-linux-x64-gnu" });
    expect(refusal(linux, { RESNET_NATIVE_ADDON: join(root, "none.node") })).toContain("there is no such file");
  });

  test("CUDA's where it is installed and not refused", async () => {
    await install("resnet-native-linux-x64-gnu");
    expect(take(linux).origin.why).toContain("resnet-native-cuda13 is not installed");
    expect(refusal(linux, { RESNET_NATIVE_BACKEND: "cuda" })).toMatch(/expected resnet-native-cuda13 .*not installed\n[^]*fix/);
    await install("resnet-native-cuda13");
    expect(take(linux)).toMatchObject({ addon: { name: "resnet-native-cuda13" }, origin: { backend: "cuda" } });
    expect(take(linux, { RESNET_NATIVE_BACKEND: "cpu" }).origin.backend).toBe("cpu");
  });

  test("the CPU's where CUDA's does not load, unless it must", async () => {
    await install("resnet-native-linux-x64-gnu");
    await install("resnet-native-cuda13", "throw new Error('mach-o file, but is an incompatible architecture');");
    expect(take(linux).addon).toEqual({ name: "resnet-native-linux-x64-gnu" });
    expect(take(linux).origin.why).toMatch(/expected resnet-native-cuda13 .* it was built for another processor/);
    expect(refusal(linux, { RESNET_NATIVE_BACKEND: "cuda" })).toContain("it was built for another processor");
    expect(refusal(linux, { RESNET_NATIVE_BACKEND: "gpu" })).toBe(
      'ResNetError ERR_INVALID_ARGUMENT RESNET_NATIVE_BACKEND: expected "auto", "cpu" or "cuda", got "gpu"',
    );
  });

  test("there are packages for what the build is set up for, and this machine is known", async () => {
    const { napi } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    expect(napi.targets).toHaveLength(targets.length);
    for (const target of targets) {
      const [system, arch, abi] = target.split("-");
      const words = [arch === "x64" ? "x86_64" : "aarch64", system === "win32" ? "windows" : system, abi ?? "apple"];
      expect(napi.targets.filter((triple: string) => words.every((word) => triple.includes(word!)))).toHaveLength(1);
    }
    const report = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    const libc = report.header.glibcVersionRuntime === undefined ? "musl" : "gnu";
    expect(thisMachine().libc).toBe(process.platform === "linux" ? libc : undefined);
    expect(targets).toContain(origin.target);
  });

  test("the C library by the loader that a program asks for, wherever in it that is named", async () => {
    const [musl, headers, place] = ["/lib/ld-musl-x86_64.so.1", 64, 100_000];
    const program = Buffer.alloc(place + musl.length);
    program.write("\x7fELF\x02\x01\x01", "latin1");
    program.writeBigUInt64LE(BigInt(headers), 32);
    program.writeUInt16LE(56, 54);
    program.writeUInt16LE(2, 56);
    // What is loaded first, then the name of the loader.
    program.writeUInt32LE(1, headers);
    program.writeUInt32LE(3, headers + 56);
    program.writeBigUInt64LE(BigInt(place), headers + 56 + 8);
    program.writeBigUInt64LE(BigInt(musl.length), headers + 56 + 32);
    program.write(musl, place);
    await writeFile(join(root, "node"), program);
    expect(loaderOf(join(root, "node"))).toBe(musl);
    program.writeUInt16LE(1, 56);
    await writeFile(join(root, "node"), program);
    expect(() => loaderOf(join(root, "node"))).toThrow("names no loader");
  });
});

describe("errors", () => {
  test("a package that is not there: machine, places and fix", async () => {
    const env = { npm_config_user_agent: "npm/10.8.2 node/v20.20.2 linux x64" };
    const message = refusal(alpine, env);
    expect(message).toMatch(/^ResNetError ERR_ADDON addon: expected resnet-native-linux-x64-musl for this machine/);
    expect(message).toContain(`(linux x64, musl, Node ${process.versions.node}, npm/10.8.2), but it is not installed\n`);
    expect(message).toContain(`tried before: ${join(root, "native/resnet.linux-x64-musl.node")} is not there\n`);
    expect(message).toMatch(/to fix it: delete node_modules and the lock file.*--os=linux --cpu=x64 --libc=musl/);
  });

  test("node_modules from another system", async () => {
    await install("resnet-native-darwin-arm64");
    await install("resnet-native-linux-x64-gnu");
    expect(refusal(alpine)).toMatch(
      /resnet-native-darwin-arm64 and resnet-native-linux-x64-gnu is, so node_modules or the lock file is another/,
    );
  });

  test("a platform without a package", () => {
    const message = refusal({ platform: "freebsd", arch: "x64" });
    expect(message).toMatch(/expected resnet-native-freebsd-x64 .*there are packages for darwin-arm64, .* only\n/);
    expect(message).toContain("npm run build");
  });

  test("a package of another version", async () => {
    await install("resnet-native-linux-x64-gnu", undefined, "0.0.9");
    expect(refusal(linux)).toMatch(/linux-x64-gnu .* but 0\.0\.9 is installed beside resnet-native 0\.1\.0\n/);
  });

  test("a bundle, from which the addon cannot be found", async () => {
    await install("resnet-native-linux-x64-gnu");
    await writeFile(join(root, "package.json"), '{ "name": "application", "version": "0.1.0" }');
    expect(refusal(linux)).toMatch(/moved out of its package\n[^]*external: \["resnet-native"\]/);
    await rm(join(root, "package.json"));
    expect(refusal(linux)).toContain("moved out of its package");
  });

  test("what systems say of files that are not for them", () => {
    const says = (said: string) => {
      const versions = { node: "20.20.2", glibc: "2.28" };
      return addonError({ wanted: "x", cause: new Error(said), machine: linux, versions, tried: [], others: [] }).message;
    };
    expect(says("\\\\?\\C:\\resnet.node is not a valid Win32 application.")).toContain("the file is damaged");
    expect(says("mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64')")).toContain("processor");
    expect(says("Error loading shared library ld-linux-x86-64.so.2: No such file")).toContain("another C library");
    expect(says("/lib/libc.so.6: version `GLIBC_2.34' not found")).toContain("needs glibc 2.34, and this system has 2.28");
    expect(says("/app/resnet.node: failed to map segment from shared object")).toContain("mounted noexec");
    expect(says("/app/resnet.node: cannot open shared object file: Permission denied")).toContain("this user may not read it");
    expect(says("code signature in '/app/resnet.node' not valid for use in process: library load disallowed by system policy")).toMatch(
      /policy for this program forbids it[^]*com\.apple\.quarantine/,
    );
    expect(says("a dynamic link library (DLL) initialization routine failed")).toContain("it does not load");
  });
});

describe("a Node that loads no addons", () => {
  const binding = fileURLToPath(new URL("../dist/binding.js", import.meta.url));
  const permission = process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission";
  const says = async (...flags: string[]) => {
    const script = `import("${binding}").catch(({ code, message }) => console.log(code, message))`;
    return (await promisify(execFile)(process.execPath, [...flags, "-e", script])).stdout;
  };

  test("is told which flag it is, and what helps", async () => {
    for (const flags of [["--no-addons"], [permission, "--allow-fs-read=*"]]) {
      expect(await says(...flags)).toMatch(/^ERR_ADDON .*--no-addons, or .* without --allow-addons[^]*to fix it: start it without/);
    }
  });

  test("and which, where it may not read the file", async () => {
    const root = fileURLToPath(new URL("..", import.meta.url));
    const readable = ["dist/*", "package.json"].map((path) => `--allow-fs-read=${join(root, path)}`);
    expect(await says(permission, "--allow-addons", ...readable)).toMatch(/^ERR_ADDON .*permission model keeps[^]*--allow-fs-read/);
  });
});

onLinux("files that do not load", () => {
  let real: Buffer;
  beforeEach(async () => {
    const native = fileURLToPath(new URL("../native", import.meta.url));
    const name = (await readdir(native)).find((file) => file.endsWith(".node"));
    real = await readFile(join(native, name!));
  });

  /** The built addon with another text in place of the first that fits and is not shorter. */
  function patched(from: string | RegExp, to: string): Buffer {
    const text = real.toString("latin1");
    const [found] = text.match(from)!;
    return Buffer.from(text.replace(found, to.padEnd(found.length, "\0")), "latin1");
  }

  async function refused(addon: Buffer): Promise<string> {
    await install(`resnet-native-${origin.target}`, addon);
    return refusal(thisMachine());
  }

  test("a copy that ends early, is empty or is something else", async () => {
    for (const bytes of [real.subarray(0, real.length >> 1), Buffer.alloc(0), Buffer.from("<html>")]) {
      expect(await refused(bytes)).toMatch(/the file is damaged: .*resnet\.node[^]*fix it: delete node_modules/);
    }
  });

  test.runIf(process.platform === "linux")("a folder in place of the file", () => {
    expect(refusal(linux, { RESNET_NATIVE_ADDON: root })).toMatch(/but it is a folder: EISDIR[^]*fix it: name the file in it/);
  });

  test("a newer glibc than there is", async () => {
    expect(await refused(patched(/GLIBC_2\.\d\d(?=\0)/, "GLIBC_9.99"))).toMatch(/needs glibc 9\.99, and this system has \d\.\d+/);
  });

  test("musl's C library, and another processor", async () => {
    expect(await refused(patched(/ld-linux[\w.-]+(?=\0)/, "libc.musl.so"))).toContain("built for another C library");
    const elf = real.toString("latin1", 16, 20);
    expect(await refused(patched(elf, `${elf.slice(0, 2)}\xf3\0`))).toContain("built for another processor");
  });

  test("CUDA's addon on an old system, in a process of its own: the CPU's is taken", async () => {
    await install("resnet-native-cuda13", patched(/GLIBC_2\.\d\d(?=\0)/, "GLIBC_9.99"));
    await install(`resnet-native-${origin.target}`, real);
    await mkdir(join(root, "dist"));
    await writeFile(join(root, "dist/package.json"), '{ "type": "module" }');
    for (const name of ["binding.js", "platform.js", "addon-error.js", "ranks.js", "errors.js"]) {
      await copyFile(new URL(`../dist/${name}`, import.meta.url), join(root, "dist", name));
    }
    const script = `import("${join(root, "dist/binding.js")}").then(({ addon, origin }) =>
      console.log(JSON.stringify([typeof addon.NativeModel, origin])))`;
    const env = { ...process.env, RESNET_NATIVE_ADDON: "" };
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script], { env });
    const [model, { backend, why }] = JSON.parse(stdout);
    expect([model, backend]).toEqual(["function", "cpu"]);
    expect(why).toMatch(/it needs glibc 9\.99/);
  });
});
