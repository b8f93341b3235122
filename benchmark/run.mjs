// npm run bench [-- step | blocks | layers | groups] [-- options]

const benchmarks = { step: "./step.mjs", blocks: "./blocks.mjs", layers: "./layers.mjs", groups: "./groups.mjs" };
const args = process.argv.slice(2);
const name = args[0]?.startsWith("--") === false ? args.shift() : "step";
try {
  if (!Object.hasOwn(benchmarks, name)) throw new Error(`expected one of ${Object.keys(benchmarks).join(", ")}, got ${name}`);
  const { main } = await import(benchmarks[name]);
  await main(args);
} catch (error) {
  console.error(`bench: ${error.message}${error.code === "ERR_MODULE_NOT_FOUND" ? "\nBuild first: npm run build" : ""}`);
  process.exitCode = 1;
}
