// What Rust files use of each other, as far as it stands in their paths.

/** The parts of a file's place among the modules: `a/b.rs` and `a/b/mod.rs` are a::b, `lib.rs` is the root. */
export function moduleOf(file) {
  return file.replace(/(^lib|\/mod)?\.(rs|ts)$/, "").split("/").filter((part) => part !== "");
}

/** The names by which one Rust file of a crate uses another: the one that defines them, not those that only pass them on. */
export function usesOf(files) {
  const parsed = Object.entries(files).filter(([file]) => file.endsWith(".rs")).map(([file, text]) => parse(file, text));
  const tests = parsed.flatMap((module) => module.tests);
  const isTest = ({ key }) => tests.some((test) => key === test || key.startsWith(`${test}::`));
  const modules = new Map(parsed.filter((module) => !isTest(module)).map((module) => [module.key, module]));
  return [...modules.values()].flatMap((module) => {
    const absolutes = [...module.uses.map(({ path }) => path), ...module.paths].map((path) => absolute(module, path, modules));
    const found = absolutes.flatMap((path) => (path ? definition(path, modules) : []));
    return found.map(({ file, name }) => ({ from: module.file, to: file, names: [name] }));
  });
}

/** A Rust file: what `use` binds in it, and its paths; tests are left out, and those in files of their own named. */
function parse(file, text) {
  const module = moduleOf(file);
  // Without comments, texts and characters.
  let code = text.replace(/\/\/.*|\/\*[^]*?\*\/|r(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\.[^']*|[^'\\])'/g, '""');
  const tests = [];
  for (let start; (start = code.indexOf("#[cfg(test)]")) >= 0; ) {
    const end = endOfItem(code, start);
    const declared = [...code.slice(start, end).matchAll(/\bmod\s+(\w+)\s*;/g)];
    tests.push(...declared.map(([, name]) => [...module, name].join("::")));
    code = code.slice(0, start) + code.slice(end);
  }
  // To a module within a file, the file's is the parent. The length stays, so that what was found stays where it is.
  for (const { index } of code.matchAll(/\bmod\s+\w+\s*\{/g)) {
    const end = endOfItem(code, index);
    code = code.slice(0, index) + code.slice(index, end).replace(/(?<!::)\bsuper\b/g, " self") + code.slice(end);
  }
  const trees = [...code.matchAll(/\buse\s+([^;]+);/g)].map(([, tree]) => tree);
  const rest = code.replace(/\buse\s+[^;]+;/g, "");
  const paths = [...rest.matchAll(/(?<![\w:.])\w+(?:\s*::\s*\w+)+/g)].map(([path]) => path.split(/\s*::\s*/));
  return { file, module, key: module.join("::"), tests, uses: trees.flatMap(leaves), paths };
}

/** Where an item ends: behind its semicolon or its closing brace. */
function endOfItem(code, start) {
  for (let i = start, depth = 0; i < code.length; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i])) depth--;
    if (depth < 0 || (depth === 0 && ";}".includes(code[i]))) return i + 1;
  }
  return code.length;
}

/** The paths of a `use`, with the name that each binds. */
function leaves(tree) {
  let flat = tree.replace(/\s*(::|[{},])\s*/g, "$1");
  for (let before; before !== flat; ) {
    before = flat;
    flat = flat.replace(/([\w:]*)\{([^{}]*)\}/, (_, head, inner) => inner.split(",").filter(Boolean).map((leaf) => head + leaf).join(","));
  }
  return flat.split(",").map((leaf) => {
    const [path, alias] = leaf.trim().replace(/::self\b/, "").split(" as ");
    return { path: path.split("::"), name: alias ?? path.split("::").at(-1) };
  });
}

/** A path from the crate's root on; undefined if it leads out of the crate, or to what the file itself defines. */
function absolute({ module, uses }, path, modules) {
  if (path[0] === "crate") return path.slice(1);
  const ups = path.findIndex((part) => part !== "self" && part !== "super");
  if (ups > 0) return [...module.slice(0, module.length - path.slice(0, ups).filter((part) => part === "super").length), ...path.slice(ups)];
  if (modules.has([...module, path[0]].join("::"))) return [...module, ...path];
  const bound = uses.find(({ name }) => name === path[0]);
  return bound && absolute({ module, uses: [] }, [...bound.path, ...path.slice(1)], modules);
}

/** The file that defines what a path from the root leads to, and the name by which it is used: one, or none. */
function definition(path, modules, passed = 0) {
  let length = 0;
  while (length < path.length && modules.has(path.slice(0, length + 1).join("::"))) length++;
  const module = modules.get(path.slice(0, length).join("::"));
  const name = path[length];
  const passedOn = module?.uses.find((use) => use.name === name && name !== "*");
  const further = passedOn && absolute({ ...module, uses: [] }, passedOn.path, modules);
  if (further && passed < 9) return definition([...further, ...path.slice(length + 1)], modules, passed + 1);
  return module ? [{ file: module.file, name: name ?? path.at(-1) }] : [];
}
