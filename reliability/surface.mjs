// What the package exports, read from its declarations by the TypeScript compiler: every function, constructor, method and accessor with the types of
// its parameters, as plain data. A new export is in it without a word here.

import { join } from "node:path";
import ts from "typescript";
import { root } from "../benchmark/report.mjs";

const declarations = join(root, "dist/index.d.ts");
/** Types within types beyond this are anything. */
const DEEPEST = 7;

/** All callables, in the order of their names, and the codes of errors. */
export function surface() {
  const options = { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, lib: ["lib.es2022.d.ts"], types: ["node"], strict: true };
  const program = ts.createProgram([declarations], options);
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(declarations);
  const callables = [];
  let codes = [];
  for (const exported of checker.getExportsOfModule(checker.getSymbolAtLocation(source))) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (exported.name === "ErrorCode") codes = checker.getDeclaredTypeOfSymbol(symbol).types.map(({ value }) => value);
    if (symbol.flags & ts.SymbolFlags.Class) callables.push(...ofClass(checker, symbol, source));
    else if (symbol.flags & ts.SymbolFlags.Function) callables.push(...signatures(checker, checker.getTypeOfSymbolAtLocation(symbol, source).getCallSignatures(), { form: "function", name: symbol.name }));
  }
  return { callables: callables.toSorted((a, b) => (a.id < b.id ? -1 : 1)), codes };
}

function ofClass(checker, symbol, source) {
  const of = symbol.name;
  const constructors = checker.getTypeOfSymbolAtLocation(symbol, source).getConstructSignatures();
  const isAbstract = symbol.declarations.some((declaration) => ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Abstract);
  const found = isAbstract ? [] : signatures(checker, constructors, { form: "constructor", name: of });
  const own = ({ declarations }) => declarations?.some(({ parent }) => symbol.declarations.includes(parent));
  for (const member of checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).filter(own)) {
    const { name: written } = member.declarations[0];
    if (ts.isPrivateIdentifier(written)) continue;
    const name = ts.isComputedPropertyName(written) ? written.getText().slice(1, -1) : member.name;
    const type = checker.getTypeOfSymbolAtLocation(member, source);
    if (member.flags & ts.SymbolFlags.Method) found.push(...signatures(checker, type.getCallSignatures(), { form: "method", of, name }));
    if (member.flags & (ts.SymbolFlags.GetAccessor | ts.SymbolFlags.Property)) found.push({ id: `${of}.${name}`, form: "getter", of, name, parameters: [] });
    if (member.flags & ts.SymbolFlags.SetAccessor) {
      found.push({ id: `${of}.${name} =`, form: "setter", of, name, parameters: [{ name, type: describe(checker, type, 0) }] });
    }
  }
  return found;
}

function signatures(checker, all, what) {
  return all.map((signature, i) => {
    const parameters = signature.parameters.map((parameter) => {
      const declaration = parameter.valueDeclaration;
      const type = checker.getTypeOfSymbolAtLocation(parameter, declaration);
      const isRest = declaration.dotDotDotToken !== undefined;
      const isOptional = isRest || declaration.questionToken !== undefined;
      return { name: parameter.name, isRest, isOptional, type: describe(checker, isRest ? checker.getTypeArguments(type)[0] : type, 0) };
    });
    const name = what.form === "constructor" ? `new ${what.name}` : [what.of, what.name].filter(Boolean).join(".");
    return { id: all.length > 1 ? `${name} #${i + 1}` : name, ...what, parameters };
  });
}

/** A type as data: what kind it is, of what, by which name it goes. */
function describe(checker, type, depth) {
  const inner = (other) => describe(checker, other, depth + 1);
  const name = (type.aliasSymbol ?? type.symbol)?.name;
  const { flags } = type;
  if (flags & ts.TypeFlags.StringLiteral || flags & ts.TypeFlags.NumberLiteral) return { kind: "literal", value: type.value };
  if (flags & ts.TypeFlags.BooleanLiteral) return { kind: "boolean" };
  if (flags & ts.TypeFlags.StringLike) return { kind: "string" };
  if (flags & ts.TypeFlags.NumberLike) return { kind: "number" };
  if (flags & ts.TypeFlags.BooleanLike) return { kind: "boolean" };
  if (flags & (ts.TypeFlags.Undefined | ts.TypeFlags.Null | ts.TypeFlags.Void)) return { kind: "undefined" };
  if (depth > DEEPEST || flags & (ts.TypeFlags.Any | ts.TypeFlags.Unknown | ts.TypeFlags.TypeParameter | ts.TypeFlags.Never)) return { kind: "any" };
  if (type.isUnion()) return { kind: "union", name, of: type.types.map(inner).filter(({ kind }) => kind !== "undefined") };
  if (checker.isTupleType(type)) return { kind: "tuple", of: checker.getTypeArguments(type).map(inner) };
  if (checker.isArrayType(type)) return { kind: "array", of: inner(checker.getTypeArguments(type)[0]) };
  if (name === "Iterable" || name === "AsyncIterable") return { kind: "iterable", isAsync: name === "AsyncIterable", of: inner(checker.getTypeArguments(type)[0]) };
  if (type.getCallSignatures().length > 0) return { kind: "function", name };
  // What we only add to is not ours.
  const isOurs = type.symbol?.declarations?.every((declaration) => declaration.getSourceFile().fileName.includes("/dist/"));
  if (!isOurs && type.symbol && !(type.symbol.flags & ts.SymbolFlags.TypeLiteral) && type.symbol.name !== "__type") return { kind: "instance", name: type.symbol.name };
  if (type.symbol?.flags & ts.SymbolFlags.Class) return { kind: "instance", name: type.symbol.name };
  const values = type.getStringIndexType();
  if (values) return { kind: "record", of: inner(values) };
  const properties = checker.getPropertiesOfType(type).map((property) => {
    const isOptional = (property.flags & ts.SymbolFlags.Optional) !== 0;
    return [property.name, { isOptional, type: inner(checker.getTypeOfSymbol(property)) }];
  });
  return { kind: "object", name, properties: Object.fromEntries(properties) };
}
