import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/** The command line's program. */
export const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

const each = fileURLToPath(new URL("children/lines.mjs", import.meta.url));

/** Variables of a program, without those of this process that would change what it does. */
export function environment(more: Record<string, string> = {}) {
  const { PATH, HOME } = process.env;
  return { PATH, HOME, ...more };
}

/** Runs the program in a pipe. */
export async function runIn(folder: string, args: readonly string[], env: Record<string, string> = {}, program = main) {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: code as number, stdout, stderr };
}

/** Runs the program for list after list of words, in one process of its own: to start many would take most of their time. */
export async function runEach(folder: string, lists: readonly (readonly string[])[]) {
  const { code, stdout, stderr } = await runIn(folder, [JSON.stringify(lists)], {}, each);
  if (code !== 0 || stderr !== "") throw new Error(`${code}: ${stderr}`);
  return JSON.parse(stdout) as { code: number; stdout: string; stderr: string }[];
}

/** Lines of JSON. */
export const records = (stdout: string) => stdout.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);

/** Waits until the output has something, and returns all that came. */
export async function until(child: ChildProcess, sign: RegExp): Promise<string> {
  let seen = "";
  for await (const chunk of child.stdout!.iterator({ destroyOnReturn: false })) {
    seen += String(chunk);
    if (sign.test(seen)) return seen;
  }
  throw new Error(`no ${sign} in: ${seen}`);
}
