import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { CifarResNet, loadModel } from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { colourFolder } from "./png.js";
import { environment, main, records, runEach, runIn, until } from "./program.js";

const COLOURS = ["blue", "green", "red"];
/** Quick to train: a small network on small pictures. */
const SMALL = ["--network", "cifar_resnet20", "--size", "16", "--epochs", "2", "--threads", "1"];
const isWindows = process.platform === "win32";
/** Where the commands run; tests have files of their own names there. */
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
  await colourFolder(join(folder, "colours"), ["red", "green", "blue"], 20);
  const { code, stderr } = await run(["train", "colours", ...SMALL, "--output", "colours.safetensors"]);
  expect([code, stderr]).toEqual([0, ""]);
});
afterAll(async () => rm(folder, { recursive: true }));

const run = async (args: readonly string[]) => runIn(folder, args);
const train = async (...args: string[]) => run(["train", ...args, ...SMALL]);

/** Whether two files hold the same bytes; to have them compared by `expect` takes seconds for each megabyte. */
async function areEqual(...names: [string, string]): Promise<boolean> {
  const [one, other] = await Promise.all(names.map(async (name) => readFile(join(folder, name))));
  return one!.equals(other!);
}

/** Runs a command as it was printed. */
async function typed(line: string) {
  const program = `"${process.execPath}" "${main}"`;
  const { stdout } = await promisify(execFile)("sh", ["-c", line.replace("npx resnet-native", program)], { cwd: folder, env: environment() });
  return stdout;
}

/** The commands that a training suggests, each up to the next one or the end. */
function hints(stdout: string): string[] {
  return [...stdout.matchAll(/^To [^:]+: (npx resnet-native [^]*?)\n(?=To |$(?![^]))/gm)].map(([, line]) => line!);
}

test("a training on a folder saves its best epoch, and tells what the accuracy is to be compared with", async () => {
  const { code, stdout, stderr } = await train("colours");
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^colours: 3 classes \(blue, green, red\)\n {2}48 pictures to train on, 12 for validation, at 16x16 \(pad\)\n {2}always guessing \w+, the most frequent class, has a validation accuracy of 0\.3333\n/);
  expect(stdout).toMatch(/\ncifar_resnet20, 272,611 parameters, seed 0\n {2}2 epochs, batch 32, SGD, learning rate 0\.02 \(cosine\), momentum 0\.9, weight decay 0\.0005, augmentation standard\n/);
  expect(stdout).toMatch(/\nSaved to cifar_resnet20-colours\.safetensors as it was after epoch \d, its best one; .* drawn in cifar_resnet20-colours\.svg\n/);
  expect(await readFile(join(folder, "cifar_resnet20-colours.svg"), "utf8")).toContain("cifar_resnet20 on colours");
  const [, temperature] = /\nIts probabilities are calibrated on the pictures for validation: temperature (\d+\.\d\d), validation loss from \d\.\d+ to \d\.\d+\n/.exec(stdout)!;
  using model = await loadModel(join(folder, "cifar_resnet20-colours.safetensors"));
  expect(model.temperature.toFixed(2)).toBe(temperature);
  expect(model.classNames).toEqual(COLOURS);
  expect(model.transform).toMatchObject({ size: [16, 16], fit: "pad", channels: 3, normalise: { mean: [0.485, 0.456, 0.406] } });
  expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("train and evaluate write a report, train a log, and what cannot be written is refused before they work", async () => {
  const { code, stdout } = await train("colours", "--output", "reported.safetensors", "--report", "reported.html", "--log", "epochs.csv", "--json");
  expect(code).toBe(0);
  expect(await readFile(join(folder, "epochs.csv"), "utf8")).toMatch(/^epoch,loss,.*\n1,/);
  const logged = await train("colours", "--output", "logged.safetensors", "--log", "epochs.csv");
  expect([logged.code, logged.stderr]).toEqual([1, "error: --log: expected a file that can be written, got epochs.csv: it is there already; --force replaces it\n"]);
  expect((await train("colours", "--output", "logged.safetensors", "--log", "runs")).code).toBe(0);
  expect(await readdir(join(folder, "runs"))).toEqual([expect.stringMatching(/^events\.out\.tfevents\./)]);
  expect(records(stdout).at(-1)).toMatchObject({ type: "end", report: "reported.html" });
  const page = async () => readFile(join(folder, "reported.html"), "utf8");
  const sections = async () => [...(await page()).matchAll(/<section id="([^"]*)"/g)].map(([, id]) => id);
  expect(await page()).toContain("<h1><bdi>cifar_resnet20 on colours</bdi></h1>");
  expect(await sections()).toEqual(expect.arrayContaining(["curves", "confusion", "augmented", "configuration", "model-card"]));
  const evaluated = ["evaluate", "reported.safetensors", "colours", "--split", "0.2", "--report"];
  expect(await run([...evaluated, "reported.html"])).toEqual({ code: 1, stdout: "", stderr: "error: --report: expected a file that can be written, got reported.html: it is there already; --force replaces it\n" });
  const again = await run([...evaluated, "reported.html", "--force"]);
  expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/\nWhat there is to know of it, in a browser: reported\.html\n$/)]);
  expect(await page()).toContain("<h1><bdi>reported.safetensors on colours</bdi></h1>");
  expect(await page()).toContain("No history of a training was given");
  expect(await sections()).toEqual(expect.arrayContaining(["confusion", "model-card", "missing"]));
  const same = await train("colours", "--output", "same.safetensors", "--report", "./same.safetensors");
  expect([same.code, same.stderr.split("\n")[0]]).toEqual([2, expect.stringMatching(/^error: --report: expected another file than --output, got .*same\.safetensors for both\. See/)]);
  expect((await run(["export", "reported.safetensors", "-o", "reported.safetensors", "--force"])).stderr).toMatch(/^error: --output: expected another file than the model's/);
  const nowhere = await train("colours", "--output", "nowhere.safetensors", "--report", "none/x.html");
  expect([nowhere.code, nowhere.stdout]).toEqual([1, ""]);
  expect(nowhere.stderr).toMatch(/^error: --report: expected a file that can be written, got none\/x\.html: there is no folder .*none\n$/);
});

test("the file keeps the epoch with the highest accuracy, not the last one", async () => {
  // The names for validation are wrong, so that whatever is learnt makes it worse.
  await colourFolder(join(folder, "worse/train"), ["blue", "green"], 16);
  await colourFolder(join(folder, "worse/val"), ["green", "blue"], 4);
  const args = ["train", "worse", "--network", "cifar_resnet20", "--size", "16", "--epochs", "6", "--batch-size", "8", "--threads", "1"];
  const { code, stdout } = await run([...args, "--json", "--output", "best.safetensors"]);
  expect(code).toBe(0);
  const [start, ...epochs] = records(stdout);
  const end = epochs.pop()!;
  expect(start).toMatchObject({ type: "start", images: { folder: "worse", train: 32, validation: 8, classes: ["blue", "green"], skipped: { others: 0 } } });
  for (const { waiting } of epochs) expect(waiting).toEqual(expect.toSatisfy((share: number) => share >= 0 && share < 1));
  const rows = epochs as { epoch: number; validationAccuracy: number; validationLoss: number }[];
  const [best] = rows.toSorted((a, b) => b.validationAccuracy - a.validationAccuracy || a.validationLoss - b.validationLoss);
  expect(best!.epoch).toBeLessThan(6);
  expect(end).toMatchObject({ type: "end", status: "finished", epochs: 6, best: best!.epoch, output: "best.safetensors", chart: "best.svg" });
  const [measured] = records((await run(["evaluate", "best.safetensors", "worse", "--json"])).stdout);
  expect(measured).toMatchObject({ accuracy: best!.validationAccuracy, images: { source: "worse", count: 8, size: 16 } });
  expect(measured!["loss"]).toBeCloseTo(best!.validationLoss, 4);
});

test("a training ends early, and an average is validated and saved, on request", async () => {
  await colourFolder(join(folder, "early/train"), ["blue", "green"], 16);
  await colourFolder(join(folder, "early/val"), ["green", "blue"], 4);
  const small = ["--network", "cifar_resnet20", "--size", "16", "--batch-size", "8", "--epochs", "40", "--output", "early.safetensors"];
  const { code, stdout } = await run(["train", "early", ...small, "--early-stopping", "2", "--ema", "0.5"]);
  expect(code).toBe(0);
  expect(stdout).toContain("\n  averages of the weights, decay 0.5, are validated and saved\n  ends early after 2 epochs in a row without a smaller validation loss\n");
  expect(stdout).toContain("\nEnded early: the validation loss became no smaller.\n");
  expect([...stdout.matchAll(/\n +\d+( +\d\S+){4}(?=\n)/g)].length).toBeLessThan(40);
  const refused = await train("early", "--ema", "1", "--output", "other.safetensors");
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("--ema: expected a finite number from 0 to 0.999999, got 1")]);
});

test("a training goes on from a checkpoint to the same file, and replaces no other than its own", async () => {
  const long = ["train", "colours", ...SMALL, "--schedule", "constant"];
  const whole = await run([...long, "--epochs", "4", "--output", "whole.safetensors"]);
  const first = await run([...long, "--output", "first.safetensors", "--checkpoint", "kept", "--json"]);
  expect(records(first.stdout).map(({ type }) => type)).toEqual(["start", "epoch", "checkpoint", "epoch", "checkpoint", "end"]);
  const resumed = await run([...long, "--epochs", "4", "--output", "second.safetensors", "--resume", "kept"]);
  expect(resumed.stdout).toMatch(/\nGoes on from kept.step-\d+\.safetensors, 2 epochs done\n/);
  const saved = (stdout: string) => /^Saved to .*( as it was after epoch \d)/m.exec(stdout)![1];
  expect(saved(resumed.stdout)).toBe(saved(whole.stdout));
  expect(await areEqual("second.safetensors", "whole.safetensors")).toBe(true);
  // Once more, from the one before the last, which is damaged: then it is over, and the file is its own.
  const last = (await readdir(join(folder, "kept"))).filter((name) => name.startsWith("step-")).toSorted().at(-1)!;
  await writeFile(join(folder, "kept", last), "no model");
  const again = await run([...long, "--epochs", "4", "--output", "second.safetensors", "--resume", "kept"]);
  const aside = join("kept", `damaged-${last}`);
  expect(again.stdout).toMatch(/\nPassed over a damaged checkpoint, which is \S+ now: .*\nGoes on from kept.step-\d+\.safetensors, 3 epochs done\n/);
  expect(again.stdout).toContain(` which is ${aside} now: `);
  expect([again.code, saved(again.stdout)]).toEqual([0, saved(whole.stdout)]);
  expect(await areEqual("second.safetensors", "whole.safetensors")).toBe(true);

  const told = records((await run([...long, "--epochs", "4", "--output", "second.safetensors", "--resume", "kept", "--json"])).stdout);
  expect(told[0]).toMatchObject({ type: "start", ema: 0, checkpoint: "kept", resume: "kept" });
  expect(told[1]).toEqual({ type: "resume", path: join("kept", last), epoch: 5, steps: 2, skipped: [] });
  expect(told.at(-1)).toMatchObject({ type: "end", status: "finished", stoppedEarly: false });

  await writeFile(join(folder, "notes.txt"), "mine");
  const other = await run([...long, "--epochs", "4", "--output", "notes.txt", "--resume", "kept"]);
  expect([other.code, other.stderr]).toEqual([1, expect.stringContaining("it is there already; --force replaces it")]);
  const typo = await run([...long, "--output", "third.safetensors", "--resume", "kepd"]);
  expect([typo.code, typo.stderr]).toEqual([1, expect.stringMatching(/--resume: expected a folder that a training writes checkpoints to, got kepd/)]);
  const size = await run([...long, "--epochs", "4", "--batch-size", "8", "--output", "third.safetensors", "--resume", "kept"]);
  expect([size.code, size.stderr]).toEqual([1, expect.stringMatching(/with batchSize 8, got .* with 32.*\n?.*--resume wants the words/)]);
});

test("a training that is made longer goes on by the schedule of so many epochs", async () => {
  const words = ["train", "colours", ...SMALL, "--output", "longer.safetensors"];
  expect((await run([...words, "--checkpoint", "short"])).code).toBe(0);
  const longer = await run([...words, "--epochs", "5", "--resume", "short", "--json"]);
  expect([longer.code, longer.stderr]).toEqual([0, ""]);
  const rates = records(longer.stdout).filter(({ type }) => type === "epoch").map(({ epoch, lr }) => [epoch, lr]);
  expect(rates.map(([epoch]) => epoch)).toEqual([3, 4, 5]);
  const other = await run([...words, "--epochs", "5", "--resume", "short", "--schedule", "one-cycle"]);
  expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(/a run with schedule .*one_cycle/)]);
});

test.skipIf(isWindows)("Ctrl-C leaves a checkpoint of the step at hand, and the words with which the training ends as if it had not come", async () => {
  const words = ["train", "colours", ...SMALL, "--epochs", "8", "--ema", "0.9", "--output"];
  expect((await run([...words, "through.safetensors"])).code).toBe(0);
  const child = spawn(process.execPath, [main, ...words, "stopped.safetensors", "--checkpoint", "a run"], { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "ignore"] });
  const before = await until(child, /\n +2( +\d\S+){4}\n/);
  const rest = text(child.stdout);
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([130, null]);
  const stdout = before + (await rest);
  expect(stdout).toMatch(/\nStopped\.\nTo go on from a run\/step-\d{8}\.safetensors: npx resnet-native train colours .* --resume 'a run'.*\n/);
  const [goOn] = hints(stdout);
  expect(goOn).not.toContain("--checkpoint");
  const ended = await typed(goOn!.split("\n")[0]!);
  expect(ended).toMatch(/\nGoes on from a run\/step-\d{8}\.safetensors, [2-8] epochs done\n/);
  expect(await areEqual("stopped.safetensors", "through.safetensors")).toBe(true);
});

test.skipIf(isWindows)("each command that is suggested works as it stands, whatever the names", async () => {
  const odd = "it's a\nfolder";
  await colourFolder(join(folder, odd), ["-r e\nd", "$(green)"], 6);
  await writeFile(join(folder, odd, "$(green)", "0.png"), "no picture");
  await writeFile(join(folder, odd, "$(green)", "notes.txt"), "no picture");
  const { code, stdout, stderr } = await train(odd, "--skip-unreadable", "--seed", "3", "--split", "0.4", "--device", "cpu", "--output=-a model.safetensors");
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^it's a\\nfolder: 2 classes \(\$\(green\), -r e\\nd\)\n.*\n {2}passed over: 1 file that is no picture, 1 file of another kind\n {4}it's a\\nfolder\/\S+, a file of another kind\n/);
  const [predict, evaluate, ...more] = hints(stdout);
  expect(more).toEqual([]);
  expect(predict).toContain("/1.png");
  for (const line of [predict, evaluate]) expect(line).toMatch(/ '\.\/-a model\.safetensors' 'it'\\''s a\nfolder[^]* --device cpu --threads 1$/);
  expect(await typed(predict!)).toMatch(/^it's a\\nfolder\/\$\(green\)\/1\.png {2}\S.* %  \S.* %\n$/);
  const validation = /^ +\d+ pictures to train on, (\d) for validation/m.exec(stdout)![1];
  const measured = await typed(evaluate!);
  expect(measured).toMatch(new RegExp(`^${validation} pictures of it's a\\\\nfolder at 16x16\npassed over: 1 file that`));
  expect(measured).toMatch(/\nclass +precision +recall +F1 {2}images\n─+(?: {2}─+){4}\n\$\(green\)(?: +[01]\.\d{4}){3} +2\n-r e\\nd(?: +[01]\.\d{4}){3} +2\n$/);
  const [, best] = /after epoch (\d)/.exec(stdout)!;
  const row = new RegExp(`^ +${best}(?: +\\d\\S+){2} +(\\S+)`, "m").exec(stdout)!;
  expect(measured).toContain(`accuracy ${row[1]}\n`);
});

test("train and val folders are taken as they are, and a list too", async () => {
  await colourFolder(join(folder, "parts/train"), ["red", "green"], 8);
  await colourFolder(join(folder, "parts/val"), ["red", "green"], 3);
  const parts = await train("parts", "--output", "parts.safetensors");
  expect(parts.stdout).toMatch(/\n {2}16 pictures to train on, 6 for validation/);
  expect(parts.stdout).toMatch(/ evaluate parts\.safetensors parts --by-class --threads 1\n$/);
  const [measured] = records((await run(["evaluate", "parts.safetensors", "parts", "--json"])).stdout);
  expect(measured).toMatchObject({ images: { source: "parts", count: 6 } });

  const lines = COLOURS.flatMap((name) => [0, 1, 2, 3].map((n) => `colours/${name}/${n}.png,${name},${n === 0 ? "validation" : "train"}`));
  await writeFile(join(folder, "list.csv"), ["path,label,split", ...lines].join("\n"));
  const list = await train("list.csv");
  expect(list.stdout).toMatch(/^list\.csv: 3 classes [^]*\n {2}9 pictures to train on, 3 for validation[^]*\nSaved to cifar_resnet20-list\.safetensors/);
  expect(list.stdout).toMatch(/ predict cifar_resnet20-list\.safetensors \S+\.png --threads 1\n/);
});

test("a list of any number of labels is trained on, predicted and measured", async () => {
  const named = COLOURS.flatMap((name, i) => [0, 1, 2, 3, 4].map((n) => `colours/${name}/${n}.png,${["", "warm", "warm|bright"][i]}`));
  await writeFile(join(folder, "multi.csv"), ["path,label", ...named].join("\n"));
  const { code, stdout } = await train("multi.csv", "--labels", "multi");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^multi\.csv: 2 classes \(bright, warm\)\n {2}12 pictures to train on, 3 for validation.*\n {2}no picture for validation: bright\n {2}labels are there or not: always guessing none has a validation accuracy of 0\.\d{4}\n/);
  const [, measured] = hints(stdout);
  expect(await typed(measured!)).toMatch(/^3 pictures of multi\.csv at 16x16\nloss \d.*, accuracy [01].*\nF1 [01].*, mean of the classes' [01].*, all right [01].*\n\nclass +precision +recall +F1 +images\n/);
  const model = "cifar_resnet20-multi.safetensors";
  const [found] = records((await run(["evaluate", model, "multi.csv", "--by-class", "--json"])).stdout);
  expect(found).toMatchObject({ microF1: expect.any(Number), exactMatch: expect.any(Number), classes: [{ name: "bright", support: 5 }, { name: "warm", support: 10 }] });
  const [all] = records((await run(["predict", model, "colours/red/0.png", "--min-confidence", "0", "--json"])).stdout);
  expect((all!["classes"] as { name: string }[]).map(({ name }) => name).toSorted()).toEqual(["bright", "warm"]);
  const [sure] = records((await run(["predict", model, "colours/red/0.png", "--json"])).stdout);
  expect((sure!["classes"] as { probability: number }[]).every(({ probability }) => probability >= 0.5)).toBe(true);
  expect(await run(["train", "colours", "--labels", "multi", "--output", "none.safetensors", ...SMALL])).toMatchObject({ code: 2, stderr: expect.stringContaining('labels: expected "single" for a folder') });
});

test("predict tells the classes of pictures in columns, and as JSON", async () => {
  const files = ["colours/red/1.png", "colours/green/11.png"];
  const { code, stdout, stderr } = await run(["predict", "colours.safetensors", ...files]);
  expect([code, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^colours\/red\/1\.png {5}\w+ +\d+\.\d %(  \w+ +\d+\.\d %){2}$/);
  expect(lines[1]).toMatch(/^colours\/green\/11\.png {2}\w+ +\d+\.\d %(  \w+ +\d+\.\d %){2}$/);
  expect(lines[0]).toHaveLength(lines[1]!.length);
  const told = records((await run(["predict", "colours.safetensors", ...files, "--json", "--top", "2"])).stdout);
  using model = await loadModel(join(folder, "colours.safetensors"));
  const classes = await Promise.all(files.map(async (file) => model.classify(join(folder, file), { top: 2 })));
  expect(told).toEqual(files.map((file, i) => ({ file, classes: classes[i] })));
  expect(lines[0]).toContain(`${classes[0]![0]!.name.padEnd(5)} ${(100 * classes[0]![0]!.probability).toFixed(1).padStart(5)} %`);
  const flipped = records((await run(["predict", "colours.safetensors", files[0]!, "--flip", "--json", "--top", "2"])).stdout);
  expect(flipped).toEqual([{ file: files[0], classes: await model.classify(join(folder, files[0]!), { top: 2, flips: true }) }]);
  const unsure = await run(["predict", "colours.safetensors", files[0]!, "--min-confidence", "1"]);
  expect(unsure).toMatchObject({ code: 0, stdout: `${files[0]}  none of these\n` });
});

test("predict takes the pictures of a folder and of the folders within it", async () => {
  await mkdir(join(folder, "colours/.hidden"));
  await cp(join(folder, "colours/red/0.png"), join(folder, "colours/.hidden/0.png"));
  const { code, stdout } = await run(["predict", "colours.safetensors", "colours", "colours/red/7.png", "--top", "1", "--json"]);
  await rm(join(folder, "colours/.hidden"), { recursive: true });
  const files = records(stdout).map(({ file }) => file as string);
  expect([code, files.length, files.at(-1)]).toEqual([0, 61, "colours/red/7.png"]);
  expect(files.slice(0, 60).toSorted()).toEqual(COLOURS.flatMap((name) => Array.from({ length: 20 }, (_, i) => `colours/${name}/${i}.png`)).toSorted());
});

test("a file that is no picture does not keep the others from being told", async () => {
  await writeFile(join(folder, "no\tpicture.png"), "no picture");
  const args = ["predict", "colours.safetensors", "no\tpicture.png", "nowhere.png", "colours/red/0.png"];
  const { code, stdout, stderr } = await run(args);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^colours\/red\/0\.png .*\n$/);
  expect(stderr).toMatch(/^error: no\\x09picture\.png: expected a JPEG, PNG or WebP picture, .*\nerror: cannot read nowhere\.png: .*\n$/);
  const json = await run([...args, "--json"]);
  expect([json.code, json.stderr]).toEqual([1, ""]);
  expect(records(json.stdout)).toMatchObject([
    { file: "no\tpicture.png", error: { code: "ERR_DATA_CORRUPT" } },
    { file: "nowhere.png", error: { code: "ERR_IO" } },
    { file: "colours/red/0.png", classes: [{ name: expect.any(String) }, {}, {}] },
  ]);
});

test("what is no picture stops a training that does not say otherwise, with the word that helps", async () => {
  await cp(join(folder, "colours"), join(folder, "mixed"), { recursive: true });
  await mkdir(join(folder, "mixed/none"));
  const empty = await train("mixed");
  expect([empty.code, empty.stdout, empty.stderr]).toEqual([1, "", expect.stringMatching(/^error: class "none" of mixed: .*got none\. --skip-unreadable leaves such classes out\n$/)]);
  await rm(join(folder, "mixed/none"), { recursive: true });
  await writeFile(join(folder, "mixed/red/x.jpg"), "no picture");
  const broken = await train("mixed");
  expect([broken.code, broken.stderr]).toEqual([1, expect.stringMatching(/^error: mixed\/red\/x\.jpg: expected .*\. --skip-unreadable leaves such files out\n$/)]);
  await mkdir(join(folder, "mixed/none"));
  if (!isWindows) await symlink("0.png", join(folder, "mixed/red/link.png"));
  await writeFile(join(folder, "mixed/.hidden"), "");
  await writeFile(join(folder, "mixed/a.txt"), "");
  await writeFile(join(folder, "mixed/b.txt"), "");
  const skipping = await train("mixed", "--skip-unreadable");
  expect([skipping.code, skipping.stderr]).toEqual([0, ""]);
  expect(skipping.stdout).not.toContain("Left out");
  const link = isWindows ? "" : ", 1 link";
  expect(skipping.stdout).toContain(`\n  passed over: 1 file that is no picture, 2 files of other kinds, 1 empty class${link}, 1 hidden file or folder\n`);
  // One that ends early is a picture by its first bytes; it must not count in what is told of the others.
  await writeFile(join(folder, "mixed/green/cut.png"), (await readFile(join(folder, "mixed/green/0.png"))).subarray(0, 200));
  const cut = await train("mixed", "--skip-unreadable", "--force");
  expect(cut.stdout).toMatch(/\n {2}48 pictures to train on, 12 for validation, .*\n {2}passed over: 2 files that are no pictures, /);
  expect(cut.stdout).toMatch(/\n {4}mixed\/green\/cut\.png, a damaged one .*\n/);
  await rm(join(folder, "mixed/green/cut.png"));
  await rm(join(folder, "mixed/none"), { recursive: true });
  const evaluated = await run(["evaluate", "colours.safetensors", "mixed", "--skip-unreadable"]);
  expect(evaluated.stdout).toMatch(/^60 pictures of mixed at 16x16\npassed over: 1 file that is no picture, /);
});

test.skipIf(process.platform !== "linux")("where a later epoch cannot be saved, the file of the one before stays, and is named", async ({ skip }) => {
  const args = ["train", "colours", "--network", "cifar_resnet20", "--size", "16", "--epochs", "100000", "--schedule", "constant", "--output", "full.safetensors"];
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  const errors = text(child.stderr);
  await until(child, /\n +1( +\S+){4}\n/);
  // The epoch is told before it is saved.
  await expect.poll(() => existsSync(join(folder, "full.safetensors"))).toBe(true);
  // No file may grow beyond a thousand bytes from here on, as on a disk that is full.
  const limited = await promisify(execFile)("prlimit", ["--pid", String(child.pid), "--fsize=1000"]).catch(() => undefined);
  if (limited === undefined) child.kill("SIGKILL");
  skip(limited === undefined, "nothing here limits the size of a file");
  child.stdout.resume();
  expect(await once(child, "exit")).toEqual([1, null]);
  const [, saved] = /^error: cannot .*full\.safetensors.*; full\.safetensors stays as it was after epoch (\d+)\n$/.exec(await errors)!;
  expect(Number(saved)).toBeGreaterThan(0);
  using model = await loadModel(join(folder, "full.safetensors"));
  expect(model.classNames).toEqual(COLOURS);
});

test("a class that a folder lacks has a dash, and one that the model does not know is an error", async () => {
  await cp(join(folder, "colours/red"), join(folder, "some/red"), { recursive: true });
  const { stdout } = await run(["evaluate", "colours.safetensors", "some", "--by-class"]);
  expect(stdout).toMatch(/^20 pictures of some at 16x16\n[^]*\nblue(?: +–){3} +0\ngreen(?: +–){3} +0\nred(?: +[01]\.\d{4}){3} +20\n$/);
  await cp(join(folder, "some/red"), join(folder, "some/yellow"), { recursive: true });
  expect((await run(["evaluate", "colours.safetensors", "some"])).stderr).toMatch(/^error: classNames: .*"yellow".*\n$/);
});

test("a hundred classes with long names are told in short, and measured in columns", async () => {
  const names = Array.from({ length: 100 }, (_, i) => `something of a rather long name with number ${i}`);
  await colourFolder(join(folder, "hundred"), names, 2);
  const { stdout } = await train("hundred", "--augment", "none", "--grey");
  expect(stdout).toMatch(/^hundred: 100 classes \(something of a rather long name with number 0 and 99 more\)\n/);
  const measured = await run(["evaluate", "cifar_resnet20-hundred.safetensors", "hundred", "--by-class"]);
  const rows = measured.stdout.trimEnd().split("\n").slice(3);
  expect(rows).toHaveLength(102);
  expect(new Set(rows.map((row) => row.length)).size).toBe(1);
  expect(rows.at(-1)).toMatch(/^something of a rather long name with number 99(?: +[01]\.\d{4}){3} {7}2$/);
});

test("weights of another network are taken but for the head", async () => {
  using other = new CifarResNet({ depth: 20, inChannels: 3, numClasses: 10 });
  await other.save(join(folder, "other.safetensors"));
  const { code, stdout } = await train("colours", "--weights", "other.safetensors", "--lr", "0", "--weight-decay", "0", "--output", "tuned.safetensors");
  expect(code).toBe(0);
  expect(stdout).toContain("\n  begins with other.safetensors, but for fc.weight, fc.bias\n");
  using tuned = await loadModel(join(folder, "tuned.safetensors"));
  // With a rate of 0 they are still what the file had.
  const [name] = [...(await tuned.stateDict()).keys()];
  const weights = async (model: typeof tuned) => (await model.stateDict()).get(name!)!.data;
  expect(await weights(tuned)).toEqual(await weights(other));
  const missing = await train("colours", "--weights", "missing.pth", "--output", "not.safetensors");
  expect(missing).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^error: cannot read missing\.pth: .*\n$/) });
  expect(await readdir(folder)).not.toContain("not.safetensors");
});

/** Words that are wrong, the exit code, and what the one line says. */
const wrong: readonly (readonly [string, number, RegExp])[] = [
  ["train nowhere", 1, /FOLDER: expected a folder of pictures, .* got nowhere, which is not there$/],
  ["train colours.safetensors", 1, /FOLDER: .* got colours\.safetensors, which is a file$/],
  ["train void", 1, /void: expected pictures .* got none$/],
  ["train lone", 1, /lone: expected at least two classes with pictures .* got \["red"\] alone$/],
  ["train single", 1, /FOLDER: expected two pictures or more in a class, or pictures for validation .* got single with neither$/],
  ["train colours --output colours.safetensors", 1, /--output: .* it is there already; --force replaces it$/],
  ["train colours more", 2, /"more": expected an option, or nothing more\. See npx resnet-native train --help$/],
  ["train colours --augment much", 2, /--augment: expected none or standard or strong, got "much"/],
  ["train colours --fit padd", 2, /--fit: .* \(did you mean pad\?\)/],
  ["train colours --split 1", 2, /--split: expected a finite number from 0\.01 to 0\.9, got 1/],
  ["predict", 2, /MODEL: expected a model's file, got nothing/],
  ["predict colours.safetensors", 2, /PICTURE: expected a picture's file, got nothing/],
  ["predict none.safetensors colours/red/0.png", 1, /cannot read none\.safetensors: /],
  ["predict plain.safetensors colours/red/0.png", 2, /model: expected one that knows what pictures it takes/],
  ["predict colours.safetensors void", 1, /PICTURE: expected pictures \(JPEG, PNG or WebP\) in the folder void, got none$/],
  ["predict colours.safetensors https://example.com/a.png", 2, /pictures: .* got "https:.*\(it must be on this machine: download it first\)/],
  ["train https://example.com/pictures", 1, /FOLDER: .* got https:.*, which must be on this machine: download it first$/],
  ["train apart --split 0.2", 2, /--split: expected none for a folder with pictures for validation of its own, got 0\.2\. See /],
  ["predict colours.safetensors colours/red/0.png --top 0", 2, /--top: expected an integer from 1 to 1000, got 0/],
  ["evaluate plain.safetensors colours", 2, /MODEL: expected one that was trained on pictures/],
  ["evaluate colours.safetensors nowhere", 1, /IMAGES: .* got nowhere, which is not there$/],
  ["evaluate colours.safetensors", 2, /IMAGES: expected a folder of pictures for a model of images with 3 channels, got fashion-mnist/],
  ["evaluate colours.safetensors colours --size 8", 2, /--size: expected with fashion-mnist alone/],
  ["evaluate colours.safetensors colours --sample", 2, /--sample: expected with fashion-mnist alone/],
  ["evaluate notes.safetensors --split 0.5", 1, /cannot read notes\.safetensors/],
];

/** Where there are pictures for validation of a class that has none to train on. */
const unknown = ["train apart", 1, /^error: validation pictures of apart: expected only classes .* got "blue"\. --skip-unreadable leaves the others out$/] as const;

test("what is wrong is told on one line, before anything is trained", async () => {
  await mkdir(join(folder, "void"));
  await colourFolder(join(folder, "lone"), ["red"], 3);
  await colourFolder(join(folder, "single"), ["red", "green"], 1);
  await colourFolder(join(folder, "apart/train"), ["red", "green"], 2);
  await colourFolder(join(folder, "apart/val"), ["red", "green"], 1);
  using plain = new CifarResNet({ depth: 20, inChannels: 3, numClasses: 3 });
  await plain.save(join(folder, "plain.safetensors"));
  const answers = await runEach(folder, wrong.map(([line]) => line.split(" ")));
  // A class that there is nothing to train on of.
  await colourFolder(join(folder, "apart/val"), ["red", "green", "blue"], 1);
  answers.push(await run(["train", "apart"]));
  for (const [i, [line, code, message]] of [...wrong, unknown].entries()) {
    const answer = answers[i]!;
    expect({ line, code: answer.code, stdout: answer.stdout }).toEqual({ line, code, stdout: "" });
    expect(answer.stderr).toMatch(/^error: .*\n$/);
    expect(answer.stderr.trimEnd()).toMatch(message);
  }
});

test("--dashboard tells the address of a page, whose button to stop is as Ctrl-C: it saves, and tells how to go on", async () => {
  const words = ["train", "colours", ...SMALL, "--epochs", "100000", "--dashboard", "--checkpoint", "watched", "--output", "watched.safetensors"];
  const child = spawn(process.execPath, [main, ...words], { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  const errors = text(child.stderr);
  const before = await until(child, /\n +2( +\d\S+){4}\n/);
  const rest = text(child.stdout);
  const [, url] = /\nTo look at it in a browser of this machine: (http:\/\/127\.0\.0\.1:\d+\/\S+\/)\n/.exec(before)!;
  expect(await (await fetch(url!)).text()).toContain("<h1><bdi>cifar_resnet20 on colours</bdi></h1>");
  expect((await fetch(`${url}stop`, { method: "POST" })).status).toBe(204);
  expect(await once(child, "exit")).toEqual([130, null]);
  const stdout = before + (await rest);
  expect(await errors).toMatch(/^The page's button: stopping after this step, then saving; Ctrl-C leaves at once/);
  expect(stdout).toMatch(/\nStopped\.\nTo go on from watched\/step-\d{8}\.safetensors: npx resnet-native train colours .* --dashboard .*--resume watched.*\n/);
  expect(stdout).toMatch(/\nSaved to watched\.safetensors as it was after epoch \d+, its best one; /);
});

test("a page's port that another program has is told before anything is trained", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const { code, stdout, stderr } = await train("colours", "--dashboard-port", String(port), "--output", "unserved.safetensors");
  taken.close();
  expect([code, stderr]).toEqual([1, `error: dashboard: expected a place to serve a page, got 127.0.0.1, port ${port}, which another program has; without a port a free one is taken\n`]);
  expect(stdout).not.toContain("epoch  train loss");
  expect((await readdir(folder)).filter((name) => name.startsWith("unserved"))).toEqual([]);
});

test.skipIf(isWindows)("Ctrl-C ends a training with its best epoch saved, or with the weights at hand before there is one", async () => {
  for (const [output, sign, args] of [
    ["later.safetensors", /\n +2( +\d\S+){4}\n/, SMALL],
    // Steps of a second, so that no epoch comes to its end.
    ["sooner.safetensors", /\n {2}100,000 epochs/, ["--network", "resnet18", "--size", "96", "--batch-size", "32", "--threads", "1"]],
  ] as const) {
    const words = [main, "train", "colours", ...args, "--epochs", "100000", "--output", output];
    const child = spawn(process.execPath, words, { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    const errors = text(child.stderr);
    const before = await until(child, sign);
    const rest = text(child.stdout);
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([130, null]);
    const stdout = before + (await rest);
    expect(await errors).toMatch(/^Ctrl-C: stopping after this step, then saving/);
    if (output === "later.safetensors") expect(stdout).toMatch(/\nStopped\.\n\nSaved to later\.safetensors as it was after epoch \d+, its best one; /);
    else expect(stdout).toMatch(/\nStopped: the weights are those of the last whole step\.\n\nSaved to sooner\.safetensors\n/);
    using model = await loadModel(join(folder, output));
    expect(model.classNames).toEqual(COLOURS);
    for (const line of hints(stdout)) expect(await typed(line)).toMatch(/^(colours\/blue\/0\.png |12 pictures of colours at )/);
    expect((await readdir(folder)).filter((name) => name.includes(basename(output, ".safetensors")))).toHaveLength(output === "later.safetensors" ? 2 : 1);
  }
});

test.skipIf(isWindows)("Ctrl-C ends predictions at once, since they have nothing to save", async () => {
  const files = Array.from({ length: 20_000 }, () => "colours/red/0.png");
  const words = [main, "predict", "colours.safetensors", ...files];
  const child = spawn(process.execPath, words, { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  const errors = text(child.stderr);
  const before = await until(child, /\n/);
  const rest = text(child.stdout);
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([130, null]);
  expect((before + (await rest)).split("\n").length).toBeLessThan(files.length);
  expect(await errors).toBe("");
});

test("export writes a model for other programs, and replaces no file unasked", async () => {
  const plain = await run(["export", "colours.safetensors"]);
  expect([plain.code, plain.stderr]).toEqual([0, ""]);
  expect(plain.stdout).toMatch(/^Exported to colours\.onnx, 1\.1 MB\n {2}in {3}images: float32 \(N, 3, 16, 16\), normalised by the file's mean and std\n {2}out {2}logits: float32 \(N, 3\): blue, green, red\n$/);
  const again = await run(["export", "colours.safetensors"]);
  expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/^error: --output: .* colours\.onnx: it is there already; --force replaces it\n$/)]);
  const words = ["--input", "rgba", "--probabilities", "--precision", "fp16", "--batch", "4", "--size", "24x32", "--force", "--json", "-o", "colours.onnx"];
  const { code, stdout } = await run(["export", "colours.safetensors", ...words]);
  const { length } = await readFile(join(folder, "colours.onnx"));
  expect([code, ...records(stdout)]).toEqual([
    0,
    {
      type: "export",
      file: "colours.onnx",
      bytes: length,
      precision: "fp16",
      input: { name: "images", type: "uint8", shape: [4, 24, 32, 4] },
      output: { name: "probabilities", type: "float32", shape: [4, 3] },
      classNames: COLOURS,
    },
  ]);
  expect(length).toBeLessThan(600_000);
});
