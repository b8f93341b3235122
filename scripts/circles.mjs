// Circles: modules that use each other in a ring, so that none of them can be understood, tested or moved without the others.

import { importsOf } from "./imports.mjs";
import { moduleOf, usesOf } from "./rust-uses.mjs";

/**
 * The circles among Rust files, given as texts by path below `src/`, or among TypeScript files. Of each ring the shortest path around is
 * told: a line for each file, with the next one and the names by which it uses it. A ring counts if it does without the parent of its
 * files, since a module and its children may use each other. Rust's unit tests stand above what they test and do not count.
 */
export function circles(files) {
  const arrows = arrowsOf(files);
  const parents = new Set(Object.keys(files).flatMap((file) => moduleOf(file).map((_, i, parts) => parts.slice(0, i).join("/"))));
  return [...parents].flatMap((parent) => {
    const child = (file) => childOf(parent, moduleOf(file));
    const inside = arrows.filter(({ from, to }) => child(from) && child(to));
    const rings = inside.flatMap((arrow) => {
      const back = child(arrow.from) === child(arrow.to) ? undefined : path(arrow.to, arrow.from, inside);
      return back ? [[arrow, ...back]] : [];
    });
    // One of each knot; the next shows when this one is undone.
    const knots = [];
    for (const ring of rings.toSorted((a, b) => a.length - b.length)) {
      const isTied = ([{ from }]) => path(from, ring[0].from, inside) && path(ring[0].from, from, inside);
      if (!knots.some(isTied)) knots.push(ring);
    }
    return knots.map((ring) => ring.map(({ from, to, names }) => `${from} uses ${to}: ${[...names].join(", ")}`).join("\n"));
  });
}

/** Which file uses which, by which names. */
function arrowsOf(files) {
  const imports = Object.entries(files).filter(([file]) => file.endsWith(".ts")).flatMap(([file, text]) => {
    return importsOf(file, text).map(({ path, names }) => ({ from: file, to: path, names }));
  });
  const arrows = new Map();
  for (const { from, to, names } of [...imports, ...usesOf(files)].filter(({ from, to }) => to in files && from !== to)) {
    const key = `${from} ${to}`;
    arrows.set(key, { from, to, names: new Set([...(arrows.get(key)?.names ?? []), ...names]) });
  }
  return [...arrows.values()];
}

/** The child of a parent that a module is or lies in, if it lies below the parent. */
function childOf(parent, module) {
  const depth = parent === "" ? 0 : parent.split("/").length;
  return module.slice(0, depth).join("/") === parent ? module[depth] : undefined;
}

/** The shortest path along arrows, if there is one. */
function path(from, to, arrows) {
  const paths = new Map([[from, []]]);
  for (const [file, before] of paths) {
    if (file === to) return before;
    for (const arrow of arrows) if (arrow.from === file && !paths.has(arrow.to)) paths.set(arrow.to, [...before, arrow]);
  }
  return undefined;
}
