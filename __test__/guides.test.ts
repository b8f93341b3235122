import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nameOf, pages, programOf, programs } from "../scripts/guide-programs.mjs";
import { valuesOf } from "../ts/cli/arguments.js";
import type { Command } from "../ts/cli/command.js";
import { flag } from "../ts/cli/option.js";
import { dataFolder } from "./data-folder.js";
import { environment, main } from "./program.js";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = await dataFolder();
  await mkdir(programs, { recursive: true });
});
afterAll(async () => rm(folder, { recursive: true }));

/** Runs a program in a folder; what it wrote. */
async function run(cwd: string, words: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, words, { cwd, env: environment({ RESNET_NATIVE_DATA: folder, PORT: "0" }), stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  expect([words, code, errors]).toEqual([words, 0, expect.not.stringContaining("Error")]);
  return output;
}

/** Fails for words that a command does not know. */
async function check([name = "", ...words]: readonly string[]): Promise<void> {
  const isFashionMnist = name === "train" && words[0] === "fashion-mnist";
  const { default: command } = (await import(`../ts/cli/commands/${isFashionMnist ? "train-fashion-mnist" : name}.ts`)) as { default: Command };
  valuesOf(isFashionMnist ? words.slice(1) : words, { ...command, options: { ...command.options, json: flag("") } });
}

/** A command's words, and if it trains what makes that short, for the last word of a kind counts: readers have more patience. */
function shortened(words: readonly string[]): readonly string[] {
  return words[0] === "train" ? [...words, "--epochs", "1", "--size", "32", "--threads", "2"] : words;
}

async function runCommands(cwd: string, commands: readonly string[][]): Promise<void> {
  for (const words of commands) await run(cwd, [main, ...shortened(words)]);
}

test.each(pages())("%s runs as it is printed", async (page) => {
  const { program, isEmpty, printed, commands } = programOf(await readFile(join(root, page), "utf8"));
  const cwd = join(folder, "pages", nameOf(page));
  await mkdir(cwd, { recursive: true });
  for (const name of ["pictures", "parted", "photo.jpg", "photos.csv", "resnet18.pth"]) await symlink(join(folder, name), join(cwd, name));
  await runCommands(cwd, commands.before);
  if (!isEmpty) {
    const { code } = await transform(program, { loader: "ts", format: "esm", sourcemap: "inline", sourcefile: page });
    // The package finds itself by its name from files inside it.
    const file = join(programs, `${nameOf(page)}.mjs`);
    await writeFile(file, code);
    const output = await run(cwd, ["--enable-source-maps", file]);
    let at = 0;
    for (const text of printed) {
      expect(output.slice(at)).toContain(text);
      at = output.indexOf(text, at) + text.length;
    }
  }
  await runCommands(cwd, commands.after);
  for (const words of commands.unrun) await check(words);
});
