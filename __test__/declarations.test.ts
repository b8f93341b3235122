import { copyFile, cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
/** A project that has installed the package, and nothing else. */
let project: string;

/** Source files of the compiler's own libraries, which are the same for all. */
const libraries = new Map<string, ts.SourceFile>();

/** What the compiler says of the program. */
function compile(words: readonly string[]): string {
  const { options, errors } = ts.parseCommandLine(words);
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getCurrentDirectory = () => project;
  host.getSourceFile = (name, ...rest) => {
    const isLibrary = name.startsWith(host.getDefaultLibLocation!());
    const file = (isLibrary ? libraries.get(name) : undefined) ?? read(name, ...rest);
    if (isLibrary && file) libraries.set(name, file);
    return file;
  };
  const program = ts.createProgram([join(project, "program.ts")], options, host);
  return ts.formatDiagnostics([...errors, ...ts.getPreEmitDiagnostics(program)], host);
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
])("a strict project without Node's types, with lib %s, module %s and resolution %s, finds our types whole", (lib, module, resolution, ...more) => {
  const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--skipDefaultLibCheck", "--noEmit"];
  const kind = ["--target", "es2022", "--lib", lib, "--module", module, "--moduleResolution", resolution];
  expect(compile([...strict, ...kind, ...more])).toBe("");
});
