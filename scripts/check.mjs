// The house rules: what must not be found, and where.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import { circles } from "./circles.mjs";
import { guides } from "./guide-programs.mjs";
import { brokenLinks } from "./links.mjs";
import { brokenRooms } from "./rooms.mjs";
import { root } from "./steps.mjs";

const FOLDERS = ["crates", "ts", "__test__", "examples", "benchmark", "reliability", "scripts", "tools"];
const DOCUMENTS = ["README.md", "INSTALL.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", ...guides()];
/** Folders within which no two modules use each other, but a parent and its children. */
const WITHOUT_CIRCLES = ["crates/resnet-ops/src/", "crates/resnet-core/src/", "crates/resnet-napi/src/", "crates/resnet-mpi/src/", "ts/"];
const MOST_LINES = 500;

/** In files whose path fits `where`, no line may fit `never`. */
const rules = [
  { why: "nothing is left unfinished", where: /^(?!package-lock)/, never: /\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b|\b(to[d]o|unimplemente[d])!/ },
  { why: "no test is switched off without a reason", where: /^(crates|__test__)\//, never: /#\[ignore(?! = ")|\b(test|it|describe)\.(skip|only|to[d]o)\b/ },
  { why: "the library never prints", where: /^crates\/(?!.*(\/examples\/|build\.rs$))/, never: /\b(e?println|e?print|dbg)!/ },
  { why: "the lock file names no addresses", where: /^package-lock\.json$/, never: /"resolved"/ },
];

/** Returns what is broken, if something is. */
export function houseRules() {
  const paths = [...FOLDERS.flatMap(filesOf), ...DOCUMENTS, "package-lock.json"];
  const files = Object.fromEntries(paths.map((file) => [file, readFileSync(join(root, file), "utf8")]));
  const broken = brokenRooms(files);
  for (const folder of WITHOUT_CIRCLES) {
    const inside = Object.entries(files).filter(([file]) => file.startsWith(folder));
    const found = circles(Object.fromEntries(inside.map(([file, text]) => [file.slice(folder.length), text])));
    broken.push(...found.map((circle) => `${folder}: files that use each other:\n  ${circle.replaceAll("\n", "\n  ")}`));
  }
  const { projectDocuments } = JSON.parse(readFileSync(join(root, "typedoc.json"), "utf8"));
  broken.push(...guides().filter((page) => !projectDocuments.includes(page)).map((page) => `${page}: typedoc.json says where among the pages it stands`));
  broken.push(...brokenLinks(Object.fromEntries(DOCUMENTS.map((file) => [file, files[file]]))));
  for (const file of Object.keys(files)) {
    const [, folder, name] = /^(crates\/[\w-]+\/tests\/)(\w+)(?:\/mod)?\.rs$/.exec(file) ?? [];
    const isRun = !folder || name === "main" || files[`${folder}main.rs`].includes(`\nmod ${name};\n`);
    if (!isRun) broken.push(`${file}: a file of tests has its line in ${folder}main.rs`);
  }
  for (const [file, text] of Object.entries(files)) {
    const lines = text.split("\n");
    for (const { why, never } of rules.filter(({ where }) => where.test(file))) {
      const line = lines.findIndex((text) => never.test(text));
      if (line >= 0) broken.push(`${file}:${line + 1}: ${why}`);
    }
    if (/(^|\/)(utils?|helpers?|common|misc)[./]/.test(file)) broken.push(`${file}: a file is named after what is in it`);
    if (/^(crates|ts)\//.test(file) && lines.length > MOST_LINES) broken.push(`${file}: ${lines.length} lines, at most ${MOST_LINES}`);
    if (DOCUMENTS.includes(file)) {
      const named = lines.join("\n").match(new RegExp(`\\b(${FOLDERS.join("|")})/[\\w./-]*`, "g")) ?? [];
      const gone = named.filter((path) => !path.includes("NAME") && !existsSync(join(root, path)));
      broken.push(...gone.map((path) => `${file}: there is no ${path}`));
    }
  }
  return broken.length > 0 ? `\n${broken.join("\n")}` : undefined;
}

/** Text files below a folder, as paths from the root. */
function filesOf(folder) {
  const files = readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length).replaceAll(sep, "/"));
  return paths.filter((path) => /\.(rs|ts|toml|mjs|cjs|js|py|cu|cuh|cpp|hpp)$/.test(path));
}
