// The package's callables (surface.mjs), which the compiler needs seconds to tell: once for the declarations that are there.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../benchmark/report.mjs";

/** A file with what `surface()` tells. */
export async function surfaceFile() {
  const folder = join(root, "dist");
  const hash = createHash("sha256").update(readFileSync(new URL("surface.mjs", import.meta.url)));
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".d.ts"))) hash.update(name).update(readFileSync(join(folder, name)));
  const kept = join(root, "out/reliability");
  const file = join(kept, `surface-${hash.digest("hex").slice(0, 16)}.json`);
  if (existsSync(file)) return file;
  mkdirSync(kept, { recursive: true });
  const { surface } = await import("./surface.mjs");
  writeFileSync(file, JSON.stringify(surface()));
  return file;
}

/** All callables. */
export async function callables() {
  return JSON.parse(readFileSync(await surfaceFile(), "utf8")).callables;
}
