#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { valuesOf } from "./arguments.js";
import type { Command } from "./command.js";
import { EXIT, explained, Misuse } from "./failure.js";
import { helpOf, overview, PROGRAM } from "./help.js";
import { flag } from "./option.js";
import { Screen } from "./screen.js";
import { didYouMean } from "./suggestion.js";

/** The commands, a file each, loaded when they are needed: `doctor` also works where the addon does not. */
const COMMANDS: Readonly<Record<string, () => Promise<{ default: Command }>>> = {
  "train fashion-mnist": () => import("./commands/train-fashion-mnist.js"),
  train: () => import("./commands/train.js"),
  predict: () => import("./commands/predict.js"),
  dataset: () => import("./commands/dataset.js"),
  evaluate: () => import("./commands/evaluate.js"),
  export: () => import("./commands/export.js"),
  quantize: () => import("./commands/quantize.js"),
  summary: () => import("./commands/summary.js"),
  bench: () => import("./commands/bench.js"),
  doctor: () => import("./commands/doctor.js"),
};
const NAMES = Object.keys(COMMANDS);
/** What every command takes. */
const GENERAL = { json: flag("writes a line of JSON for each result, errors too, for a program to read") };

/** Does what the words say; the exit code. */
async function main(words: readonly string[], screen: Screen): Promise<number> {
  if (words[0] === "--version") {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
    process.stdout.write(`${version}\n`);
    return EXIT.success;
  }
  const said = words[0] === "help" ? words.slice(1) : words.filter((word) => word !== "--help" && word !== "-h");
  const help = said.length < words.length || said.length === 0;
  // Who reads help may have come for an addon that does not work.
  if (help) Object.assign(globalThis, { [Symbol.for("resnet-native.late")]: true });
  // Options may come before the command.
  const first = Math.max(said.findIndex((word) => !word.startsWith("-")), 0);
  const [before, after] = [said.slice(0, first), said.slice(first)];
  const name = NAMES.find((name) => name.split(" ").every((word, i) => after[i] === word));
  if (name === undefined) return withoutCommand(after, help);
  const { default: command } = await COMMANDS[name]!();
  const complete = { ...command, options: { ...command.options, ...GENERAL } };
  if (help) {
    process.stdout.write(`${helpOf(name, complete)}\n`);
    return EXIT.success;
  }
  try {
    const values = valuesOf([...after.slice(name.split(" ").length), ...before], complete);
    return (await complete.run(values, screen)) ?? EXIT.success;
  } catch (error) {
    if (error instanceof Misuse) error.message += `. See ${PROGRAM} ${name} --help`;
    if (said.includes("--distributed")) await import("./sharing.js").then(({ failTogether }) => failTogether(error, screen), () => {});
    throw error;
  }
}

/** Shows what there is, or says that some words are no command. */
async function withoutCommand(words: readonly string[], help: boolean): Promise<number> {
  const [typed] = words;
  if (help && typed === undefined) {
    const commands = NAMES.map(async (name) => [name, (await COMMANDS[name]!()).default] as const);
    process.stdout.write(`${overview(new Map(await Promise.all(commands)))}\n`);
    return EXIT.success;
  }
  const near = didYouMean(words.slice(0, 2).join(" "), NAMES) || didYouMean(typed!, NAMES);
  throw new Misuse(`command: expected ${NAMES.join(", ")}, got ${typed}${near}. See ${PROGRAM} --help`);
}

const words = process.argv.slice(2);
const screen = new Screen(words.includes("--json"));
try {
  process.exitCode = await main(words, screen);
} catch (error) {
  const { code, message: line, hint, exit } = explained(error);
  const message = [line, hint].filter(Boolean).join(". ");
  screen.fail(code, message);
  if (process.env["RESNET_NATIVE_DEBUG"]) process.stderr.write(`${(error as Error)?.stack ?? error}\n`);
  process.exitCode = exit;
}
