// The rooms: ARCHITECTURE's table says what each depends on and what it never sees, and here that is held against the files.

import { importsOf } from "./imports.mjs";

/** By what a room would be found to see what it must not, in the table's words. */
const SIGNS = {
  "the addon": /\bnative\/|\.node\b|\bbinding\.js/,
  "tensor arithmetic": /\bMath\.(exp|fround|hypot|log|pow|sqrt|tanh)\b/,
  candle: /\bcandle/,
  arithmetic: /\.(abs|exp|ln|mul_add|powf|powi|sqrt|sum|tanh)(::<\w+>)?\(/,
  "N-API": /\bnapi\b/,
  "`unsafe`": /\bunsafe\b/,
  CUDA: /feature = "cuda"|\bcudarc\b/,
  networks: /\bresnet.core\b|\b(Layer|Network|Session)\b/,
  files: /\b(safetensors|serde|tempfile)\b|\bFile::|\bfs::(?!read_to_string\("\/sys\/|read_dir\("\/dev"\)|OpenOptions::new\(\)\.read\(true\)\.write\(true\)\.open\(device\))/,
  training: /\b(Dataset|Loader|Trainer|epochs?)\b/,
};

/** What is not as the table says; `files` are all texts by path. */
export function brokenRooms(files) {
  const rooms = roomsOf(files["ARCHITECTURE.md"]);
  const roomOf = (file) => rooms.find(({ room }) => file.startsWith(room));
  const broken = rooms.flatMap(({ room, never }) => never.filter((word) => !SIGNS[word]).map((word) => `${room} never sees ${word}: nothing checks that`));
  for (const [file, text] of Object.entries(files)) {
    const found = roomOf(file);
    if (!found && /^(ts|crates)\//.test(file)) broken.push(`${file}: ARCHITECTURE's table has no such room`);
    if (!found) continue;
    const { room, depends, never } = found;
    for (const { path, isLazy } of dependencies(file, text).filter(({ path }) => roomOf(path) !== found)) {
      if (!isNamed(path, file, depends)) broken.push(`${file}: ${room} depends on ${depends}, not on ${path}`);
      else if (isLazy === false) broken.push(`${file}: ${path} is loaded when it is first needed, by import()`);
    }
    // Examples and build scripts are beside the room.
    const seen = /\/(examples\/|build\.rs$)/.test(file) ? [] : never.filter((word) => SIGNS[word]?.test(text));
    broken.push(...seen.map((word) => `${file}:${lineOf(SIGNS[word], text)}: ${room} never sees ${word}`));
  }
  return broken;
}

/** The rows of the table, the innermost rooms first. */
function roomsOf(document) {
  const [section] = document.split("\n## The rooms\n")[1].split("\n## ", 1);
  const rows = [...section.matchAll(/^\| `(.*?)\/?` \|.*\| (.*) \| (.*) \|$/gm)];
  const rooms = rows.map(([, room, depends, never]) => ({ room: `${room}/`, depends, never: never.split(", ") }));
  return rooms.toSorted((a, b) => b.room.length - a.room.length);
}

/** Whether the column says that something is depended on; `serde` also stands for `serde_json`. */
function isNamed(path, file, depends) {
  const words = depends.match(/[\w@./-]*\w/g);
  // The addon is what its crate becomes, and is for the file alone that the table names.
  if (path.startsWith("native/")) return words.includes("resnet-napi") && words.includes(file);
  return words.some((word) => path === word || path.startsWith(`${word}-`) || path.startsWith(`${word}_`));
}

/** What a TypeScript file imports, or a crate's manifest names, but for tests. Packages of JavaScript are lazy or not. */
function dependencies(file, text) {
  if (file.endsWith(".ts")) {
    const imports = importsOf(file, text).filter(({ path }) => !path.startsWith("node:"));
    return imports.map(({ path, isLazy }) => ({ path, isLazy: path.includes(".") ? undefined : isLazy }));
  }
  if (!file.endsWith("Cargo.toml")) return [];
  const sections = text.split(/^(?=\[)/m).filter((section) => /^\[(target\..*\.)?(build-)?dependencies\]/.test(section));
  return sections.flatMap((section) => [...section.matchAll(/^([\w-]+)\s*[.=]/gm)].map(([, path]) => ({ path })));
}

function lineOf(sign, text) {
  return text.slice(0, text.search(sign)).split("\n").length;
}
