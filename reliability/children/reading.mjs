// What a reader finds in folders, and whether the next write there works and leaves nothing else.

import { given, numbered, tell } from "./given.mjs";
import { leftAfterNext, writers } from "./writers.mjs";

const { kind, folder, folders, writesAgain = false } = given;
const { read } = writers[kind];
for (const one of folders ? numbered(folders) : [folder]) {
  const found = await Promise.resolve().then(() => read(one)).then((value) => ({ value }), (error) => ({ error: `${error.code}: ${error.message}` }));
  if (writesAgain) found.left = await leftAfterNext(writers[kind], one, 0);
  tell(found);
}
