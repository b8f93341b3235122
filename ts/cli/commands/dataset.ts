import { type FolderReport, inspectFolder } from "../../index.js";
import { command } from "../command.js";
import { counted } from "../counted.js";
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
  const apart = classes.some(({ validation }) => validation !== undefined);
  const rows = classes.map(({ name, pictures, validation = 0 }) => {
    return `${oneLine(name).padEnd(width)}  ${String(pictures).padStart(8)}${apart ? `  ${String(validation).padStart(14)}` : ""}`;
  });
  const size = ({ width, height }: { readonly width: number; readonly height: number }) => `${width}x${height}`;
  return [
    `${oneLine(folder)}: ${counted(pictures, "picture")} in ${counted(classes.length, "class", "classes")}`,
    "",
    `${"class".padEnd(width)}  pictures${apart ? "  for validation" : ""}`,
    `${"─".repeat(width)}  ────────${apart ? "  ──────────────" : ""}`,
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
  const named = (chosen: typeof classes) => chosen.map(({ name }) => oneLine(name)).join(", ");
  const apart = classes.some(({ validation }) => validation !== undefined);
  // Without a part for validation, one is taken of every class that can spare a picture.
  const single = apart ? [] : classes.filter(({ pictures }) => pictures === 1);
  const few = classes.filter((one) => one.pictures < FEW && !single.includes(one));
  const unseen = classes.filter(({ validation }) => validation === 0);
  const mixed = duplicates.filter((one) => one.classes.length > 1);
  const [bad, alike] = [unreadable.length, duplicates.length];
  const lines = [
    ...(bad > 0 ? [`${bad === 1 ? "1 is no picture; train with --skip-unreadable, or take it away" : `${bad} are no pictures; train with --skip-unreadable, or take them away`}:`] : []),
    ...listed(unreadable.map(({ path, got }) => `${path}: ${got}`)),
    ...(alike > 0 ? [`${alike} ${alike === 1 ? "is" : "are"} there more than once, so that validation may see what training saw:`] : []),
    ...listed(duplicates.map(({ paths }) => paths.join(" = "))),
    ...(mixed.length > 0 ? [`${mixed.length} of them ${mixed.length === 1 ? "is" : "are"} in different classes:`] : []),
    ...listed(mixed.map(({ paths }) => paths.join(" = "))),
    ...(least * UNEVEN < most ? [`the largest class has ${counted(most, "picture")}, the smallest ${least}: accuracy alone says little of the small ones, see --by-class`] : []),
    ...(few.length > 0 ? [`fewer than ${FEW} pictures: ${named(few)}`] : []),
    ...(single.length > 0 ? [`a single picture, which can be trained on or measured with, not both: ${named(single)}`] : []),
    ...(skipped.emptyClasses.length > 0 ? [`classes without pictures: ${skipped.emptyClasses.map(oneLine).join(", ")}`] : []),
    ...(skipped.untrainedClasses.length > 0 ? [`classes for validation alone, without pictures to train on: ${skipped.untrainedClasses.map(oneLine).join(", ")}`] : []),
    ...(unseen.length > 0 ? [`classes without pictures for validation: ${named(unseen)}`] : []),
    ...(skipped.test > 0 ? [`${counted(skipped.test, "picture")} of the part test ${skipped.test === 1 ? "was" : "were"} left alone`] : []),
    ...(skipped.links > 0 ? [`${counted(skipped.links, "link was", "links were")} not followed`] : []),
    ...(skipped.others > 0 ? [counted(skipped.others, "file is no picture by its name", "files are no pictures by their names")] : []),
  ];
  const left = unreadable.length + skipped.emptyClasses.length + skipped.untrainedClasses.length;
  const next = `To train on it: ${PROGRAM} train ${shellWord(folder)}${left > 0 ? " --skip-unreadable" : ""}`;
  return [...(lines.length > 0 ? lines : ["nothing is wrong with it"]), "", next];
}

function listed(lines: readonly string[]): string[] {
  const shown = lines.slice(0, SHOWN).map((line) => `  ${oneLine(line)}`);
  return lines.length > SHOWN ? [...shown, `  and ${lines.length - SHOWN} more`] : shown;
}
