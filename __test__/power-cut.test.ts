import { expect, test } from "vitest";
import { afterCut } from "../reliability/power-cut.mjs";

const written = [
  { kind: "open", path: "log", truncates: true },
  { kind: "write", path: "log", offset: 0, bytes: Buffer.from("first\n") },
  { kind: "sync", path: "log" },
  { kind: "sync", path: "." },
];
const all = { isThere: () => true, upTo: (_safe: number, end: number) => end };
const lost = { isThere: () => false, upTo: (safe: number, _end: number) => safe };
const log = (calls: object[], choice: typeof all) => (afterCut(calls, choice) as Map<string, Buffer>).get("log")?.toString();

test("a file that is opened again keeps what was in it, unless that is what the open takes away", () => {
  const opened = [...written, { kind: "open", path: "log", truncates: false }];
  for (const choice of [all, lost]) expect(log(opened, choice)).toBe("first\n");
  const added = [...opened, { kind: "write", path: "log", offset: 6, bytes: Buffer.from("second\n") }];
  expect([log(added, all), log(added, lost)]).toEqual(["first\nsecond\n", "first\n"]);
  const emptied = [...written, { kind: "open", path: "log", truncates: true }];
  expect([log(emptied, all), log(emptied, lost)]).toEqual(["", "first\n"]);
});

test("what was not synced may be lost: bytes, and names of a folder", () => {
  expect(log(written.slice(0, 2), all)).toBe("first\n");
  expect(log(written.slice(0, 3), lost)).toBeUndefined();
  expect(log([...written.slice(0, 2), ...written.slice(3)], lost)).toBe("");
});
