// Writes version after version of something until it is killed: says what it is about to write, and that it was written.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Control } from "./control.mjs";
import { given } from "./given.mjs";
import { writers } from "./writers.mjs";

const { kind, folder, elsewhere, versions = Infinity, first = 0, kill, acknowledges } = given;
const { write, read } = writers[kind];
// What a reader is to find of each version, from a write elsewhere, before the first of those that count.
const known = [];
for (let k = 0; k < 4; k++) {
  await write(elsewhere, k);
  known.push(await read(elsewhere));
}
const say = (line) => {
  // A record beside what is written, where the order of all is written down.
  if (acknowledges) writeFileSync(join(folder, "acknowledged"), `${line}\n`, { flag: "a" });
  process.stdout.write(`${line}\n`);
};
if (kill) new Control(kill.control).set(kill);
for (let k = first; k < first + versions; k++) {
  say(JSON.stringify({ begun: known[k % 4] }));
  await write(folder, k % 4);
  say(JSON.stringify({ written: known[k % 4] }));
}
