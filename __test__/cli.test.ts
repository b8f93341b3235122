import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { CifarResNet, fashionMnist, loadModel, sgd, Trainer } from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { environment, main, records, runEach, runIn, until } from "./program.js";

/** Quick to train: a small network on small images. */
const SMALL = ["--network", "cifar_resnet20", "--size", "8", "--batch-size", "64", "--lr", "0.1", "--threads", "1"];
const SAMPLE = ["train", "fashion-mnist", "--sample", ...SMALL];
/** On images that are few, where nothing is told of how many. */
const TRAIN = ["train", "fashion-mnist", "--data", "few", ...SMALL];
/** Where the commands run; tests have files of their own names there. */
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  await smallSet("few");
});
afterAll(async () => rm(folder, { recursive: true }));

const run = async (args: readonly string[], env?: Record<string, string>, program?: string) => runIn(folder, args, env, program);
const loads = async (file: string) => {
  using model = await loadModel(join(folder, file));
  return model.numParameters === 272_778;
};

test("every level has help with examples", async () => {
  const overview = await run(["--help"]);
  const names = ["train fashion-mnist", "train", "predict", "dataset", "evaluate", "export", "quantize", "summary", "bench", "doctor"];
  for (const name of names) expect(overview.stdout).toMatch(new RegExp(`^  ${name} {2,}\\S`, "m"));
  expect((await run([])).stdout).toBe(overview.stdout);
  expect((await run(["train", "-h"])).stdout).toMatch(/^Usage: npx resnet-native train FOLDER [^]* train fashion-mnist --help$/m);
  const told = await runEach(folder, names.map((name) => ["help", ...name.split(" ")]));
  for (const [i, name] of names.entries()) {
    const { code, stdout, stderr } = told[i]!;
    expect([code, stderr]).toEqual([0, ""]);
    const parts = [`^Usage: npx resnet-native ${name}`, "Options:\n", "  --json ", `Examples:\n  npx resnet-native ${name}`];
    expect(stdout).toMatch(new RegExp(parts.join("[^]*")));
    expect(stdout).not.toContain("\x1b");
  }
});

test("help needs no addon, whose lack all else tells", async () => {
  const none = { RESNET_NATIVE_ADDON: "/none.node" };
  for (const words of [["--help"], ["export", "--help"], ["help", "summary"]]) {
    expect(await run(words, none)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: /), stderr: "" });
  }
  expect(await run(["summary", "resnet18"], none)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("addon: expected /none.node") });
});

test("a file to write is told once; a model's folder lends its name to what is exported; a folder that takes no files is told as such", async () => {
  expect(await run([...TRAIN, "--log", "a.csv", "--log", "b.jsonl"])).toEqual({ code: 2, stdout: "", stderr: "error: --log: expected once, got it again. See npx resnet-native train fashion-mnist --help\n" });
  using model = new CifarResNet({ depth: 8, numClasses: 2, inChannels: 1 });
  await model.saveFolder(join(folder, "exported"));
  expect(records((await run(["export", "exported/", "--size", "8", "--json"])).stdout)).toEqual([expect.objectContaining({ file: "exported.onnx" })]);
  if (process.platform !== "linux") return;
  expect(await run([...TRAIN, "--report", "/proc/x.html"])).toMatchObject({ code: 1, stderr: "error: --report: expected a file that can be written, got /proc/x.html: no file can be made there\n" });
});

test("--version is the package's", async () => {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test("summary shows a network, as text and as JSON", async () => {
  const { stdout } = await run(["summary", "ResNet18"]);
  expect(stdout).toMatch(/^stem +Sequential +1×64×24×24 +3,328 [^]*^total +11,178,378 +318,657,536/m);
  const args = ["summary", "resnet50", "--flavor=torchvision", "--size=224", "--channels=3", "--classes=1000", "--depth=layers"];
  const [summary] = records((await run([...args, "--json"])).stdout);
  expect(summary).toMatchObject({ network: "resnet50", shape: [1, 3, 224, 224], parameters: 25_557_032 });
  expect(summary!["layers"]).toContainEqual(expect.objectContaining({ name: "layer1.0.conv2", kind: "Conv2d" }));
});

/** Words that are wrong, the exit code, and what the one line says. */
const wrong: readonly (readonly [string, number, RegExp])[] = [
  ["trian", 2, /command: expected train fashion-mnist, train, predict, dataset, evaluate.*got trian \(did you mean train\?\)\. See npx .* --help/],
  ["train", 2, /FOLDER: expected a folder of pictures, got nothing\. See npx resnet-native train --help/],
  ["train fasion-mnist", 1, /FOLDER: .* got fasion-mnist, which is not there \(did you mean fashion-mnist\?\)/],
  ["mystery --help", 2, /got mystery\. See/],
  ["summary", 2, /NETWORK: expected a named network.*got nothing.*See npx resnet-native summary --help/],
  ["summary resnet81", 2, /got "resnet81" \(did you mean resnet18\?\)/],
  ["summary resnet18 more", 2, /"more": expected an option, or nothing more/],
  ["summary resnet18 --depth layer", 2, /--depth: expected stages or layers, got "layer" \(did you mean layers\?\)/],
  ["summary googlenet --flavor torchvision", 2, /--flavor: expected d2l for googlenet/],
  ["train fashion-mnist --epoch 3", 2, /--epoch: there is no such option \(did you mean --epochs\?\)/],
  ["train fashion-mnist --epochs 0", 2, /--epochs: expected an integer from 1 to 1000000, got 0\./],
  ["train fashion-mnist --epochs ten", 2, /--epochs: .* got "ten"/],
  ["train fashion-mnist --epochs=", 2, /--epochs: .* got ""/],
  ["train fashion-mnist --epochs --lr 1", 2, /--epochs: expected an integer .* after it/],
  ["train fashion-mnist --lr -1", 2, /--lr: expected a finite number from 0 to 3\.4028234663852886e\+38, got -1/],
  ["train fashion-mnist --sample --lr 1e39", 2, /--lr: expected a finite number from 0 to 3\.40\S*, got 1e\+39\. See/],
  ["train fashion-mnist --sample --lr Infinity", 2, /--lr: .* got Infinity/],
  ["train fashion-mnist --sample --weight-decay 1e300", 2, /--weight-decay: .* got 1e\+300/],
  ["train fashion-mnist --momentum 1.5", 2, /--momentum: expected a finite number from 0 to 1, got 1\.5/],
  ["train fashion-mnist --force=yes", 2, /--force: takes no value/],
  ["train fashion-mnist --network resnet19", 2, /--network: .* \(did you mean resnet18\?\)/],
  ["train fashion-mnist --device gpu", 2, /--device: expected "auto", "cpu", "cuda" or "cuda:" and .* got "gpu"/],
  ["evaluate model.safetensors --device cuda:", 2, /--device: expected .* got "cuda:"/],
  ["train fashion-mnist --sample --data .", 2, /--sample: expected without --data, got both/],
  ["train fashion-mnist --data nowhere", 1, /--data: expected a folder .* got nowhere, which is none; --sample/],
  ["train fashion-mnist --data .", 1, /Fashion-MNIST: its four files are not in \., fashion-mnist, FashionMNIST\/raw; --sample/],
  ["train fashion-mnist --output no/such/folder", 1, /--output: .* there is no folder .*such/],
  ["train fashion-mnist --output .", 1, /--output: .* got \.: it is a folder/],
  ["train fashion-mnist --output new/", 1, /--output: .* got new\/: it is a folder/],
  [`train fashion-mnist --output ${"x".repeat(300)}`, 1, /--output: .*: name too long/],
  ["train fashion-mnist --output notes.txt/model", 1, /--output: .*: not a directory/],
  ["train fashion-mnist --force --output /dev/null", 1, /--output: .* it is not a regular file/],
  ["evaluate", 2, /MODEL: expected a model's file, got nothing/],
  ["evaluate none.safetensors", 1, /cannot read none\.safetensors: /],
  ["evaluate notes.txt", 1, /notes\.txt: not a safetensors file.*\. What train/],
  ["evaluate notes.txt mnist", 1, /IMAGES: expected a folder of pictures, .* got mnist, which is not there/],
  ["export", 2, /MODEL: expected a model's file, got nothing/],
  ["export none.safetensors", 1, /cannot read none\.safetensors: /],
  ["export notes.txt -o", 2, /-o: expected a file after it/],
  ["export none.txt -o notes.txt", 1, /--output: .* got notes\.txt: it is there already; --force replaces it/],
  ["export notes.txt -o ./notes.txt --force", 2, /--output: expected another file than the model's, got \.\/notes\.txt for both/],
  ["export notes.txt --input bgr", 2, /--input: expected normalised or unit or bytes or rgba, got "bgr"/],
  ["export notes.txt --size 0x96", 2, /--size: expected a size such as 224, or 192x256 .* from 1 to 16384, got "0x96"/],
  ["quantize", 2, /MODEL: expected a model's file, got nothing/],
  ["quantize none.safetensors", 1, /cannot read none\.safetensors: /],
  ["quantize none.txt -o notes.txt", 1, /--output: .* got notes\.txt: it is there already; --force replaces it/],
  ["quantize notes.txt -o ./notes.txt --force", 2, /--output: expected another file than the model's, got \.\/notes\.txt for both/],
  ["quantize notes.txt --count 0", 2, /--count: expected an integer from 1 to 60000, got 0/],
  ["quantize notes.txt nowhere/", 1, /IMAGES: expected a folder of pictures, .* which is not there/],
  ["bench --seconds 0", 2, /--seconds: expected a finite number from 0\.1 to 600, got 0/],
];

test("what is wrong is told on one line, and as JSON", async () => {
  await writeFile(join(folder, "notes.txt"), "not a model, but of some length");
  const answers = await runEach(folder, wrong.map(([line]) => line.split(" ")));
  for (const [i, [line, code, message]] of wrong.entries()) {
    const answer = answers[i]!;
    expect({ line, code: answer.code, stdout: answer.stdout }).toEqual({ line, code, stdout: "" });
    expect(answer.stderr).toMatch(/^error: .*\n$/);
    expect(answer.stderr).toMatch(message);
  }
  for (const [line, code] of [["summary resnet81", 2], ["evaluate notes.txt", 1]] as const) {
    const answer = await run(["--json", ...line.split(" ")]);
    expect([answer.code, answer.stderr]).toEqual([code, ""]);
    expect(records(answer.stdout)).toEqual([{ error: { code: expect.stringMatching(/^ERR_/), message: expect.any(String) } }]);
  }
});

test("several processes that would each train by themselves are refused, unless they are to; each names itself in its errors", async () => {
  const second = { OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "2" };
  const train = [...TRAIN, "--epochs", "1", "--output"];
  const got = "expected it, to share one training, or --alone, got neither where OMPI_COMM_WORLD_RANK tells of 2 processes, which would each write the same files";
  expect(await run([...train, "lone.safetensors"], second)).toEqual({ code: 2, stdout: "", stderr: `error: rank 1: --distributed: ${got}. See npx resnet-native train fashion-mnist --help\n` });
  expect(await run([...train, "lone.safetensors", "--alone", "--distributed"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--alone: expected without --distributed, got both") });
  expect(await run([...train, "lone.safetensors", "--alone"], second)).toMatchObject({ code: 0, stderr: "" });
  expect(await loads("lone.safetensors")).toBe(true);
  // What tells of no other process, or contradicts itself, is in nobody's way who shares nothing.
  for (const env of [{ SLURM_PROCID: "0", SLURM_NTASKS: "4" }, { WORLD_SIZE: "2" }] as Record<string, string>[]) expect(await run([...train, "lone.safetensors", "--force"], env)).toMatchObject({ code: 0 });
  // A program is told the number too, by each of them.
  const [line] = records((await run(["train", "nowhere", "--distributed", "--json"], second)).stdout);
  expect(line).toEqual({ error: { code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(/^FOLDER: /), rank: 1 } });
});

test("shards have the library's limit", async () => {
  expect(await run([...TRAIN, "--shards", "1048577", "--output", "shards.safetensors"])).toMatchObject({ code: 2, stderr: "error: shards: expected an integer from 1 to 1048576, got 1048577\n" });
});

/** Runs a training in a shell; what it says on stderr if it fails. */
async function refused(before: string, output: string, after = ""): Promise<string> {
  const program = `${process.execPath} ${main} ${SAMPLE.join(" ")} --epochs 1 --force --output ${output}`;
  const shell = promisify(execFile)("sh", ["-c", `${before} ${program} ${after}`], { cwd: folder, env: environment() });
  return shell.then(() => "", ({ stderr }: { stderr: string }) => stderr);
}

/** Whether the tests may mount something, or run a program as another user. */
const isRoot = process.platform === "linux" && process.getuid!() === 0;
const mayMount = isRoot && spawnSync("unshare", ["-m", "true"]).status === 0;

test.skipIf(process.platform === "win32")("a link to what is no file is refused before training, and another is followed", async () => {
  execFileSync("mkfifo", [join(folder, "fifo")]);
  for (const [to, why] of [["fifo", "it is not a regular file"], [".", "it is a folder"]] as const) {
    await symlink(to, join(folder, "link"));
    expect(await refused("", "link")).toMatch(new RegExp(`^error: --output: .* got link: ${why}\\n$`));
    await rm(join(folder, "link"));
  }
  await mkdir(join(folder, "linked"));
  for (const name of ["model.safetensors", "model.svg"]) {
    await writeFile(join(folder, "linked", name), "old");
    await symlink(join("linked", name), join(folder, name));
    // What cannot be written to can be replaced.
    await chmod(join(folder, "linked", name), 0o444);
  }
  const { code, stderr } = await run([...TRAIN, "--epochs", "1", "--force", "--output", "model.safetensors"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(await loads("linked/model.safetensors")).toBe(true);
  expect(await readFile(join(folder, "linked/model.svg"), "utf8")).toContain("<svg");
  expect((await readdir(join(folder, "linked"))).toSorted()).toEqual(["model.safetensors", "model.svg"]);
});

test.skipIf(!mayMount)("a mount point and a folder that is read-only are refused before training, and stay as they are", async () => {
  await mkdir(join(folder, "mo unt"));
  for (const name of ["a.safetensors", "b.safetensors"]) await writeFile(join(folder, "mo unt", name), name);
  const mount = "cd 'mo unt'; mount --bind a.safetensors b.safetensors;";
  expect(await refused(`unshare -m sh -c "${mount}`, "b.safetensors", '"')).toMatch(/^error: --output: .* b\.safetensors: it is a mount point/);
  const readOnly = "mount --bind 'mo unt' 'mo unt'; mount -o remount,ro,bind 'mo unt'; cd 'mo unt';";
  expect(await refused(`unshare -m sh -c "${readOnly}`, "b.safetensors", '"')).toMatch(/^error: --output: .*: read-only file system$/m);
  expect((await readdir(join(folder, "mo unt"))).toSorted()).toEqual(["a.safetensors", "b.safetensors"]);
  expect(await readFile(join(folder, "mo unt/b.safetensors"), "utf8")).toBe("b.safetensors");
});

test.skipIf(!isRoot)("another's file in a folder where all may write but not delete is refused before training", async () => {
  await chmod(folder, 0o755);
  const sticky = join(folder, "sticky");
  await mkdir(sticky);
  await chmod(sticky, 0o1777);
  await writeFile(join(sticky, "theirs.safetensors"), "theirs");
  const other = "setpriv --reuid 54321 --regid 54321 --clear-groups";
  expect(await refused(other, "sticky/theirs.safetensors")).toMatch(/^error: --output: .* nothing can replace it \(EPERM/);
  expect(await readdir(sticky)).toEqual(["theirs.safetensors"]);
  expect(await readFile(join(sticky, "theirs.safetensors"), "utf8")).toBe("theirs");
});

test("a piped training writes plain lines, a model and a chart, which evaluate measures", async () => {
  const { code, stdout, stderr } = await run([...SAMPLE, "--epochs", "2", "--output", "small.safetensors"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^Fashion-MNIST from the sample in this package\n {2}4,096 training images, 1,024 for validation, at 8x8\n/);
  expect(stdout).toMatch(/\ncifar_resnet20, 272,778 parameters, seed 0\n {2}2 epochs, batch 64, SGD, learning rate 0\.1, momentum 0\n/);
  expect(stdout).toMatch(/\nepoch {2}train loss .*\n +1( +\d+\.\d+){4}\n +2( +\d+\.\d+){4}\n\n/);
  expect(stdout).toMatch(/\nSaved to small\.safetensors; .* drawn in small\.svg\n/);
  expect(stdout).not.toContain("\x1b");
  expect(await readFile(join(folder, "small.svg"), "utf8")).toContain("Epochs 1 to 2.");

  const [, line] = /^To measure it: npx resnet-native (.*)$/m.exec(stdout)!;
  const [measured] = records((await run([...line!.split(" "), "--by-class", "--json"])).stdout);
  const accuracy = Number(/^ +2 .* (\d\.\d{4}) +\S+$/m.exec(stdout)![1]);
  expect(measured).toMatchObject({ loss: expect.any(Number), images: { source: "sample", count: 1024, size: 8 } });
  expect(measured!["accuracy"]).toBeCloseTo(accuracy, 4);
  expect(measured!["classes"]).toHaveLength(10);
  expect(measured!["confusion"]).toHaveLength(10);
  const again = await run([...line!.split(" "), "fashion-mnist"]);
  expect(again.stdout).toMatch(/^1,024 validation images at 8x8\nloss \d\.\d{4}, accuracy 0\.\d{4}\n$/);
});

/** A Fashion-MNIST of few images, of which none for validation is of the last classes. */
async function smallSet(name: string): Promise<void> {
  await mkdir(join(folder, name));
  for (const [part, count] of [["train", 32], ["t10k", 8]] as const) {
    const images = Buffer.alloc(16 + count * 784, Buffer.from([0, 99, 200]));
    images.set([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28]);
    const labels = Uint8Array.from({ length: 8 + count }, (_, i) => i % 8);
    labels.set([0, 0, 8, 1, 0, 0, 0, count]);
    await writeFile(join(folder, name, `${part}-images-idx3-ubyte`), images);
    await writeFile(join(folder, name, `${part}-labels-idx1-ubyte`), labels);
  }
}

test("the command that is suggested works as it stands, and a class without images has no accuracy", async () => {
  await smallSet("it's small");
  const more = ["--epochs", "1", "--data", "it's small", "--device", "cpu", "--output=-a model.safetensors"];
  const { code, stdout } = await run(["train", "fashion-mnist", ...SMALL, ...more]);
  expect(code).toBe(0);
  const [, line] = /^To measure it: npx resnet-native (.*)$/m.exec(stdout)!;
  for (const words of ["'./-a model.safetensors'", "--size 8", "--device cpu", "--threads 1"]) expect(line).toContain(words);
  if (process.platform === "win32") return;
  const evaluate = async (more: string) => {
    return promisify(execFile)("sh", ["-c", `"${process.execPath}" "${main}" ${line} ${more}`], { cwd: folder, env: environment() });
  };
  expect((await evaluate("--by-class")).stdout).toMatch(/^8 validation images at 8x8\nloss \d.*, accuracy \d[^]*\nbag(?: +–){3} +0\nankle boot(?: +–){3} +0\n$/);
  const [measured] = records((await evaluate("--by-class --json")).stdout);
  expect(measured).toMatchObject({ images: { source: "it's small" }, });
  const classes = measured!["classes"] as { name: string; recall: number; support: number }[];
  expect(classes.find(({ name }) => name === "bag")).toEqual({ name: "bag", label: 8, precision: expect.any(Number), recall: 0, f1: 0, support: 0 });
});

test("--json tells start, epochs and end; what is there is replaced with --force only", async () => {
  const args = [...TRAIN, "--epochs", "2", "--seed", "7", "--output", "json.safetensors", "--json"];
  const { code, stdout, stderr } = await run(args);
  expect([code, stderr]).toEqual([0, ""]);
  const [start, first, second, end] = records(stdout);
  expect(start).toMatchObject({ type: "start", network: "cifar_resnet20", parameters: 272_778, seed: 7, epochs: 2 });
  expect([first, second]).toMatchObject([{ type: "epoch", epoch: 1, loss: expect.any(Number) }, { type: "epoch", epoch: 2 }]);
  expect(end).toMatchObject({ type: "end", status: "finished", epochs: 2, output: "json.safetensors", chart: "json.svg" });

  const refused = await run(args);
  expect(refused.code).toBe(1);
  expect(records(refused.stdout)).toMatchObject([{ error: { code: "ERR_IO", message: expect.stringContaining("--force") } }]);
  const again = records((await run([...args, "--force", "--threads", "2"])).stdout);
  expect(again[2]).toMatchObject({ loss: second!["loss"], validationLoss: second!["validationLoss"] });
});

test("a loss or weights that are not finite are told with their place and what helps, and the file that is there stays", async () => {
  using good = new CifarResNet({ depth: 20, inChannels: 1 });
  await good.save(join(folder, "kept.safetensors"));
  await writeFile(join(folder, "kept.svg"), "old");
  const before = await readFile(join(folder, "kept.safetensors"));
  const help = /\. Training with a smaller --lr may help\n$/;
  for (const [rates, says] of [
    [["--lr", "1e30"], /^error: loss: expected a finite number, got (NaN|Infinity) at epoch 1, step 2\./],
    [["--lr", "1e38", "--weight-decay", "1e38"], /^error: conv1\.weight: expected finite numbers, got \S+ after epoch 1, step 1; these weights are lost\./],
    // One step an epoch: what it leaves is finite, and found useless by the validation.
    [["--lr", "1e25", "--batch-size", "32"], /^error: validation loss: expected a finite number, got (NaN|Infinity) after epoch 1\./],
  ] as const) {
    const args = [...TRAIN, "--batch-size", "16", "--epochs", "2", "--force", "--output", "kept.safetensors", ...rates];
    const { code, stdout, stderr } = await run(args);
    expect([code, stderr]).toEqual([1, expect.stringMatching(says)]);
    expect(stderr).toMatch(help);
    expect(stdout).not.toMatch(/Saved|epoch {2}train/);
    expect((await readFile(join(folder, "kept.safetensors"))).equals(before)).toBe(true);
    expect(await readFile(join(folder, "kept.svg"), "utf8")).toBe("old");
    const last = records((await run([...args, "--json"])).stdout).at(-1);
    expect(last).toMatchObject({ error: { code: expect.stringMatching(/^ERR_NON_FINITE_/) } });
  }
  expect((await readdir(folder)).filter((name) => name.startsWith("kept") || name.startsWith("."))).toHaveLength(2);
});

test("evaluate tells a loss that is not finite, in JSON as null", async () => {
  using model = new CifarResNet({ depth: 20, inChannels: 1 });
  const { value } = await (await fashionMnist({ source: "sample", resize: 8 })).train.batches({ batchSize: 32 }).next();
  // Weights of 1e20 and more, whose logits are NaN.
  await new Trainer(model, { optimizer: sgd({ lr: 1e25 }) }).step(value!.images, value!.labels);
  await model.save(join(folder, "useless.safetensors"));
  const args = ["evaluate", "useless.safetensors", "--sample", "--size", "8", "--by-class"];
  const { code, stdout } = await run(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/\nloss NaN, accuracy 0\.0000\n[^]*\nt-shirt(?: +0\.0000){3} +\d+\n/);
  const [measured] = records((await run([...args, "--json"])).stdout);
  expect(measured).toMatchObject({ loss: null, accuracy: 0, macroF1: 0 });
});

test("stdout that cannot be written to, as its reader has gone or its disk is full, stops no work", async () => {
  const shell = async (line: string) => {
    const bash = promisify(execFile)("bash", ["-c", line], { cwd: folder, env: environment() });
    return bash.then(({ stderr }) => stderr);
  };
  const program = `"${process.execPath}" "${main}"`;
  expect(await shell(`set -o pipefail; ${program} summary resnet152 --depth layers | head -n 1 > line.txt`)).toBe("");
  expect(await readFile(join(folder, "line.txt"), "utf8")).toMatch(/^name .*\n$/);
  const training = `${program} ${TRAIN.join(" ")} --epochs 2 --output`;
  expect(await shell(`${training} head.safetensors | head -n 1 > line.txt; test \${PIPESTATUS[0]} = 0`)).toBe("");
  expect(await readFile(join(folder, "head.svg"), "utf8")).toContain("Epochs 1 to 2.");
  expect(await loads("head.safetensors")).toBe(true);
  if (process.platform !== "linux") return;
  const full = await shell(`${training} full.safetensors > /dev/full; test $? = 1; ${program} --help > /dev/full; test $? = 1`);
  expect(full).toMatch(/^(error: stdout: expected to write to it, got ENOSPC: .*\n){2}$/);
  expect(await readFile(join(folder, "full.svg"), "utf8")).toContain("Epochs 1 to 2.");
  expect(await loads("full.safetensors")).toBe(true);
});

test.skipIf(process.platform === "win32")("SIGTERM and SIGHUP, also twice, end a training after a step and save; elsewhere they end at once", async () => {
  for (const [signal, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    const output = `${signal}.safetensors`;
    const args = [...TRAIN, "--epochs", "100000", "--output", output, "--json"];
    const child = spawn(process.execPath, [main, ...args], { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "inherit"] });
    await until(child, /"start"/);
    const rest = text(child.stdout);
    child.kill(signal);
    child.kill(signal);
    expect(await once(child, "exit")).toEqual([code, null]);
    expect(records(await rest).at(-1)).toMatchObject({ type: "end", status: "interrupted", output });
    expect(await loads(output)).toBe(true);
    // Not the system's default, which process 1 of a container has not.
    const bench = spawn(process.execPath, [main, "bench", "--seconds", "600", "--threads", "1"], { stdio: "ignore" });
    await sleep(1500);
    bench.kill(signal);
    expect(await once(bench, "exit")).toEqual([code, null]);
  }
});

test("doctor finds a machine healthy, and says what is missing where the addon is", async () => {
  const healthy = await run(["doctor"]);
  expect(healthy).toMatchObject({ code: 0, stderr: "" });
  const names = ["platform", "Node", "memory", "addon", "device", "CUDA", "MPI", "instruction set", "threads", "Fashion-MNIST", "self-test"];
  for (const name of names) expect(healthy.stdout).toMatch(new RegExp(`^${name} +✓ \\S`, "m"));
  expect(healthy.stdout).toMatch(/steps of a ResNet-20, loss \d\.\d+ to \d\.\d+, [\d,]+ images\/s/);

  const copy = join(folder, "copy");
  await cp(new URL("../dist", import.meta.url), join(copy, "dist"), { recursive: true });
  await writeFile(join(copy, "package.json"), '{ "type": "module", "version": "0" }');
  const program = join(copy, "dist/cli/main.js");
  const sick = await run(["doctor", "--json"], {}, program);
  expect(sick.code).toBe(1);
  const [report] = records(sick.stdout) as [{ healthy: boolean; findings: { name: string; ok: boolean; value: string }[] }];
  expect(report.healthy).toBe(false);
  expect(report.findings.filter(({ ok }) => !ok)).toEqual([{ name: "addon", ok: false, value: expect.stringContaining("addon: expected") }]);
  const other = await run(["summary", "resnet18"], {}, program);
  expect(other).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^error: addon: .* doctor tells more\n$/) });
});

test("bench measures", async () => {
  const { code, stdout } = await run(["bench", "cifar_resnet20", "--size", "8", "--seconds", "0.1", "--threads", "1"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^cifar_resnet20, 1x8x8, batch 32, 1 threads, \w+; medians\n/);
  expect(stdout).toMatch(/\ntraining +[\d.]+ images\/s\ninference +[\d.]+ images\/s\none image +[\d.]+ ms\n$/);
});

/** Whether util-linux's `script` is there, which gives a command a pseudo-terminal. */
const terminal = (() => {
  try {
    return execFileSync("script", ["--version"], { encoding: "utf8" }).includes("util-linux");
  } catch {
    return false;
  }
})();

/** Runs the program on a pseudo-terminal; what is written to the child's stdin has been typed. */
function type(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const command = [process.execPath, main, ...args].map((word) => `'${word}'`).join(" ");
  const set = environment({ TERM: "xterm", SHELL: "/bin/sh", ...env });
  return spawn("script", ["-qefc", command, "/dev/null"], { cwd: folder, env: set, stdio: ["pipe", "pipe", "inherit"] });
}

test.skipIf(!terminal)("on a terminal there is a bar, and the first Ctrl-C saves and exits with 130", async () => {
  const child = type([...SAMPLE, "--epochs", "100000", "--output", "first.safetensors"]);
  const bar = await until(child, /\r.*images\/s .* left/);
  expect(bar).toMatch(/\repoch 1\/100000 {2}░{8,24} {2}step \d+\/64 {2}loss \d/);
  const rest = text(child.stdout!);
  child.stdin!.write("\x03");
  expect(await once(child, "exit")).toEqual([130, null]);
  expect(await rest).toMatch(/Ctrl-C again leaves at once[^]*Stopped: [^]*Saved to first\.safetensors/);
  expect(await loads("first.safetensors")).toBe(true);
});

test.skipIf(!terminal)("the second Ctrl-C leaves at once, and what was saved before stays", async () => {
  using saved = new CifarResNet({ depth: 20, inChannels: 1 });
  await saved.save(join(folder, "second.safetensors"));
  const before = await readFile(join(folder, "second.safetensors"));
  // Steps of some seconds, so that the first Ctrl-C has to wait.
  const slow = ["train", "fashion-mnist", "--sample", "--network", "resnet50", "--size", "224", "--batch-size", "64"];
  const child = type([...slow, "--output", "second.safetensors", "--force"]);
  await until(child, /epochs, batch 64/);
  await sleep(300);
  child.stdin!.write("\x03");
  await until(child, /leaves at once/);
  child.stdin!.write("\x03");
  expect(await once(child, "exit")).toEqual([130, null]);
  // The first one alone would have saved another model in its place.
  expect((await readFile(join(folder, "second.safetensors"))).equals(before)).toBe(true);
});

test.skipIf(!terminal)("NO_COLOR is respected on a terminal, and a dumb one gets no bar", async () => {
  const [plain, coloured] = [type(["--help"], { NO_COLOR: "1" }), type(["--help"])];
  const outputs = await Promise.all([text(plain.stdout!), text(coloured.stdout!)]);
  expect(outputs.map((output) => output.includes("\x1b[1m"))).toEqual([false, true]);
  const dumb = type([...TRAIN, "--epochs", "1", "--output", "dumb.safetensors"], { TERM: "dumb" });
  expect(await text(dumb.stdout!)).not.toContain("\x1b");
});
