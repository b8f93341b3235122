import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";

/** Bytes that a request may bring: none is needed. */
const MOST_BYTES = 64;

/** Why a request is refused. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Decides who may ask: whoever has the token, from a page of this very server and by a name that nobody else can have pointed here. */
export class Guard {
  /** The first part of every path. */
  readonly token: string = randomBytes(24).toString("base64url");
  readonly #digest = digest(this.token);
  readonly #names: ReadonlySet<string>;
  readonly #isLocal: boolean;

  /** For a server that listens at an address, because it was told a host. */
  constructor(address: string, host: string) {
    this.#isLocal = isLoopback(address);
    this.#names = new Set(["localhost", address, host, ...(this.#isLocal ? [] : [hostname()])].map((name) => name.toLowerCase()));
  }

  /** Why a request is refused, if it is. */
  refusal({ headers, url = "/", method = "" }: IncomingMessage): Refusal | undefined {
    if (!this.#isOurs(headers.host)) return { status: 421, reason: "This is not the host's name: take the address that the training told, or a number in its place." };
    if (method !== "GET" && method !== "POST") return { status: 405, reason: "GET and POST are understood.", headers: { allow: "GET, POST" } };
    if (!timingSafeEqual(digest(url.split(/[/?]/, 2)[1] ?? ""), this.#digest)) return { status: 403, reason: "The token is missing or wrong: take the whole address that the training told." };
    if (isForeign(headers)) return { status: 403, reason: "Another site's page asks for this." };
    if (headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > MOST_BYTES) return { status: 413, reason: "Nothing is to be sent here." };
    return undefined;
  }

  /** Whether a Host header has one of our names, with any port, as a tunnel has another. What is a number nobody's name server has told. */
  #isOurs(host = ""): boolean {
    const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host) ?? [];
    const name = (bracketed ?? plain ?? "").toLowerCase();
    return this.#names.has(name) || (this.#isLocal ? isLoopback(name) : isIP(name) > 0);
  }
}

/** Whether a page of another site asks; a link that is followed from there shows that site nothing. */
function isForeign({ origin, host, "sec-fetch-site": site, "sec-fetch-mode": mode }: IncomingHttpHeaders): boolean {
  if (origin !== undefined && origin.toLowerCase() !== `http://${host?.toLowerCase()}`) return true;
  return mode !== "navigate" && (site === "cross-site" || site === "same-site");
}

/** Whether an address is that of this machine alone. */
export function isLoopback(address: string): boolean {
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

/** Of equal length, whatever was given. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
