import { expect, test } from "vitest";
import { circles } from "../scripts/circles.mjs";

const LIB = "pub mod a; pub mod b; pub use a::Handed;";

test("two Rust files that use each other are told with the names that tie them", () => {
  const files = {
    "lib.rs": LIB,
    "a.rs": "use crate::{b::{self, Second as Other, nested::Third}, x};\npub struct Handed; pub fn first() {}",
    "b/mod.rs": "pub mod nested; pub use nested::Fourth;\nfn f() -> [u8; 2] { super::a::first(); crate::Handed; [1, 2] }",
    "b/nested.rs": "pub struct Third; pub struct Fourth;",
  };
  expect(circles(files)).toEqual(["a.rs uses b/mod.rs: b, Second\nb/mod.rs uses a.rs: first, Handed"]);
});

test("a name leads to the file that defines it, whoever passes it on", () => {
  const files = {
    "lib.rs": LIB,
    "a.rs": "use crate::b; pub struct Handed(b::Thing);",
    "b/mod.rs": "mod inner; pub use inner::Thing;",
    "b/inner.rs": "use crate::Handed; pub struct Thing;",
  };
  expect(circles(files)).toEqual(["a.rs uses b/inner.rs: Thing\nb/inner.rs uses a.rs: Handed"]);
});

test("a ring of three files is found at its level", () => {
  const ring = (to: string) => `use super::${to}::Name; pub struct Name;`;
  const files = { "lib.rs": "mod p;", "p/mod.rs": "mod x; mod y; mod z;", "p/x.rs": ring("y"), "p/y.rs": ring("z"), "p/z.rs": ring("x") };
  expect(circles(files)).toEqual(["p/x.rs uses p/y.rs: Name\np/y.rs uses p/z.rs: Name\np/z.rs uses p/x.rs: Name"]);
});

test("parents and children may use each other; tests, texts and comments do not count", () => {
  const files = {
    "lib.rs": LIB,
    "a.rs": "use crate::b::Thing; pub struct Handed;",
    "b/mod.rs": "mod c; mod d; use c::make; pub struct Thing;",
    "b/c.rs": "use super::d::D; use super::Thing; fn make() {}",
    "b/d.rs": "use crate::b::Thing; pub struct D;",
    "b/d/tests.rs": "use crate::a::Handed;",
  };
  const withD = (more: string) => circles({ ...files, "b/d.rs": `${files["b/d.rs"]}\n#[cfg(test)]\nmod tests;\n${more}` });
  const harmless = [
    "// use crate::a::Handed;",
    "/* crate::a::first() */",
    'const A: &str = "crate::a::first"; const B: &str = r#"use "crate::a::first";"#; const C: char = \'"\';',
    '#[cfg(test)]\nfn f(a: [u8; 2]) { use crate::a::Handed; g("}"); }',
    "#[cfg(test)]\nuse crate::a::Handed;\npub struct E;",
    "mod inline { use super::D; fn f() { super::D; } }",
    "use other::a::Handed; use std::a::first;",
  ];
  for (const text of harmless) expect(withD(text)).toEqual([]);
  const found = withD("fn f<'a>(x: &'a str) { crate :: a :: first::<u8>() }");
  expect(found).toEqual(["a.rs uses b/mod.rs: Thing\nb/mod.rs uses b/c.rs: make\nb/c.rs uses b/d.rs: D\nb/d.rs uses a.rs: first"]);
});

test("TypeScript files too, types and import() included", () => {
  const files = {
    "a.ts": 'import {\n  one,\n  type Two,\n} from "./b/c.js";\nimport { join } from "node:path";',
    "b/c.ts": 'export { Three } from "./d.js";\nimport type * as E from "../e.js";',
    "b/d.ts": '/** import { x } from "./c.js" */\nexport const x = 1;',
    "e.ts": 'const a = await import("./a.js");',
  };
  expect(circles(files)).toEqual(["a.ts uses b/c.ts: one, Two\nb/c.ts uses e.ts: * as E\ne.ts uses a.ts: *"]);
  expect(circles({ ...files, "e.ts": "" })).toEqual([]);
});
