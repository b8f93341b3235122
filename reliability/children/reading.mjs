// What a reader finds in folders, and whether the next write there works and leaves nothing else.

import { given, tell } from "./given.mjs";
import { leftAfterNext, writers } from "./writers.mjs";

const { kind, folders, writesAgain = false } = given;
const { read } = writers[kind];
for (const folder of folders) {
  const found = await Promise.resolve().then(() => read(folder)).then((value) => ({ value }), (error) => ({ error: `${error.code}: ${error.message}` }));
  if (writesAgain) found.left = await leftAfterNext(writers[kind], folder, 0);
  tell(found);
}
