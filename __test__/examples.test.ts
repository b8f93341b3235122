import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { access, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { CifarResNet, loadModel } from "resnet-native";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { dataFolder } from "./data-folder.js";
import { png } from "./png.js";
import { until } from "./program.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const demo = join(root, "examples/fashion-mnist.mjs");
const SAVED = "out/demo/resnet18-fashion-mnist.safetensors";
const CHART = "out/demo/resnet18-fashion-mnist.svg";
/** Where examples run. */
let folder: string;

beforeAll(async () => {
  folder = await dataFolder();
});

afterAll(async () => rm(folder, { recursive: true }));

function start(file: string, ...words: string[]): ChildProcess {
  // As under npm, which passes on the Ctrl-C that its child has got already.
  const env = { ...process.env, RESNET_NATIVE_DATA: folder, npm_config_user_agent: "npm" };
  return spawn(process.execPath, [file, ...words], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
}

async function run(file: string): Promise<string> {
  const child = start(file);
  const [output, errors, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "exit")]);
  expect([code, errors]).toEqual([0, ""]);
  return output;
}

test("the README's example does what it says", async () => {
  const [, code] = /^```js\n(.*?)^```/ms.exec(await readFile(join(root, "README.md"), "utf8"))!;
  // The package finds itself by its name from files inside it.
  const file = join(root, "out", "readme-example.mjs");
  await mkdir(join(root, "out"), { recursive: true });
  await writeFile(file, code!);
  const epochs = (await run(file)).trim().split("\n").map((line) => line.split(" ").map(Number));
  expect(epochs.map(([epoch]) => epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(epochs.flat().every(Number.isFinite)).toBe(true);
  await access(join(folder, "resnet18.safetensors"));
});

test("the demo trains, saves, draws and predicts", async () => {
  const output = await run(demo);
  expect(output).toContain(`Fashion-MNIST from ${folder}`);
  expect(output).toMatch(/epoch {2}train loss {2}validation loss {2}validation accuracy {2}seconds\n +1 ( +\d+\.\d+){4}\n/);
  expect(output.split("true name    predicted\n")[1]!.trim().split("\n")).toHaveLength(10);
  using model = await loadModel(join(folder, SAVED));
  expect(model.numParameters).toBe(11_178_378);
  expect(output).toContain(CHART);
  expect(await readFile(join(folder, CHART), "utf8")).toContain("Epochs 1 to 3. Last values: training loss");
});

const signals = [["SIGINT", 130], ["SIGTERM", 143]] as const;
test.skipIf(process.platform === "win32").each(signals)("%s stops the demo, which saves what it has", async (signal, code) => {
  await rm(join(folder, "out"), { recursive: true, force: true });
  const child = start(demo);
  await once(child.stdout!, "data");
  child.kill(signal);
  child.kill(signal);
  expect(await once(child, "exit")).toEqual([code, null]);
  await access(join(folder, SAVED));
});

test("the demo trains and saves for a reader that goes", async () => {
  await rm(join(folder, "out"), { recursive: true, force: true });
  const child = start(demo);
  await once(child.stdout!, "data");
  child.stdout!.destroy();
  expect(await once(child, "exit")).toEqual([0, null]);
  await access(join(folder, CHART));
});

test("the demo says before training that it cannot save", async () => {
  await rm(join(folder, "out"), { recursive: true, force: true });
  await writeFile(join(folder, "out"), "a file");
  const child = start(demo);
  const [output, errors] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  expect([output, errors]).toEqual(["", expect.stringMatching(/EEXIST|ENOTDIR/)]);
  await rm(join(folder, "out"));
});

/** What the short ones show. */
const shown: Record<string, RegExp> = {
  "blocks.ts": /^4,3,6,6\n4,6,3,3\n[^]*downsample/,
  "bottleneck.ts": /1×2048×7×7[^]*1181184 parameters\n[^]* 70784 parameters\n[^]*\nERR_SHAPE: 1: cannot add/,
  "compose.ts": /5 +GlobalAvgPool2d[^]*validation accuracy[^]*\n3( +\d+\.\d+){6}/,
  "fine-tune.ts": /^with a new head: \d+\.\d %[^]*\nthe head trained: [5-9]\d\.\d %[^]*\nall of it trained: [6-9]\d\.\d %[^]*\nwhat enters the head for four images: 4 x 64 numbers$/,
  "inception.ts": /^1,256,12,12\n[^]*b4_2_relu[^]*\n1,256,12,12\n[^]*inception5[^]*layer4/,
  "networks.ts": /ResNet-50 +25\.56 M +4\.09 G\n[^]*GoogLeNet +\d/,
  "own-loop.ts": /epoch 1: loss 2\.\d+, gradient norm \d[^]*epoch 2: loss 1\.\d+/,
  "pictures.ts": /^48 pictures of leaves, poppies, skies to train on, 0 files that are none\n[^]*\n4( +\d+\.\d+){6}\n((leaves|poppies|skies): (leaves|poppies|skies), \d+ %\n?){6}$/,
  "pre-activation.ts": /relu1[^]*norm2[^]*stages\.3[^]*\n1003 convolutions, 10,327,706 parameters\n[^]*epoch 2: /,
  "pretrained.ts": /^Took the weights of .*resnet18\.pth; new are fc\.weight and fc\.bias\n[^]*\n1( +\d+\.\d+){6}/,
  "recipe.ts": /^the loss falls fastest at a learning rate of \d\.\de-\d\n(epoch \d: loss \d\.\d+, learning rate \d\.\de-\d+\n?){4}$/,
  "resnext.ts": /^4,32,96,96\n[^]*16 groups: 1,327,104 multiply-adds\n[^]*1,697,546[^]*(loss \d\.\d{3}, .*\n?){5}/,
  "save-load.ts": /^2,2 \d/,
  "train.ts": /stem[^]*epoch 2: validation accuracy 0\.\d+[^]*accuracy of a batch: \d/,
};

/** Files that some of them take. */
const given: Record<string, readonly string[]> = {
  "fine-tune.ts": ["."],
  "pictures.ts": ["pictures", "pictures.safetensors"],
  "pretrained.ts": ["resnet18.pth"],
};

test("no short example is forgotten", async () => {
  const files = await readdir(join(root, "examples"));
  // The server has a test of its own.
  expect(files.filter((file) => file.endsWith(".ts")).toSorted()).toEqual([...Object.keys(shown), "prediction-server.ts"].toSorted());
});

test.each(Object.entries(shown))("%s runs", async (name, output) => {
  const log = vi.spyOn(console, "log").mockReturnValue();
  process.argv.splice(2, Infinity, ...(given[name] ?? []).map((word) => join(folder, word)));
  await import(join(root, "examples", name));
  expect(log.mock.calls.map((values) => values.join(" ")).join("\n")).toMatch(output);
  log.mockRestore();
});

/** A request's answer; a body that is given in parts stays without an end. */
async function ask(url: string, method: string, body: Buffer | string = "", headers: Record<string, string> = {}, ends = true) {
  const asking = request(url, { method, headers });
  asking.write(body);
  if (ends) asking.end();
  const [response] = (await once(asking, "response")) as [NodeJS.ReadableStream & { statusCode: number }];
  const answer = { status: response.statusCode, body: JSON.parse(await text(response)) as unknown };
  asking.destroy();
  return answer;
}

test.skipIf(process.platform === "win32")("the prediction server tells classes, refuses what is no picture or too large, and ends on SIGTERM", async () => {
  using model = new CifarResNet({ depth: 20, inChannels: 3, numClasses: 2 });
  const [transforming, classNames] = [{ size: [16, 16], fit: "pad", channels: 3, background: [0, 0, 0] } as const, ["day", "night"]];
  await model.setInterface({ transform: transforming, classNames });
  await model.save(join(folder, "served.safetensors"));
  const { code } = await transform(await readFile(join(root, "examples/prediction-server.ts"), "utf8"), { loader: "ts", format: "esm" });
  // The package finds itself by its name from files inside it.
  await mkdir(join(root, "out"), { recursive: true });
  const file = join(root, "out/prediction-server.mjs");
  await writeFile(file, code);
  const server = start(file, join(folder, "served.safetensors"), "0");
  const errors = text(server.stderr!);
  const [url] = /http:\/\/localhost:\d+/.exec(await until(server, /\n/))!;

  const picture = png(30, 20, (x, y) => [x, y, 200]);
  const expected = { status: 200, body: await model.classify(picture, { top: 3 }) };
  expect(expected.body.map(({ name }) => name).toSorted()).toEqual(classNames);
  expect(await Promise.all([1, 2, 3].map(async () => ask(url, "POST", picture)))).toEqual([expected, expected, expected]);
  for (const body of ["", "no picture", picture.subarray(0, 80)]) {
    expect(await ask(url, "POST", body)).toEqual({ status: 400, body: { error: expect.stringContaining("expected") } });
  }
  expect(await ask(url, "GET")).toMatchObject({ status: 405 });
  const large = { status: 413, body: { error: "a picture has at most 16777216 bytes" } };
  expect(await ask(url, "POST", "few", { "content-length": "16777217" }, false)).toEqual(large);
  expect(await ask(url, "POST", Buffer.alloc(2 ** 24 + 1), {}, false)).toEqual(large);
  expect(await ask(url, "POST", picture)).toEqual(expected);

  // A request that has begun is answered, and what comes later is not taken.
  const late = request(url, { method: "POST" });
  late.write(picture.subarray(0, 50));
  await once(late, "socket");
  const answered = once(late, "response");
  await ask(url, "POST", picture);
  server.kill("SIGTERM");
  const exit = once(server, "exit");
  await expect.poll(async () => ask(url, "GET").then(() => "taken", ({ code }: { code: string }) => code)).toBe("ECONNREFUSED");
  late.end(picture.subarray(50));
  const [response] = (await answered) as [IncomingMessage];
  // A connection that is kept would keep the server for seconds.
  expect(response.headers.connection).toBe("close");
  expect([response.statusCode, JSON.parse(await text(response))]).toEqual([200, expected.body]);
  expect([await exit, await errors]).toEqual([[0, null], ""]);
});
