import { expect, test } from "vitest";
import { brokenRooms } from "../scripts/rooms.mjs";

const document = `# Architecture

## The rooms

| room | what it is | depends on | never sees |
|---|---|---|---|
| \`ts/cli/\` | the command line | \`ts/index.ts\` alone | the addon |
| \`ts/\` | types | \`resnet-napi\`, through \`ts/binding.ts\` alone; d3-scale, when needed | tensor arithmetic |
| \`crates/core\` | networks | \`ops\`, serde | N-API, \`unsafe\` |

## Elsewhere
| \`crates/none\` | | | magic |
`;

const files = {
  "ARCHITECTURE.md": document,
  "ts/cli/main.ts": 'import { readFileSync } from "node:fs";\nimport { x } from "./x.js";\nimport type { Model } from "../index.js";',
  "ts/index.ts": 'export { a } from "./a.js";',
  "ts/a.ts": 'import type * as Scales from "d3-scale";\nconst scales = await import("d3-scale");',
  "ts/binding.ts": 'import type * as Addon from "../native/index.js";',
  "crates/core/Cargo.toml": '[dependencies]\nops.workspace = true\nserde = { version = "1" }\nserde_json = "1"\n\n[dev-dependencies]\nother = "1"',
  "crates/core/src/lib.rs": "#![forbid(unsafe_code)]",
};

test("what the table says is not broken", () => {
  expect(brokenRooms(files)).toEqual([]);
});

test.each([
  ["ts/cli/main.ts", 'import { table } from "../table.js";', "ts/cli/ depends on `ts/index.ts` alone, not on ts/table.ts"],
  ["ts/cli/main.ts", 'import { addon } from "../binding.js";', "ts/cli/ never sees the addon"],
  ["ts/index.ts", 'import "./cli/main.js";', "ts/ depends on `resnet-napi`, through `ts/binding.ts` alone; d3-scale, when needed, not on ts/cli/main.ts"],
  ["ts/a.ts", 'import { Model } from "../native/index.js";', "not on native/index.ts"],
  ["ts/a.ts", 'import { zip } from "lodash";', "not on lodash"],
  ["ts/a.ts", 'import { scaleLinear } from "d3-scale";', "d3-scale is loaded when it is first needed, by import()"],
  ["ts/a.ts", "const y = Math.exp(x);", "ts/a.ts:1: ts/ never sees tensor arithmetic"],
  ["crates/core/Cargo.toml", '[dependencies]\nserde = "1"\nnapi = "3"', "not on napi"],
  ["crates/core/Cargo.toml", '[target."cfg(unix)".build-dependencies]\ncc = "1"', "not on cc"],
  ["crates/core/src/a.rs", "\n\nfn f() { unsafe { g() } }", "crates/core/src/a.rs:3: crates/core/ never sees `unsafe`"],
  ["crates/other/src/lib.rs", "", "ARCHITECTURE's table has no such room"],
  ["ARCHITECTURE.md", document.replace("N-API", "magic"), "crates/core/ never sees magic: nothing checks that"],
])("%s with %j", (file, text, message) => {
  expect(brokenRooms({ ...files, [file]: text }).join("\n")).toContain(message);
});
