// Tells what is on pictures, over HTTP: prediction-server.ts MODEL [PORT], then curl --data-binary @photo.jpg localhost:8080
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { loadModel, ResNetError } from "resnet-native";

const [file = "pictures.safetensors", port = "8080"] = process.argv.slice(2);
/** Bytes of a picture, at most. */
const MOST = 16 * 2 ** 20;
const model = await loadModel(file);

const server = createServer((request, response) => void handle(request, response));
server.listen(Number(port), () => console.log(`http://localhost:${(server.address() as AddressInfo).port}`));
// What is being answered still is; then nothing keeps the process.
process.once("SIGTERM", () => server.close(() => model.dispose()));

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const answer = (status: number, body: object, headers = {}) => {
    // A connection that is kept would keep a server that closes.
    const closing = server.listening ? {} : { connection: "close" };
    response.writeHead(status, { "content-type": "application/json", ...closing, ...headers }).end(`${JSON.stringify(body)}\n`);
  };
  try {
    if (request.method !== "POST") return answer(405, { error: "POST a picture: JPEG, PNG or WebP" }, { allow: "POST" });
    const picture = await bodyOf(request);
    // The rest of it is not read.
    if (picture === undefined) return answer(413, { error: `a picture has at most ${MOST} bytes` }, { connection: "close" });
    // Pictures that come at once are computed one after the other, on threads that leave this one free.
    answer(200, await model.classify(picture, { top: 3 }));
  } catch (error) {
    // Whoever asked has gone.
    if (request.destroyed && !request.complete) return;
    if (error instanceof ResNetError && error.code === "ERR_DATA_CORRUPT") return answer(400, { error: error.message });
    console.error(error);
    answer(500, { error: "this picture could not be classified" });
  }
}

/** A request's bytes; nothing if they are too many. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > MOST) return undefined;
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MOST) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
