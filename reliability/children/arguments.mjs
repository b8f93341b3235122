// Calls some callables of the package with lists of arguments, most of them wrong. Each call does what it should or throws an error of the package's, and
// afterwards a right call has the right result.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { given, tell } from "./given.mjs";
import { argumentsOf } from "./recipes.mjs";
import { digest, images, spots, tinyModel } from "./subjects.mjs";
import { instance, Kept, Ours, realise } from "./values.mjs";

/** A call that takes longer must end when its models are disposed of and its signals raised. */
const LONG = 1000;
const STUCK = 10_000;
/** After so many calls a right one is made. */
const EVERY = 40;

const all = await import("resnet-native");
const { surface, ids, seed, calls, folder, fixtures, milliseconds } = given;
const { callables, codes } = JSON.parse(readFileSync(surface, "utf8"));
process.chdir(folder);
// Nothing is downloaded.
globalThis.fetch = async () => { throw new TypeError("fetch failed"); };
const strays = [];
process.on("unhandledRejection", (error) => strays.push(error));
process.on("uncaughtException", (error) => strays.push(error));
// Its own end is process.exit(): before that it has failed itself.
process.on("beforeExit", () => {
  process.stderr.write(`ends too early: ${strays.map((error) => error?.stack ?? error).join("\n")}\n`);
  process.exit(2);
});

mkdirSync("pictures/a", { recursive: true });
mkdirSync("pictures/b", { recursive: true });
for (const to of ["picture.png", "pictures/a/1.png", "pictures/b/1.png"]) copyFileSync(join(fixtures, "pictures/rgb.png"), to);
writeFileSync("weights.pth", "no weights");
await tinyModel().save("model.safetensors");

const model = tinyModel({ seed: 7 });
const data = spots(8);
const image = images(1);
const right = async () => `${await digest(model)} ${(await model.predict(image)).data} ${(await all.evaluate(model, data)).loss}`;
const before = await right();

let made = 0;
let longest = 0;
const failures = [];
for (const callable of callables.filter(({ id }) => ids.includes(id))) {
  const property = fc.asyncProperty(argumentsOf(callable), async (recipe) => {
    writeFileSync("last-call", `${callable.id}(${JSON.stringify(recipe)})`);
    await attempt(callable, recipe);
    made++;
    if (made % EVERY === 0 && (await right()) !== before) throw new Error("a right call has another result after it");
  });
  const numRuns = callable.parameters.length === 0 ? 2 : calls;
  const result = await fc.check(property, { seed, numRuns, interruptAfterTimeLimit: milliseconds, markInterruptAsFailure: false });
  // One whose first call took all the time has failed nothing.
  if (result.failed && result.counterexample) failures.push(`${callable.id}(${fc.stringify(result.counterexample[0])}): ${result.errorInstance?.stack ?? result.errorInstance}`);
  failures.push(...strays.splice(0).map((error) => `beside ${callable.id}: ${error?.stack ?? error}`));
}
if ((await right()) !== before) failures.push("in the end a right call has another result");
tell({ made, longest, failures });
process.exit();

async function attempt(callable, recipe) {
  const kept = new Kept();
  const start = performance.now();
  const long = setTimeout(() => {
    kept.abort();
    kept.dispose();
  }, LONG);
  let stuck;
  const late = new Promise((_, reject) => {
    stuck = setTimeout(() => reject(new Error(`does not settle within ${STUCK} ms, though its models are disposed of`)), STUCK);
  });
  try {
    await Promise.race([settle(callIt(callable, realise(recipe, kept), kept)), late]);
  } catch (error) {
    if (!isAllowed(error)) throw error;
  } finally {
    clearTimeout(long);
    clearTimeout(stuck);
    kept.dispose();
  }
  longest = Math.max(longest, performance.now() - start);
  if (strays.length > 0) throw strays.pop();
}

/** The call, in a box, since what it returns may be a promise. */
function callIt(callable, values, kept) {
  const { form, of, name } = callable;
  if (form === "function") return { value: all[name](...values) };
  if (form === "constructor") return { value: Reflect.construct(all[name], values) };
  const key = name.startsWith("Symbol.") ? Symbol[name.slice(7)] : name;
  const object = instance(of, seed, kept);
  if (form === "getter") return { value: object[key] };
  if (form === "setter") return { value: (object[key] = values[0]) };
  return { value: object[key](...values) };
}

/** Waits for what is to come, and has a look at what came. */
async function settle({ value }) {
  const found = await value;
  if (found === null || typeof found !== "object") return;
  if (found instanceof all.Model) found.dispose();
  else if (found instanceof all.Dataset) void [found.length, found.imageShape, found.numClasses];
  else if (typeof found[Symbol.asyncIterator] === "function") {
    const iterator = found[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.return();
  }
}

/** Errors of the package's, with a documented code, and what our own callbacks threw. */
function isAllowed(error) {
  if (error instanceof Ours) return true;
  if (!(error instanceof all.ResNetError) || !codes.includes(error.code) || error.code === "ERR_INTERNAL") return false;
  return typeof error.message === "string" && error.message !== "" && error.name === "ResNetError";
}
