// npm run demo [-- --full]: builds, then runs examples/fashion-mnist.mjs.

import { setUp } from "./setup.mjs";

await setUp();
console.log();
await import("../examples/fashion-mnist.mjs");
