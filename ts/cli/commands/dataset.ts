import { type FolderReport, inspectFolder } from "../../index.js";
import { command } from "../command.js";
import { checkFolder, folderOperand } from "../folder.js";
import { PROGRAM } from "../help.js";
import { oneLine, shellWord, type Values } from "../option.js";
import type { Screen } from "../screen.js";

/** Lines that are shown of a list. */
const SHOWN = 10;
/** Times as many pictures in one class as in another that are worth a word. */
const UNEVEN = 3;
/** Fewest pictures of a class that do not call for a word. */
const FEW = 20;

const operands = { folder: folderOperand };

/** Tells what is in a folder of pictures, and what is wrong with it. */
export default command({
  summary: "tells what is in a folder of pictures, and what is wrong with it, before an hour is spent on training",
  operands,
  options: {},
  examples: [
    ["dataset pictures/", "classes, sizes, colours, files that are alike or no pictures"],
    ["dataset pictures/ --json > report.json", "all of it, for a program to read"],
  ],
  run: inspect,
});

async function inspect({ folder }: Values<typeof operands>, screen: Screen): Promise<void> {
  await checkFolder(folder!);
  screen.status.show(`Reading the pictures of ${folder}`);
  const report = await inspectFolder(folder!);
  screen.record(report);
  screen.print([...facts(folder!, report), "", ...doubts(folder!, report)].join("\n"));
}

function facts(folder: string, { classes, pictures, sizes, colours }: FolderReport): string[] {
  const width = Math.max(...classes.map(({ name }) => oneLine(name).length), 5);
  const rows = classes.map(({ name, pictures }) => `${oneLine(name).padEnd(width)}  ${String(pictures).padStart(8)}`);
  const size = ({ width, height }: { readonly width: number; readonly height: number }) => `${width}x${height}`;
  return [
    `${oneLine(folder)}: ${pictures.toLocaleString("en")} pictures in ${classes.length} classes`,
    "",
    `${"class".padEnd(width)}  pictures`,
    `${"─".repeat(width)}  ────────`,
    ...rows,
    "",
    ...(sizes ? [`sizes    ${size(sizes.smallest)} to ${size(sizes.largest)}, in the middle ${size(sizes.median)}`] : []),
    `colours  ${Object.entries(colours).map(([kind, count]) => `${count} ${kind}`).join(", ")}`,
  ];
}

/** What a person would want to know before training. */
function doubts(folder: string, { classes, duplicates, unreadable, skipped }: FolderReport): string[] {
  const counts = classes.map(({ pictures }) => pictures);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const few = classes.filter(({ pictures }) => pictures < FEW);
  const mixed = duplicates.filter((one) => one.classes.length > 1);
  const lines = [
    ...(unreadable.length > 0 ? [`${unreadable.length} are no pictures; train with --skip-unreadable, or take them away:`] : []),
    ...listed(unreadable.map(({ path, got }) => `${path}: ${got}`)),
    ...(duplicates.length > 0 ? [`${duplicates.length} are there more than once, so that validation may see what training saw:`] : []),
    ...listed(duplicates.map(({ paths }) => paths.join(" = "))),
    ...(mixed.length > 0 ? [`${mixed.length} of them are in different classes:`] : []),
    ...listed(mixed.map(({ paths }) => paths.join(" = "))),
    ...(least * UNEVEN < most ? [`the largest class has ${most} pictures, the smallest ${least}: accuracy alone says little of the small ones, see --by-class`] : []),
    ...(few.length > 0 ? [`fewer than ${FEW} pictures: ${few.map(({ name }) => oneLine(name)).join(", ")}`] : []),
    ...(skipped.emptyClasses.length > 0 ? [`classes without pictures: ${skipped.emptyClasses.map(oneLine).join(", ")}`] : []),
    ...(skipped.links > 0 ? [`${skipped.links} links were not followed`] : []),
    ...(skipped.others > 0 ? [`${skipped.others} files are no pictures by their names`] : []),
  ];
  const next = `To train on it: ${PROGRAM} train ${shellWord(folder)}${unreadable.length + skipped.emptyClasses.length > 0 ? " --skip-unreadable" : ""}`;
  return [...(lines.length > 0 ? lines : ["nothing is wrong with it"]), "", next];
}

function listed(lines: readonly string[]): string[] {
  const shown = lines.slice(0, SHOWN).map((line) => `  ${oneLine(line)}`);
  return lines.length > SHOWN ? [...shown, `  and ${lines.length - SHOWN} more`] : shown;
}
