import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { FitEvent } from "../events.js";
import type { History } from "../history.js";
import type { Missing } from "../report/findings.js";
import { policyOf } from "../report/page.js";
import { Feed } from "./feed.js";
import { Guard } from "./guard.js";
import { confusionMarkup, dashboardPage, samplesMarkup } from "./page.js";
import type { Controls, End, Facts } from "./watched-run.js";
import { SCRIPT } from "./script.js";
import { EventStream } from "./stream.js";
import { STYLE } from "./style.js";

/** Pages that are told at a time. */
const MOST_READERS = 64;
/** Milliseconds between two signs of life. */
const BEAT = 15_000;
/** Milliseconds for which samples are shown, at least. */
const SAMPLES_FOR = 10_000;
/** Milliseconds that pages have for the last news. */
const PARTING = 1000;

/** Where it is served. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Serves the page of a run; rejects with the system's error if it cannot listen there. */
export async function serve({ host, port }: Place, facts: Facts, controls: Controls): Promise<Dashboard> {
  const server = createServer({ maxHeaderSize: 8192, requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 5000 });
  server.maxConnections = 2 * MOST_READERS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve());
  });
  return new Dashboard(server, host, facts, controls);
}

/** A run's page on a server of its own, which holds no process back. */
export class Dashboard {
  /** Where the page is, with the token. */
  readonly url: string;
  readonly #server: Server;
  readonly #facts: Facts;
  readonly #controls: Controls;
  readonly #guard: Guard;
  readonly #feed: Feed;
  readonly #page: string;
  readonly #policy: string;
  readonly #beat: NodeJS.Timeout;
  readonly #streams = new Set<EventStream>();
  #samples: { readonly epoch: number; readonly at: number; readonly markup: Promise<string> } | undefined;

  constructor(server: Server, host: string, facts: Facts, controls: Controls) {
    const { epochs, mayEndEarly } = facts;
    const { address, port } = server.address() as AddressInfo;
    [this.#server, this.#facts, this.#controls] = [server, facts, controls];
    this.#guard = new Guard(address, host);
    this.#feed = new Feed({ epochs, mayEndEarly });
    this.#page = dashboardPage(facts, controls.confusion !== undefined);
    this.#policy = policyOf(STYLE, SCRIPT, "; connect-src 'self'; frame-ancestors 'none'");
    // An address that means every one of the machine's is none to go to.
    const shown = address === "0.0.0.0" || address === "::" ? "localhost" : address;
    this.url = `http://${shown.includes(":") ? `[${shown}]` : shown}:${port}/${this.#guard.token}/`;
    this.#beat = setInterval(() => {
      for (const stream of this.#streams) stream.beat();
    }, BEAT).unref();
    server.on("connection", (socket) => socket.unref());
    server.on("request", (request, response) => this.#answer(request, response));
    // What goes wrong later, such as too many open files, is the pages' loss and not the run's.
    server.on("error", () => {});
    server.unref();
  }

  /** Tells pages of an event; resolves when the run may go on. */
  async tell(event: FitEvent, history: History): Promise<void> {
    this.#feed.tell(event, history);
    const { confusion } = this.#feed.state;
    if (event.type !== "evaluation" || !confusion.wanted || this.#feed.readers === 0) return;
    const began = performance.now();
    try {
      const evaluation = await this.#controls.confusion!();
      confusion.seconds = (performance.now() - began) / 1000;
      this.#feed.matrix = { epoch: event.epoch, markup: await confusionMarkup(evaluation, this.#facts.labelKind, event) };
    } catch {
      // Whatever it is, the run will tell: that nothing is shown is all that concerns a page.
      confusion.wanted = false;
      this.#feed.changed();
    }
  }

  /** Tells pages whether the run is paused. */
  paused(paused: boolean): void {
    this.#feed.state.paused = paused;
    this.#feed.changed();
  }

  /** Tells pages the end, and leaves. */
  close(end: End): void {
    clearInterval(this.#beat);
    this.#feed.end(end);
    this.#server.close();
    for (const stream of this.#streams) stream.end();
    this.#server.closeIdleConnections();
    setTimeout(() => this.#server.closeAllConnections(), PARTING).unref();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    // Of a page that has gone.
    response.on("error", () => {});
    const { status, reason, headers } = this.#guard.refusal(request) ?? this.#route(request, response) ?? { status: 0, reason: "" };
    if (status === 0) return;
    // What may still be coming is not read.
    response.writeHead(status, { ...this.#headers("text/plain"), ...headers, connection: "close" }).end(`${reason}\n`);
  }

  /** Answers, or says what is wrong. */
  #route({ method, url = "" }: IncomingMessage, response: ServerResponse): { status: number; reason: string; headers?: Record<string, string> } | undefined {
    const path = url.split("?", 1)[0]!.split("/").slice(2).join("/");
    const readers: Readonly<Record<string, () => void>> = {
      events: () => this.#stream(response),
      state: () => this.#reply(response, "application/json", this.#feed.snapshot()),
      samples: () => void this.#samplesNow().then((markup) => this.#reply(response, "text/html", markup)),
    };
    const { pause, stop } = this.#controls;
    const wanted = (wanted: boolean) => {
      this.#feed.state.confusion.wanted = wanted && this.#controls.confusion !== undefined;
      this.#feed.changed();
    };
    const commands: Readonly<Record<string, () => void>> = {
      pause: () => pause(true),
      resume: () => pause(false),
      stop: () => {
        this.#stopping(true);
        // Whoever decides may let it go on.
        void stop().then((ends) => ends || this.#stopping(false));
      },
      "confusion/on": () => wanted(true),
      "confusion/off": () => wanted(false),
    };
    if (path === "") {
      // Without the slash at its end its own addresses would have no token.
      if (!/^\/[^/?]*\//.test(url)) return { status: 308, reason: "It is a folder.", headers: { location: `/${this.#guard.token}/` } };
      if (method !== "GET") return { status: 405, reason: "GET is understood.", headers: { allow: "GET" } };
      this.#reply(response, "text/html", this.#page);
    } else if (Object.hasOwn(readers, path)) {
      if (method !== "GET") return { status: 405, reason: "GET is understood.", headers: { allow: "GET" } };
      if (path === "events" && this.#streams.size >= MOST_READERS) return { status: 503, reason: `${MOST_READERS} pages are told already.` };
      readers[path]!();
    } else if (Object.hasOwn(commands, path)) {
      if (method !== "POST") return { status: 405, reason: "POST is understood.", headers: { allow: "POST" } };
      if (this.#feed.state.end !== undefined) return { status: 409, reason: "The run has ended." };
      commands[path]!();
      response.writeHead(204, this.#headers("text/plain")).end();
    } else {
      return { status: 404, reason: "There is nothing here." };
    }
    return undefined;
  }

  #stopping(stopping: boolean): void {
    this.#feed.state.stopping = stopping;
    this.#feed.changed();
  }

  /** Tells a page of the run until it goes or reads no more. */
  #stream(response: ServerResponse): void {
    response.writeHead(200, { ...this.#headers("text/event-stream"), connection: "keep-alive" });
    const stream = new EventStream(response, () => this.#feed.snapshot());
    const leave = this.#feed.read((message) => stream.send(message));
    this.#streams.add(stream);
    response.on("close", () => {
      leave();
      this.#streams.delete(stream);
    });
  }

  /** Samples of the epoch, or of the one before if those are hardly older. */
  async #samplesNow(): Promise<string> {
    const epoch = Math.max(1, this.#feed.state.epoch);
    const last = this.#samples;
    if (last !== undefined && (last.epoch === epoch || performance.now() - last.at < SAMPLES_FOR)) return last.markup;
    const found = this.#controls.samples(epoch).catch((error: Error): Missing => {
      // The next page that asks may have more luck.
      this.#samples = undefined;
      return { missing: `They cannot be had: ${error.message}` };
    });
    const markup = found.then((samples) => samplesMarkup(samples, epoch));
    this.#samples = { epoch, at: performance.now(), markup };
    return markup;
  }

  #reply(response: ServerResponse, type: string, text: string): void {
    response.writeHead(200, this.#headers(type)).end(text);
  }

  #headers(type: string): Record<string, string> {
    return {
      "content-type": `${type}; charset=utf-8`,
      "content-security-policy": this.#policy,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
    };
  }
}
