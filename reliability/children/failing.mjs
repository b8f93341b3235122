// Lets the first, second, third … call on files fail that a write makes, until one passes: what was there before stays whole, the error is the
// package's, nothing is left over, and the next write works.

import { ResNetError } from "resnet-native";
import { Control } from "./control.mjs";
import { given, tell } from "./given.mjs";
import { leftAfterNext, writers } from "./writers.mjs";

/** More calls than any write makes. */
const MOST = 500;

const { kind, folder, elsewhere, control: file, what, isLasting } = given;
const { write, read } = writers[kind];
const control = new Control(file);
const found = [];
for (const k of [0, 1, 2]) {
  await write(elsewhere, k);
  found.push(await read(elsewhere));
}
const [before, after, next] = found;
const failures = [];
let tried = 0;
for (let at = 1; at < MOST; at++) {
  await write(folder, 0);
  control.set({ at, what, isLasting });
  const error = await Promise.resolve().then(() => write(folder, 1)).then(() => undefined, (thrown) => thrown);
  const { done } = control.get();
  control.set({ at: 0 });
  if (done === 0) break;
  tried++;
  const there = await Promise.resolve().then(() => read(folder)).catch((thrown) => `unreadable: ${thrown.message}`);
  const say = (what) => failures.push(`call ${at}: ${what}${error ? ` (after ${error.code}: ${error.message})` : ""}`);
  if (error && !(error instanceof ResNetError && error.code === "ERR_IO")) say(`not ERR_IO but ${error.stack ?? error}`);
  if (error ? ![before, after].includes(there) : there !== after) say(`found ${there}, neither the old nor the new`);
  try {
    const left = await leftAfterNext(writers[kind], folder, 2);
    if (left.length > 0) say(`left over: ${left}`);
    if ((await read(folder)) !== next) say("the next write has not what it should");
  } catch (thrown) {
    say(`the next write fails: ${thrown.stack}`);
  }
}
tell({ tried, failures });
process.exit();
