// The programs of the guides. All ```ts fences of a page are one program, exactly as printed, each line where it stands on the page; those
// that are marked no-run are part of it, in a function that nobody calls. node scripts/guide-programs.mjs writes them to out/guides, for the compiler.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./steps.mjs";

/** Where the programs are written: inside the package, which so finds itself by its name. */
export const programs = join(root, "out", "guides");

/** The guides' files. */
export const guides = () => readdirSync(join(root, "guides")).filter((file) => file.endsWith(".md")).map((file) => `guides/${file}`);

/** The pages whose programs are run. */
export const pages = () => ["README.md", ...guides()];

/**
 * A page's program in TypeScript, what ```text printed says that it prints, and the commands in its ```sh fences, without comments: those before
 * the program, and those after it.
 */
export function programOf(text) {
  const lines = text.split("\n");
  const program = lines.map(() => "");
  const commands = { before: [], after: [], unrun: [] };
  const printed = [];
  let isEmpty = true;
  for (const { language, mark, from, to } of fencesOf(lines)) {
    const inside = lines.slice(from, to);
    if (language === "ts") {
      isEmpty = false;
      // A function that nobody calls stands between the fences' own lines; no function has imports.
      const isImport = (line) => mark === "no-run" && line.startsWith("import ");
      program.splice(from, inside.length, ...inside.map((line) => (isImport(line) ? "" : line)));
      if (mark === "no-run") program[from - 1] = `${inside.filter(isImport).join(" ")} void async function () {`;
      if (mark === "no-run") program[to] = "};";
    }
    if (mark === "printed") printed.push(inside.join("\n"));
    const list = mark === "no-run" ? commands.unrun : isEmpty ? commands.before : commands.after;
    if (language === "sh") list.push(...commandsOf(inside.join("\n"), ""));
    if (language === "text") commands.unrun.push(...commandsOf(inside.join("\n"), "$ "));
  }
  return { program: program.join("\n"), isEmpty, printed, commands };
}

/** Where the fences of a page are: their lines stand between ``` and ```. */
export function fencesOf(lines) {
  const marks = lines.flatMap((line, i) => (line.startsWith("```") ? [i] : []));
  return marks.flatMap((at, i) => {
    if (i % 2 > 0) return [];
    const [language = "", mark = ""] = lines[at].slice(3).split(" ");
    return [{ language, mark, from: at + 1, to: marks[i + 1] ?? lines.length }];
  });
}

/** Words of the commands for the package, in lines that begin so. */
function commandsOf(text, prompt) {
  const lines = text.replaceAll("\\\n", " ").split("\n").filter((line) => line.startsWith(`${prompt}npx resnet-native `));
  return lines.map((line) => line.slice(prompt.length).replace(/\s#.*/, "").trim().split(/\s+/).slice(2));
}

/** Writes all programs, for the compiler to check. */
function write() {
  rmSync(programs, { recursive: true, force: true });
  mkdirSync(programs, { recursive: true });
  for (const page of pages()) {
    const { program, isEmpty } = programOf(readFileSync(join(root, page), "utf8"));
    // Without an export it would be no module where it imports nothing.
    if (!isEmpty) writeFileSync(join(programs, `${nameOf(page)}.ts`), `${program}\nexport {};\n`);
  }
}

/** A page's name without folder and ending. */
export const nameOf = (page) => page.replace(/^.*\/|\.md$/g, "");

if (process.argv[1] === fileURLToPath(import.meta.url)) write();
