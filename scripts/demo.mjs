// npm run demo [-- --full]: builds, then runs examples/fashion-mnist.mjs.

import { setUp } from "./setup.mjs";

await setUp();
console.log();
try {
  await import("../examples/fashion-mnist.mjs");
} catch (error) {
  if (error.name !== "ResNetError") throw error;
  // It says what to do; where in the code it happened helps nobody here.
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
