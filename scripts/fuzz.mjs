// npm run fuzz -- TARGET…: mutates files of a format (of each, if none is named), led by what code they reach, and has them read: without a panic,
// in memory that the file's size allows, and so that what is accepted can be used and written again. `--minutes 30` of processor time for each
// target, else one; as many targets beside each other as there are cores. What was found goes on from one run to the next, in out/fuzz;
// `--keep` keeps the fewest files that reach the same in reliability/corpus, where experiment P7 begins with them too, and writes what was reached to
// reliability/FUZZ.md. `--again FILE` reads one.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { machine } from "../benchmark/report.mjs";
import { rowsOf, tableOf } from "../reliability/results.mjs";
import { finish, output, root, rustHost, step } from "./steps.mjs";

const fixtures = join(root, "crates/resnet-core/tests/fixtures");
/** Of each target the folder of its kept files, as P7 calls the format, and where there are more to begin with. */
const TARGETS = {
  checkpoint: { kept: "checkpoint" },
  cifar: { kept: "archive-of-CIFAR" },
  idx: { kept: "idx-packed-or-not" },
  image_list: { kept: "list-of-pictures" },
  jpeg: { kept: "jpeg", more: ["pictures", ".jpg"] },
  model: { kept: "model-file", more: ["formats", ".safetensors"] },
  png: { kept: "png", more: ["pictures", ".png"] },
  safetensors: { kept: "weights-as-safetensors", more: ["formats", ".safetensors"] },
  torch: { kept: "weights-of-PyTorch", more: ["torch_files", ".pth"] },
  webp: { kept: "webp", more: ["pictures", ".webp"] },
};
/** The crates of which it is seen what a file reaches. */
const SEEN = ["resnet-core", "safetensors", "flate2", "miniz_oxide", "image", "png", "fdeflate", "image-webp", "zune-jpeg", "zune-core", "moxcms"];
const COVERAGE = ["-Cpasses=sancov-module", ...["level=4", "inline-8bit-counters", "pc-table", "trace-compares"].map((what) => `-Cllvm-args=-sanitizer-coverage-${what}`)];
/** Seconds of the clock after which a file is a finding: many, as a program may be stopped for a while. */
const MOST_SECONDS = 300;
/** The longest file: fixtures are no longer. */
const MOST_BYTES = 8192;
/** Most bytes of all files that are kept of a target. */
const MOST_KEPT = 40_000;
const FIGURES = ["target", "CPU minutes", "executions", "edges", "files", "KiB"];
const TITLES = [...FIGURES, "findings"];
const PAGE_TITLES = [...FIGURES, "commit", "machine"];
const NONE = "none";

const { values: given, positionals } = parseArgs({ options: { minutes: { type: "string" }, keep: { type: "boolean" }, again: { type: "string" } }, allowPositionals: true });
const minutes = Number(given.minutes ?? 1);
if (!(minutes > 0)) throw new Error(`--minutes: expected a number above 0, got ${given.minutes}`);
const unknown = positionals.find((name) => !(name in TARGETS));
if (unknown) throw new Error(`expected some of ${Object.keys(TARGETS).join(", ")}, got ${unknown}`);
if (given.again && positionals.length !== 1) throw new Error("--again: expected one target");
const chosen = positionals.length > 0 ? positionals : Object.keys(TARGETS);
const target = rustHost();
const out = join(root, "out/fuzz");

await step("requirements", () => {
  const missing = [];
  const libraries = output("rustc", "--print", "target-libdir");
  if (!libraries) missing.push("Rust: curl -sSf https://sh.rustup.rs | sh");
  else if (!readdirSync(libraries).some((name) => name.endsWith("_rt.asan.a"))) missing.push("AddressSanitizer's library, as rustup's Rust for Linux has it");
  if (output("c++", "--version") === undefined) missing.push("a C++ compiler, for libFuzzer: apt-get install g++");
  return missing.length > 0 ? `missing\n${missing.map((line) => `  - ${line}`).join("\n")}` : undefined;
});
await step("build", () => {
  const flags = SEEN.flatMap((name) => [`rustflags=${JSON.stringify(COVERAGE)}`, "opt-level=2"].flatMap((setting) => ["--config", `profile.release.package.${name}.${setting}`]));
  const words = ["build", "--locked", "--release", "-Zprofile-rustflags", "--target", target, "--manifest-path", "reliability/fuzz/Cargo.toml", ...chosen.flatMap((name) => ["--bin", name]), ...flags];
  // The compiler's own switch for what is unstable, so that the toolchain of everything else will do.
  const env = { ...process.env, RUSTC_BOOTSTRAP: "1", CARGO_TARGET_DIR: join(root, "target/fuzz"), RUSTFLAGS: "-Zsanitizer=address" };
  const { status, error } = spawnSync("cargo", words, { cwd: root, env, stdio: "inherit" });
  return error?.message ?? (status === 0 ? undefined : `exit code ${status}`);
});

if (given.again) {
  await step(`${chosen[0]} ${given.again}`, async () => {
    const { status, said } = await run(chosen[0], [resolve(given.again)]);
    console.log(said);
    return status === 0 ? undefined : "see above";
  });
} else {
  const rows = [];
  await step("fuzz", async () => {
    const names = chosen.values();
    await Promise.all(Array.from({ length: availableParallelism() }, async () => {
      for (const name of names) rows.push(await fuzz(name));
    }));
    console.log(tableOf(TITLES, rows.toSorted((a, b) => a.target.localeCompare(b.target))));
    const found = rows.filter(({ findings }) => findings !== NONE);
    return found.length > 0 ? `${found.length} of ${rows.length} targets found something` : undefined;
  });
  if (given.keep) {
    // Before the kept files change, which are a part of what was tried.
    const { cpu, commit } = await machine();
    for (const name of chosen) await step(`files to keep of ${name}`, () => keep(name));
    await step("reliability/FUZZ.md", () => tell(rows.map((row) => ({ ...row, commit, machine: cpu }))));
  }
}
finish();

/** Fuzzes a target for so long; a row of the table. */
async function fuzz(name) {
  const corpus = join(out, name);
  mkdirSync(corpus, { recursive: true });
  const { status, said, seconds } = await run(name, [corpus, ...seedsOf(name)], 60 * minutes);
  const last = [...said.matchAll(/cov: (\d+) ft: \d+ corp: (\d+)\/(\S+)/g)].at(-1) ?? [];
  const [, executions] = /stat::number_of_executed_units:\s*(\d+)/.exec(said) ?? [];
  // The status of what was told to end.
  const isFine = status === 0 || status === 72;
  const kept = readdirSync(corpus).map((file) => statSync(join(corpus, file)).size);
  const findings = isFine ? NONE : /\S*out\/fuzz\/\S*-[0-9a-f]{40}/.exec(said)?.[0] ?? "it did not begin";
  if (!isFine) console.log(`${said.split("\n").slice(-60).join("\n")}\n✗ ${name}: again: npm run fuzz -- ${name} --again ${findings}`);
  const [files, kib] = [String(kept.length), (kept.reduce((a, b) => a + b, 0) / 1024).toFixed(0)];
  return { target: name, "CPU minutes": (seconds / 60).toFixed(1), executions: executions ?? "?", edges: last[1] ?? "?", files, KiB: kib, findings };
}

/** Folders of files to begin with. */
function seedsOf(name) {
  const { kept, more } = TARGETS[name];
  const folders = [join(root, "reliability/corpus", kept)];
  if (more) {
    const [folder, ending] = more;
    const copies = join(out, "fixtures", name);
    mkdirSync(copies, { recursive: true });
    for (const file of readdirSync(join(fixtures, folder)).filter((file) => extname(file) === ending)) {
      const path = join(fixtures, folder, file);
      if (statSync(path).size <= MOST_BYTES) copyFileSync(path, join(copies, file));
    }
    folders.push(copies);
  }
  // The last one is the target's own, in the folder that it runs in.
  return [...folders.filter((folder) => existsSync(folder)), "seeds"];
}

/** Runs a target's program in a folder in memory, for so many seconds of processor time. */
async function run(name, args, budget = Infinity) {
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "fuzz-"));
  mkdirSync(join(folder, "seeds"));
  const program = join(root, "target/fuzz", target, "release", name);
  const options = ["-print_final_stats=1", `-timeout=${MOST_SECONDS}`, "-rss_limit_mb=2048", `-max_len=${MOST_BYTES}`, `-artifact_prefix=${join(out, `${name}-`)}`];
  // What a panic shows of the stack would itself go beyond the memory that a target may take; libFuzzer shows it anyway.
  const env = { ...process.env, ASAN_OPTIONS: "detect_leaks=0:quarantine_size_mb=4", RUST_BACKTRACE: "0" };
  const child = spawn(program, [...options, ...args], { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"] });
  let [said, seconds] = ["", 0];
  child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-200_000)));
  const watch = setInterval(() => {
    seconds = secondsOf(child.pid) ?? seconds;
    if (seconds > budget) child.kill("SIGINT");
  }, 500);
  const [status] = await once(child, "close");
  clearInterval(watch);
  rmSync(folder, { recursive: true });
  return { status, said, seconds };
}

/** The processor time that a process has had; it goes on counting where the clock does, but not where it is stopped. */
function secondsOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
}

/** The page of all targets gets these rows in the place of theirs. */
function tell(rows) {
  const page = join(root, "reliability/FUZZ.md");
  const before = existsSync(page) ? rowsOf(PAGE_TITLES, readFileSync(page, "utf8")) : [];
  const all = new Map([...before, ...rows].map((row) => [row.target, row]));
  const inOrder = Object.keys(TARGETS).filter((name) => all.has(name)).map((name) => all.get(name));
  const says = `\`npm run fuzz -- TARGET --minutes 30 --keep\` writes a target's row, if nothing was found: what is found is mended first. Edges are places in the code that
its files reach together; of the files the fewest that reach the same are kept in \`corpus\`.`;
  writeFileSync(page, ["# What mutated files reached", "", says, "", tableOf(PAGE_TITLES, inOrder), ""].join("\n"));
}

/** Puts the fewest files that reach what all do in the place of the kept ones. */
async function keep(name) {
  const kept = join(root, "reliability/corpus", TARGETS[name].kept);
  const fewest = join(out, `${name}-fewest`);
  rmSync(fewest, { recursive: true, force: true });
  mkdirSync(fewest, { recursive: true });
  const { status, said } = await run(name, ["-set_cover_merge=1", fewest, ...seedsOf(name), join(out, name)]);
  if (status !== 0 || readdirSync(fewest).length === 0) return said.slice(-2000);
  mkdirSync(kept, { recursive: true });
  // What was once a finding has a name.
  for (const file of readdirSync(kept).filter((file) => /^[0-9a-f]{12}$/.test(file))) rmSync(join(kept, file));
  let bytes = 0;
  const files = readdirSync(fewest).map((file) => ({ file, size: statSync(join(fewest, file)).size }));
  // Small ones first, so that there is room for many.
  for (const { file, size } of files.toSorted((a, b) => a.size - b.size)) {
    bytes += size;
    if (bytes <= MOST_KEPT) renameSync(join(fewest, file), join(kept, file.slice(0, 12)));
  }
  rmSync(fewest, { recursive: true });
  console.log(`${readdirSync(kept).length} of ${files.length} files`);
  return undefined;
}
