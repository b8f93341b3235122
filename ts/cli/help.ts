import type { Command } from "./command.js";
import { type Option, typed } from "./option.js";
import { painted } from "./screen.js";

/** How commands are started; npx finds the program in the project or in the registry. */
export const PROGRAM = "npx resnet-native";
/** The same behind a launcher of several processes: npx passes on no descriptor, by which MPICH's talks to them. */
export const SHARED_PROGRAM = "node_modules/.bin/resnet-native";
const WIDTH = 100;

const EXITS = "Exit codes: 0 done, 1 failed, 2 wrong words, 130, 143 or 129 stopped by Ctrl-C, SIGTERM or SIGHUP.";

/** What the program can do, or the commands whose names begin with some words. */
export function overview(commands: ReadonlyMap<string, Command>): string {
  const entries = [...commands].map(([name, { summary }]) => [name, summary] as const);
  const examples = [...commands.values()].flatMap(({ examples }) => examples.slice(0, 1));
  return [
    `${heading("Usage:")} ${PROGRAM} COMMAND [options]`,
    `${heading("Commands:")}\n${columns(entries)}`,
    shownExamples(examples),
    `${PROGRAM} COMMAND --help tells its options, --version the version.\n${EXITS}`,
  ].join("\n\n");
}

/** What a command takes. */
export function helpOf(name: string, { summary, operands, options, examples }: Command): string {
  const words = Object.values(operands).map(({ value, fallback, many }) => (many ? `${value}…` : fallback === undefined ? value : `[${value}]`));
  const about = (option: Option<unknown>) => option.help + range(option);
  const operandRows = Object.values(operands).map((option) => [option.value!, about(option)] as const);
  const optionRows = Object.entries(options).map(([name, option]) => {
    const short = option.short === undefined ? "" : `-${option.short}, `;
    return [short + [typed(name), option.value].filter(Boolean).join(" "), about(option)] as const;
  });
  return [
    `${heading("Usage:")} ${[PROGRAM, name, ...words].join(" ")} [options]`,
    wrapped(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`, 0),
    ...(operandRows.length > 0 ? [columns(operandRows)] : []),
    `${heading("Options:")}\n${columns([...optionRows, ["-h, --help", "shows this"]])}`,
    shownExamples(examples),
    EXITS,
  ].join("\n\n");
}

/** What an option's value may be, and what it is otherwise. */
function range({ value, fallback, names, range: bounds }: Option<unknown>): string {
  const notes = [names?.join(", ") ?? bounds, fallback === undefined ? undefined : `default ${fallback}`];
  const known = notes.filter((note) => note !== undefined).join("; ");
  return value === undefined || known === "" ? "" : ` (${known})`;
}

function shownExamples(examples: Command["examples"]): string {
  const lines = examples.map(([line, does]) => `  ${PROGRAM} ${line}\n      ${does}`);
  return `${heading("Examples:")}\n${lines.join("\n")}`;
}

/** Terms with their meanings beside them. */
function columns(rows: readonly (readonly [term: string, meaning: string])[]): string {
  const indent = Math.max(...rows.map(([term]) => term.length)) + 4;
  return rows.map(([term, meaning]) => `  ${term}`.padEnd(indent) + wrapped(meaning, indent)).join("\n");
}

/** Text in lines of at most 100 characters, all but the first indented. */
function wrapped(text: string, indent: number): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line && indent + line.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines.join(`\n${" ".repeat(indent)}`);
}

function heading(text: string): string {
  return painted(process.stdout, 1, text);
}
