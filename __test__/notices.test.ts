import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTriple } from "@napi-rs/cli";
import { afterAll, expect, test } from "vitest";
import { billOf } from "../scripts/packages/bill.mjs";
import { allowedLicences, licensed, linked } from "../scripts/packages/linked.mjs";
import { noticesOf } from "../scripts/packages/notices.mjs";
import { targetOf, thisMachine } from "../ts/platform.js";

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
const { targets } = (JSON.parse(read("package.json")) as { napi: { targets: string[] } }).napi;
const temporary = mkdtempSync(join(tmpdir(), "crates-"));
afterAll(() => rmSync(temporary, { recursive: true }));

/** A crate as `cargo metadata` has it, with such files in its folder. */
function crate(license: string | null, files: Record<string, string>, authors: string[] = []) {
  const folder = mkdtempSync(join(temporary, "crate-"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return { name: "one", version: "1.0.0", license, license_file: null, authors, repository: null, manifest_path: join(folder, "Cargo.toml") };
}

test("a crate is taken under licences that are on the list, or not at all", () => {
  const takes = (license: string | null) => licensed([crate(license, { LICENSE: "text" })], ["MIT", "Zlib"]);
  for (const license of ["MIT", "Apache-2.0 OR MIT", "Apache-2.0/Zlib", "MIT AND Zlib", "Apache-2.0 OR MIT AND Zlib"]) expect(takes(license)).toHaveLength(1);
  for (const license of [null, "GPL-3.0-only", "MIT AND GPL-3.0-only", "MIT WITH LLVM-exception", "(GPL-3.0-only OR MIT OR Zlib) AND GPL-3.0-only"]) {
    expect(() => takes(license)).toThrow(/^one 1\.0\.0: its licence, .*, is not on the list in deny\.toml$/);
  }
});

test("the text of its licence is the crate's own, of one under MIT that has none the licence with its authors", () => {
  const textsOf = (...given: Parameters<typeof crate>) => licensed([crate(...given)], ["MIT", "Zlib"])[0]!.texts;
  expect(textsOf("MIT", { "LICENSE-MIT": "mit\n", NOTICE: "notice", "lib.rs": "code" }).toSorted()).toEqual(["mit", "notice"]);
  const [text] = textsOf("MIT", {}, ["Ada <ada@example.org>", "Bo"]);
  expect(text).toContain("\nCopyright (c) Ada <ada@example.org>, Bo\n");
  expect(text).not.toContain("resnet-native");
  expect(() => textsOf("MIT", {})).toThrow("expected a file with its licence");
  expect(() => textsOf("Zlib", {}, ["Ada"])).toThrow("expected a file with its licence");
});

test("what is linked is what the addon has in it, not what builds or tests it", () => {
  const target = targets.find((triple) => parseTriple(triple).platformArchABI === targetOf(thisMachine()))!;
  const crates: { name: string; version: string; texts: string[] }[] = linked(target, []);
  const names = crates.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(["candle-core", "half", "image", "napi", "safetensors"]));
  // A macro, a build's, one of CUDA's addon and of tests, and our own.
  for (const name of ["serde_derive", "napi-build", "cudarc", "resnet-core"]) expect(names).not.toContain(name);
  const notices = noticesOf("resnet.node", crates);
  for (const { name, version, texts } of crates) {
    expect(notices).toContain(`\n${name} ${version} | `);
    for (const text of texts) expect(notices.replaceAll(/\s+/g, " ")).toContain(text.replaceAll(/\s+/g, " "));
  }
  const { components } = JSON.parse(billOf({ name: "main", version: "1.0.0", addon: "resnet.node", bytes: "" }, crates));
  for (const { purl, hashes } of components) expect([purl, hashes[0].content]).toEqual([expect.stringMatching(/^pkg:cargo\/[\w-]+@\d/), expect.stringMatching(/^[0-9a-f]{64}$/)]);
});

test("a text that crates share is there once, behind the names of all of them", () => {
  const [a, b] = ["a", "b"].map((name) => ({ name, version: "1.0.0", licence: "MIT", repository: null, texts: [`${name === "a" ? "one\n text" : "one text"}`] }));
  expect(noticesOf("resnet.node", [a, b]).match(/one\s+text/g)).toEqual(["one\n text"]);
  expect(noticesOf("resnet.node", [a, b])).toContain("\na 1.0.0, b 1.0.0\n\none");
});

test("a bill is of the addon's very bytes and the same each time", () => {
  const bill = () => billOf({ name: "main-linux", version: "1.2.3", addon: "resnet.node", bytes: "bytes" }, [], { name: "std", version: "1.95.0", licence: "MIT OR Apache-2.0" });
  expect(bill()).toBe(bill());
  const { metadata, dependencies } = JSON.parse(bill());
  const content = createHash("sha256").update("bytes").digest("hex");
  expect(metadata.component).toMatchObject({ purl: "pkg:npm/main-linux@1.2.3", components: [{ name: "resnet.node", hashes: [{ alg: "SHA-256", content }] }] });
  expect(dependencies).toEqual([{ ref: "pkg:npm/main-linux@1.2.3", dependsOn: ["std@1.95.0"] }]);
});

test("deny.toml is for the platforms that are published, and its list is read", () => {
  const [, listed] = /^targets = \[(.*?)\]/ms.exec(read("deny.toml"))!;
  expect([...listed!.matchAll(/"(.*)"/g)].map(([, triple]) => triple)).toEqual(targets);
  expect(allowedLicences()).toContain("MIT");
  // All from the one registry: a crate from elsewhere has another source.
  const sources = new Set(read("Cargo.lock").match(/^source = .*/gm));
  expect([...sources]).toEqual([expect.stringMatching(/^source = "registry\+/)]);
});
