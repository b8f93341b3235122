// A bill of materials: what is in an addon, as CycloneDX 1.6, for programs that look for known faults.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../steps.mjs";

/** The bill of an addon, by its bytes, of a version of the package. The same addon has the same bill: there is no date in it. */
export function billOf({ name, version, addon, bytes }, crates, ...others) {
  const own = component({ name, version, licence: "MIT" }, `pkg:npm/${name}@${version}`);
  const file = { type: "file", name: addon, hashes: hashes(createHash("sha256").update(bytes).digest("hex")) };
  const checksums = checksumsOf(readFileSync(join(root, "Cargo.lock"), "utf8"));
  const components = [
    ...crates.map((crate) => ({
      ...component(crate, `pkg:cargo/${crate.name}@${crate.version}`),
      hashes: hashes(checksums.get(`${crate.name} ${crate.version}`)),
    })),
    ...others.map((other) => component(other, `${other.name}@${other.version}`)),
  ];
  const metadata = { component: { ...own, components: [file] } };
  const dependencies = [{ ref: own["bom-ref"], dependsOn: components.map((each) => each["bom-ref"]) }];
  return `${JSON.stringify({ bomFormat: "CycloneDX", specVersion: "1.6", version: 1, metadata, components, dependencies }, undefined, 1)}\n`;
}

function component({ name, version, licence }, id) {
  const purl = id.startsWith("pkg:") ? { purl: id } : {};
  return { type: "library", "bom-ref": id, name, version, licenses: [{ expression: licence }], ...purl };
}

const hashes = (content) => [{ alg: "SHA-256", content }];

/** The SHA-256 of each crate's archive. */
function checksumsOf(lock) {
  const found = lock.matchAll(/^name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"$/gm);
  return new Map([...found].map(([, name, version, checksum]) => [`${name} ${version}`, checksum]));
}
