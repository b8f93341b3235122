/**
 * What a TypeScript file imports: a file's path from the root, or a package's name; the names it takes; and whether it is loaded only
 * when the program asks for it, or never, because types alone are taken.
 */
export function importsOf(file, text) {
  const code = text.replace(/\/\*[^]*?\*\/|(?<!:)\/\/.*/g, "");
  const found = code.matchAll(/\b(?:import|export)\b(\s+type\b)?([^;"'`()]*?)\bfrom\s*["']([^"']+)["']|\bimport\s*(\()?\s*["']([^"']+)["']/g);
  return [...found].map(([, isType, names = "*", from, isCall, path = from]) => ({
    path: path.startsWith(".") ? new URL(path, `file:///${file}`).pathname.slice(1).replace(/\.js$/, ".ts") : path,
    names: names.split(/[{},]/).map((name) => name.replace(/^\s*type\s/, "").trim()).filter(Boolean),
    isLazy: Boolean(isType || isCall),
  }));
}
