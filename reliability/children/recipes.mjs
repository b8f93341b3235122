// Arguments as recipes: plain data that fast-check draws, shrinks and prints, and of which values are made when a call needs them.

import * as fc from "fast-check";
import { hostiles, made } from "./values.mjs";

const integers = fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) }, { weight: 1, arbitrary: fc.constantFrom(0, 5, 8, 16) });
const numbers = fc.oneof({ weight: 5, arbitrary: integers }, { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) });
/** Those of the folder that the calls are made in, and others. */
const strings = fc.constantFrom("model.safetensors", "weights.pth", "pictures", "picture.png", "absent", "out", "data", "name", "classes.0", "cpu", "list.csv", "checkpoints");
const hostile = fc.constantFrom(...Object.keys(hostiles)).map((name) => ({ hostile: name }));

/** Lists of arguments for a callable: of the types that are declared, but for about one place in twelve. */
export function argumentsOf({ parameters }) {
  if (parameters.length === 0) return fc.constant([]);
  const all = parameters.map(({ type, isRest }) => (isRest ? fc.array(valueOf(type), { maxLength: 3 }) : valueOf(type).map((value) => [value])));
  const required = parameters.filter(({ isOptional }) => !isOptional).length;
  const given = fc.oneof({ weight: 5, arbitrary: fc.constant(all.length) }, { weight: 2, arbitrary: fc.integer({ min: required, max: all.length }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: all.length }) });
  return fc.tuple(given, fc.tuple(...all)).map(([count, lists]) => lists.slice(0, count).flat());
}

function valueOf(type) {
  return fc.oneof({ weight: 11, arbitrary: declared(type) }, { weight: 1, arbitrary: hostile });
}

/** A value of the type that is declared. */
function declared(type) {
  const { kind, of, name } = type;
  switch (kind) {
    case "literal":
      return fc.constant(type.value);
    case "string":
      return strings;
    case "number":
      return numbers;
    case "boolean":
      return fc.boolean();
    case "undefined":
      return fc.constant({ hostile: "undefined" });
    case "any":
      return fc.oneof(numbers, strings, hostile);
    case "union":
      return fc.oneof(...of.map(declared));
    case "array":
      return fc.array(valueOf(of), { maxLength: 4 }).map((list) => ({ list }));
    case "tuple":
      return fc.tuple(...of.map(valueOf)).map((list) => ({ list }));
    case "iterable":
      return fc.array(valueOf(of), { maxLength: 4 }).map((list) => ({ iterable: list, isAsync: type.isAsync }));
    case "record":
      return fc.dictionary(strings, valueOf(of), { maxKeys: 2 }).map((object) => ({ object }));
    case "object":
      return objectOf(type);
    default:
      return fc.record({ make: fc.constant(kind === "function" ? "function" : name), seed: fc.nat(99) });
  }
}

/** What a type of this name is best made by, as often as property by property. */
function objectOf({ name, properties }) {
  const entries = Object.entries(properties);
  const rarely = (arbitrary) => fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
  const fields = fc.record(Object.fromEntries(entries.map(([key, { type, isOptional }]) => [key, isOptional ? rarely(valueOf(type)) : valueOf(type)])));
  const object = fields.map((all) => ({ object: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) }));
  if (!made[name]) return object;
  return fc.oneof({ weight: 2, arbitrary: fc.record({ make: fc.constant(name), seed: fc.nat(99) }) }, { weight: 1, arbitrary: object });
}
