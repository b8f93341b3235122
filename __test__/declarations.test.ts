import { execFile } from "node:child_process";
import { copyFile, cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
/** A project that has installed the package, and nothing else. */
let project: string;

/** What the compiler says. */
async function compile(...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, [tsc, ...args], { cwd: project });
  return run.then(({ stdout }) => stdout, ({ stdout }: { stdout: string }) => stdout);
}

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "resnet-native-"));
  const installed = join(project, "node_modules/resnet-native");
  await mkdir(join(installed, "native"), { recursive: true });
  for (const file of ["package.json", "native/index.d.ts"]) await copyFile(join(root, file), join(installed, file));
  await cp(join(root, "dist"), join(installed, "dist"), { recursive: true });
  const program = `import { fashionMnist, fit, plot, ResNet18, sgd } from "resnet-native";
    const model = new ResNet18({ numClasses: 10 });
    const run = async () => plot(await fit(model, await fashionMnist(), { optimizer: sgd({ lr: 0.1 }) }));
    export const chart: Promise<string> = run().finally(() => model.dispose());
    // @ts-expect-error there is no such option
    export const other = new ResNet18({ classes: 10 });`;
  await writeFile(join(project, "program.ts"), program);
  await writeFile(join(project, "package.json"), '{ "type": "module" }');
});
afterAll(async () => rm(project, { recursive: true }));

test.each([
  ["es2022", "nodenext", "nodenext"],
  ["es2022,dom", "nodenext", "nodenext"],
  ["es2022", "esnext", "bundler"],
  ["esnext,dom", "esnext", "bundler"],
  ["es2022", "esnext", "node10", "--ignoreDeprecations", "6.0"],
])("a strict project without Node's types, with lib %s, module %s and resolution %s, finds our types whole", async (lib, module, resolution, ...more) => {
  const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--skipDefaultLibCheck", "--noEmit"];
  const kind = ["--target", "es2022", "--lib", lib, "--module", module, "--moduleResolution", resolution];
  expect(await compile("program.ts", ...strict, ...kind, ...more)).toBe("");
});
