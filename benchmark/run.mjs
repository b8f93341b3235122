// npm run bench [-- step | blocks | cuda-model | dashboard | layers | groups | machines | nested | pictures | ranks | recipes | records | scaling | start | strict | transfer | updates] [-- options]

const names = ["step", "blocks", "cuda-model", "dashboard", "layers", "groups", "machines", "nested", "pictures", "ranks", "recipes", "records", "scaling", "start", "strict", "transfer", "updates"];
const args = process.argv.slice(2);
const name = args[0]?.startsWith("--") === false ? args.shift() : "step";
try {
  if (!names.includes(name)) throw new Error(`expected one of ${names.join(", ")}, got ${name}`);
  const { main } = await import(`./${name}.mjs`);
  await main(args);
} catch (error) {
  console.error(`bench: ${error.message}${error.code === "ERR_MODULE_NOT_FOUND" ? "\nBuild first: npm run build" : ""}`);
  process.exitCode = 1;
}
