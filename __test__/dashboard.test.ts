import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type EpochRow, evaluate, fit, type FitEvent, type FitOptions, type FitRun, flip, fromArrays, globalAvgPool2d, History, linear, sequential } from "resnet-native";
import { expect, onTestFinished, test, vi } from "vitest";
import { Curve } from "../ts/dashboard/curve.js";
import { Guard } from "../ts/dashboard/guard.js";
import type { Controls, Facts } from "../ts/dashboard/watched-run.js";
import { serve } from "../ts/dashboard/server.js";
import { EventStream } from "../ts/dashboard/stream.js";
import { any, collect, digest, pictures, rejection } from "./pictures.js";
import { until } from "./program.js";

const network = () => sequential([globalAvgPool2d(), linear(4)]);
const data = { train: pictures(40), validation: pictures(12) };

/** What a page is told. */
interface Message {
  readonly kind: "snapshot" | "news";
  readonly number: number;
  readonly state: { readonly epoch: number; readonly paused: boolean; readonly stopping: boolean; readonly memory: number; readonly confusion: object; readonly end?: { status: string; message?: string } };
  readonly points: number[][];
  readonly rows: EpochRow[];
  readonly measured: number[][];
  readonly matrix?: { readonly epoch: number; readonly markup: string };
}

/** A run that is held before an epoch until it is let go, and its page's address. */
async function held(options: FitOptions = {}, before = 3) {
  let go!: () => void;
  const gone = new Promise<void>((resolve) => (go = resolve));
  let reach!: () => void;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const model = network();
  const onEpochBegin = async ({ epoch }: { epoch: number }) => {
    if (epoch !== before) return;
    reach();
    await gone;
  };
  const run = fit(model, data, { epochs: 4, batchSize: 8, dashboard: true, onEpochBegin, ...options });
  const url = await run.dashboard;
  if (url === undefined) throw (await rejection(run)) as Error;
  await reached;
  return { model, run, url, go };
}

/** What a page gets, until it is told the end. */
async function* messages(url: string): AsyncGenerator<Message> {
  const { body, headers } = await fetch(`${url}events`);
  expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  let text = "";
  for await (const chunk of body!.pipeThrough(new TextDecoderStream() as never) as unknown as AsyncIterable<string>) {
    text += chunk;
    if (!chunk.includes("\n")) continue;
    const parts = text.split("\n\n");
    text = parts.pop()!;
    for (const part of parts) if (part.startsWith("data: ")) yield JSON.parse(part.slice(6)) as Message;
  }
}

/** What is answered to a request that says what it likes. */
async function answer(url: string, { method = "GET", headers = {}, path, body = "" }: { method?: string; headers?: Record<string, string>; path?: string; body?: string } = {}): Promise<number> {
  const { hostname, port, pathname } = new URL(url);
  const asked = request({ host: hostname, port, path: path ?? pathname, method, headers });
  asked.end(body);
  const [response] = await once(asked, "response");
  response.resume();
  return response.statusCode;
}

test("a page that comes late gets all that was, then the news, and the end; its numbers are the history's", async () => {
  const { run, url, go } = await held({ validateEvery: { steps: 3 } });
  const told: Message[] = [];
  for await (const message of messages(url)) {
    if (told.push(message) === 1) go();
  }
  const { rows } = await run;
  const [first, ...news] = told;
  expect([first!.kind, first!.rows.length, first!.state.epoch]).toEqual(["snapshot", 2, 3]);
  expect(news.every(({ kind, number }, i) => kind === "news" && number === first!.number + 1 + i)).toBe(true);
  expect(told.flatMap((message) => message.rows)).toEqual(rows);
  const places = told.flatMap(({ points }) => points.map(([place]) => place!));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places.at(-1)).toBe(4);
  const measured = told.flatMap((message) => message.measured);
  expect(measured.map(([place]) => place)).toEqual([0.6, 1.2, 1.8, 2.4, 3, 3.6]);
  expect(measured[4]!.slice(1)).toEqual([rows[2]!.validationLoss, rows[2]!.validationAccuracy]);
  expect(told.at(-1)!.state.end).toEqual({ status: "finished" });
  expect(told.at(-1)!.state.memory).toBeGreaterThan(2 ** 20);
  await expect(fetch(url)).rejects.toThrow();
});

test("whoever has not the whole address, or asks from elsewhere, is refused, and harms nothing", async () => {
  const { run, url, go } = await held();
  const { pathname, port, host, origin } = new URL(url);
  expect(new URL(url).hostname).toBe("127.0.0.1");
  expect(pathname).toMatch(/^\/[\w-]{32}\/$/);
  const other = pathname.replace(/^\/./, (start) => (start === "/a" ? "/b" : "/a"));
  const at = (path: string) => `${pathname}${path}`;
  expect(await answer(url)).toBe(200);
  for (const path of ["/", other, "/favicon.ico", "//", `/?token=${pathname.slice(1, -1)}`, `/${"x".repeat(300)}/`, pathname.slice(0, -2)]) expect([path, await answer(url, { path })]).toEqual([path, 403]);
  for (const name of ["evil.example", `evil.example:${port}`, `127.0.0.1.evil.example:${port}`, "0.0.0.0", "10.0.0.1", "localhost.", `a@127.0.0.1:${port}`]) expect([name, await answer(url, { headers: { host: name } })]).toEqual([name, 421]);
  // By a tunnel the port is another.
  for (const name of ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:9", "[::1]:9"]) expect([name, await answer(url, { headers: { host: name } })]).toEqual([name, 200]);
  const post = (path: string, headers = {}, body = "") => answer(url, { method: "POST", path: at(path), headers, body });
  for (const stranger of ["http://evil.example", "null", `http://127.0.0.1:${Number(port) + 1}`, `https://${host}`]) {
    expect([stranger, await post("stop", { origin: stranger })]).toEqual([stranger, 403]);
    expect([stranger, await answer(url, { path: at("state"), headers: { origin: stranger } })]).toEqual([stranger, 403]);
  }
  expect(await post("stop", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).toBe(403);
  expect(await answer(url, { headers: { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" } })).toBe(200);
  for (const method of ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]) expect([method, await answer(url, { method })]).toEqual([method, 405]);
  expect([await answer(url, { path: at("stop") }), await answer(url, { path: at("confusion/on") }), await post(""), await post("state"), await post("events")]).toEqual([405, 405, 405, 405, 405]);
  expect([await post("stop", {}, "x".repeat(65)), await post("stop", { "transfer-encoding": "chunked" }), await post("constructor"), await post("nothing")]).toEqual([413, 413, 404, 404]);
  expect(await answer(url, { path: pathname.slice(0, -1) })).toBe(308);
  expect(run.paused).toBe(false);
  expect([await post("pause", { origin }), run.paused, await post("resume"), run.paused]).toEqual([204, true, 204, false]);
  go();
  expect((await run).rows.length).toBe(4);
});

test("the page is one that no other may frame, keep or add to", async () => {
  const { run, url, go } = await held({ dashboard: { title: `<script>alert("1")</script>` } });
  const page = await fetch(url);
  const text = await page.text();
  expect(text).not.toContain("<script>alert");
  expect(text).not.toMatch(/(src|href)="(?!#|data:)/);
  expect(text).toContain("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;");
  expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; img-src data:; style-src 'sha256-\S+'; script-src 'sha256-\S+'; base-uri 'none'; form-action 'none'; connect-src 'self'; frame-ancestors 'none'$/);
  for (const answered of [page, await fetch(`${url}state`), await fetch(new URL("/", url))]) {
    expect(["cache-control", "x-content-type-options", "referrer-policy", "access-control-allow-origin"].map((name) => answered.headers.get(name))).toEqual(["no-store", "nosniff", "no-referrer", null]);
  }
  go();
  await run;
});

test("a server for a network goes by numbers and its own names", () => {
  const guard = new Guard("0.0.0.0", "0.0.0.0");
  const refused = (host: string) => guard.refusal(any({ headers: { host }, method: "GET", url: `/${guard.token}/` }))?.status;
  expect(["192.168.1.7:80", "[fe80::1]:80", "localhost"].map(refused)).toEqual([undefined, undefined, undefined]);
  expect(["evil.example", "", "192.168.1.7.evil.example"].map(refused)).toEqual([421, 421, 421]);
});

test("pause and resume are seen on every page, and by the program", async () => {
  const { run, url, go } = await held();
  const pages = [messages(url), messages(url)];
  for (const page of pages) expect((await page.next()).value.state.paused).toBe(false);
  await fetch(`${url}pause`, { method: "POST" });
  for (const page of pages) expect((await page.next()).value.state.paused).toBe(true);
  expect(run.paused).toBe(true);
  run.resume();
  for (const page of pages) expect((await page.next()).value.state.paused).toBe(false);
  go();
  await run;
});

test("stop is an abort: it leaves a checkpoint, and ends a paused run too", async () => {
  const dir = mkdtempSync(join(tmpdir(), "resnet-native-dashboard-"));
  const { run, url, go } = await held({ checkpoint: { dir, everyEpochs: 100, onAbort: true } });
  const told: Message[] = [];
  run.pause();
  const listening = (async () => {
    for await (const message of messages(url)) told.push(message);
  })();
  await fetch(`${url}stop`, { method: "POST" });
  go();
  const error = await rejection(run);
  expect(error).toMatchObject({ name: "AbortError", message: "The run was stopped on its page" });
  expect((error as { history?: History }).history?.rows.length).toBe(2);
  expect(readdirSync(dir).filter((name) => name.startsWith("step-"))).toEqual([expect.stringMatching(/^step-0*10\.safetensors$/)]);
  await listening;
  expect(told.at(-1)!.state).toMatchObject({ end: { status: "stopped" }, paused: false });
});

test("onStop decides what the button does", async () => {
  const controller = new AbortController();
  const reason = new Error("all of it");
  const { run, url, go } = await held({ signal: controller.signal, dashboard: { onStop: () => controller.abort(reason) } });
  await fetch(`${url}stop`, { method: "POST" });
  go();
  expect(await rejection(run)).toBe(reason);
  // One that lets the run go on: pages hear of that, so that they can ask again.
  let decide!: () => void;
  const decided = new Promise<void>((resolve) => (decide = resolve));
  const ignored = await held({ dashboard: { onStop: () => decided } });
  const page = messages(ignored.url);
  await page.next();
  await fetch(`${ignored.url}stop`, { method: "POST" });
  expect((await page.next()).value.state.stopping).toBe(true);
  decide();
  expect((await page.next()).value.state.stopping).toBe(false);
  ignored.go();
  expect((await ignored.run).rows.length).toBe(4);
});

test("a failure is told, and pages that have gone disturb nothing", async () => {
  const { run, url, go } = await held({ onEpochEnd: ({ epoch }) => epoch === 3 && Promise.reject(new Error("<b>full</b>")) });
  const gone = new AbortController();
  await fetch(`${url}events`, { signal: gone.signal });
  const page = messages(url);
  await page.next();
  gone.abort();
  go();
  await rejection(run);
  let last: Message | undefined;
  for await (const message of page) last = message;
  expect(last!.state.end).toEqual({ status: "failed", message: "<b>full</b>" });
});

test("a confusion matrix is made while somebody looks who asked for it, and fits the history", async () => {
  const names = ["<i>a</i>", "b", "c", "d"];
  const { images, labels } = (await collect(data.validation, { batchSize: 12 }))[0]!;
  const validation = fromArrays({ images: Float32Array.from(images.data), shape: images.shape, labels, classNames: names });
  using model = network();
  let go!: () => void;
  const looked = new Promise<void>((resolve) => (go = resolve));
  const run = fit(model, { train: data.train, validation }, { epochs: 4, batchSize: 8, dashboard: true, ema: 0.5, onEpochBegin: async ({ epoch }) => epoch === 3 && looked });
  const url = (await run.dashboard)!;
  // Without a page that is open nothing is made of it.
  await fetch(`${url}confusion/on`, { method: "POST" });
  for await (const event of run) if (event.type === "epoch" && event.epoch === 2) break;
  expect(((await (await fetch(`${url}state`)).json()) as Message).matrix).toBeUndefined();
  const told: Message[] = [];
  for await (const message of messages(url)) if (told.push(message) === 1) go();
  const { rows } = await run;
  const matrices = told.flatMap(({ matrix }) => (matrix ? [matrix] : []));
  expect(matrices.at(-1)!.epoch).toBe(4);
  const { markup } = matrices.at(-1)!;
  expect(Number(/<data value="(.*?)">/.exec(markup)![1])).toBe(rows[3]!.validationAccuracy);
  const counts = [...markup.matchAll(/<td class="(right|wrong).*?>(?:<span.*?>)?(\d+)/g)].map(([, kind, count]) => [kind, Number(count)] as const);
  const sum = (kind?: string) => counts.filter(([one]) => kind === undefined || one === kind).reduce((all, [, count]) => all + count, 0);
  expect([counts.length, sum(), sum("right") / sum()]).toEqual([16, 12, rows[3]!.validationAccuracy]);
  expect(markup).toContain("<bdi>&lt;i&gt;a&lt;/i&gt;</bdi>");
  expect((await evaluate(model, validation)).accuracy).toBe(rows[3]!.validationAccuracy);
});

test("training images are the epoch's, and said to be augmented or not", async () => {
  const shown = async (options: FitOptions) => {
    const { run, url, go } = await held(options);
    const text = await (await fetch(`${url}samples`)).text();
    go();
    await run;
    return text;
  };
  const augmented = await shown({ augment: [flip()] });
  // The run's batches are of eight.
  expect(augmented.match(/<img/g)!.length).toBe(8);
  expect(augmented.match(/>augmented</g)!.length).toBe(8 + 1);
  expect(augmented).toContain("Training images as in epoch 3: <strong>augmented</strong>, changed at random by <code>flip</code>");
  const plain = await shown({});
  expect(plain).toContain("<strong>unchanged</strong>");
  expect(plain).not.toContain("augmented<");
});

test("a port in use and other wrong places end the run before it begins, with the fix", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  using model = network();
  const events: FitEvent[] = [];
  const listen = { onEvent: (event: FitEvent) => void events.push(event) };
  const tried = async (dashboard: unknown) => {
    const run = fit(model, data, { dashboard: any(dashboard), ...listen });
    expect(await run.dashboard).toBeUndefined();
    return rejection(run);
  };
  expect(await tried({ port })).toMatchObject({ code: "ERR_IO", message: `dashboard: expected a place to serve a page, got 127.0.0.1, port ${port}, which another program has; without a port a free one is taken` });
  expect(await tried({ host: "203.0.113.1" })).toMatchObject({ code: "ERR_IO", message: expect.stringContaining("203.0.113.1, port 0, which is no address of this machine") });
  const wrong: [unknown, RegExp][] = [
    [1, /dashboard: expected a boolean or an object/],
    [{ port: 65_536 }, /dashboard.port: expected an integer from 0 to 65535/],
    [{ port: "80" }, /dashboard.port/],
    [{ host: "" }, /dashboard.host: expected the name or address of a host/],
    [{ onStop: 1 }, /dashboard.onStop: expected a function/],
    [{ prot: 1 }, /dashboard: expected options named port, host, title, onStop, got prot/],
  ];
  for (const [dashboard, message] of wrong) expect(await tried(dashboard)).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message });
  expect(events).toEqual([]);
  expect(await rejection(model.stateDict())).toMatchObject({ code: "ERR_NOT_BUILT" });
  taken.close();
  await once(taken, "close");
  // The place is free again as soon as a run has ended.
  for (const _ of [1, 2]) expect(await fit(model, data, { dashboard: { port } }).then(({ rows }) => rows.length)).toBe(1);
});

test("a run without a page has no address, and one with a page trains to the same bits", async () => {
  using plain = network();
  const run = fit(plain, data, { epochs: 2 });
  expect(await run.dashboard).toBeUndefined();
  await run;
  using watched = network();
  const second = fit(watched, data, { epochs: 2, dashboard: true });
  for await (const message of messages((await second.dashboard)!)) void message;
  await second;
  expect(await digest(watched)).toBe(await digest(plain));
});

test("a signal that is raised while the page is opened ends the run, and a pause holds it", async () => {
  using model = network();
  const controller = new AbortController();
  const aborted = fit(model, data, { dashboard: true, signal: controller.signal });
  controller.abort();
  expect(await rejection(aborted)).toBe(controller.signal.reason);
  const paused: FitRun = fit(model, data, { dashboard: true });
  paused.pause();
  const url = (await paused.dashboard)!;
  const page = messages(url);
  expect((await page.next()).value.state).toMatchObject({ paused: true });
  await fetch(`${url}resume`, { method: "POST" });
  expect((await paused).rows.length).toBe(1);
});

const place = { host: "127.0.0.1", port: 0 };
const facts: Facts = { title: "t", train: 1, epochs: 9, batchSize: 1, generator: "g", labelKind: "single", mayEndEarly: false };
const controls: Controls = { pause: () => {}, stop: async () => true, samples: async () => ({ missing: "None." }), confusion: undefined };

test("a page that reads nothing is dropped, and others are served", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  const dashboard = await serve(place, facts, controls);
  const { hostname, port, pathname } = new URL(dashboard.url);
  const stuck = connect({ host: hostname, port: Number(port) });
  stuck.on("error", () => {});
  stuck.write(`GET ${pathname}events HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  const reading = messages(dashboard.url);
  await reading.next();
  const history = new History();
  // Long enough to fill what the system keeps for a connection.
  const row = { epoch: 1, loss: 1, accuracy: 1, lr: 1, seconds: 1, note: "x".repeat(4e6) };
  for (let i = 1; i <= 4; i++) {
    history.rows.push(row);
    await dashboard.tell({ type: "epoch", ...row }, history);
    for (let read = 0; read < 1;) read = (await reading.next()).value.rows.length;
  }
  // Several signs of life.
  vi.advanceTimersByTime(75_000);
  stuck.resume();
  await once(stuck, "close");
  dashboard.close({ status: "finished" });
  let last: Message | undefined;
  for await (const message of reading) last = message;
  expect(last!.state.end).toEqual({ status: "finished" });
});

test("of a page that reads slowly nothing piles up: it gets all anew, or is dropped", () => {
  const written: string[] = [];
  let drain = () => {};
  const response = { writableLength: 0, destroyed: false, write: (text: string) => written.push(text), once: (_: string, call: () => void) => (drain = call), destroy: () => (response.destroyed = true) };
  const stream = new EventStream(any(response), () => "all");
  stream.send("1");
  response.writableLength = 2 ** 18 + 1;
  for (const message of ["2", "3"]) stream.send(message);
  stream.beat();
  [response.writableLength] = [0];
  drain();
  stream.send("4");
  stream.beat();
  expect(written).toEqual(["retry: 2000\n\n", "data: 1\n\n", "data: all\n\n", "data: 4\n\n", ": still there\n\n"]);
  response.writableLength = 2 ** 18 + 1;
  stream.send("5");
  for (let i = 0; i < 4; i++) stream.beat();
  expect(response.destroyed).toBe(false);
  stream.beat();
  expect(response.destroyed).toBe(true);
  drain();
  expect(written.length).toBe(5);
});

test("the curve of a long run is bounded, and its means are those of the steps", () => {
  const curve = new Curve();
  const made = Array.from({ length: 100_000 }, (_, i) => curve.add([i, 1, i % 2, 0, 0]));
  expect(made.filter((one) => one === "all").length).toBe(7);
  expect(curve.points.length).toBeLessThan(1500);
  expect(curve.points.length).toBeGreaterThan(700);
  const [first, second] = curve.points;
  expect(first).toEqual([63.5, 1, 0.5, 0, 0]);
  expect(second![0] - first![0]).toBe(128);
  // A run of few steps has each of them.
  const short = new Curve();
  for (const place of [0.25, 0.5]) expect(short.add([place, 2, 1, 0.1, 9])).toBe("point");
  expect(short.points).toEqual([[0.25, 2, 1, 0.1, 9], [0.5, 2, 1, 0.1, 9]]);
});

test("a process ends by itself, whoever still looks, and has told them the end", async () => {
  const child = spawn(process.execPath, [fileURLToPath(new URL("children/dashboard.mjs", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] });
  const url = (await until(child, /\n/)).trim();
  const { hostname, port, pathname } = new URL(url);
  const idle = connect({ host: hostname, port: Number(port) });
  const stuck = connect({ host: hostname, port: Number(port) });
  for (const socket of [idle, stuck]) socket.on("error", () => {});
  stuck.write(`GET ${pathname}events HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  const page = messages(url);
  await page.next();
  const ended = once(child, "exit");
  child.stdin.end("go\n");
  let last: Message | undefined;
  for await (const message of page) last = message;
  expect(last!.state.end).toEqual({ status: "finished" });
  expect(await ended).toEqual([0, null]);
  for (const socket of [idle, stuck]) socket.destroy();
});
