// A run with checkpoints in a folder, from the newest there is if there is one; says what is written and the digest of the weights in the end. Of several
// folders one after the other, each to its end.

import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adam, cosine, fit, flip } from "resnet-native";
import { Control } from "./control.mjs";
import { given, numbered, tell } from "./given.mjs";
import { digest, spots, tinyModel } from "./subjects.mjs";

const { folder, folders, epochs, kill, acknowledges, everySteps = 2 } = given;
const data = spots(32);

for (const one of folders ? numbered(folders) : [folder]) {
  const found = await train(one).catch((error) => ({ error: `${error.code}: ${error.message}` }));
  tell(found);
  if (found.error && !folders) process.exitCode = 1;
}

async function train(folder) {
  const there = existsSync(folder) && readdirSync(folder).some((name) => name.startsWith("step-"));
  const model = tinyModel();
  let resumed;
  if (kill) new Control(kill.control).set(kill);
  await fit(model, data, {
    epochs,
    batchSize: 4,
    seed: 5,
    optimizer: adam(),
    schedule: cosine(),
    augment: [flip()],
    ema: 0.9,
    checkpoint: { dir: folder, everySteps },
    ...(there && { resume: folder }),
    onEvent: (event) => {
      if (event.type === "resume") resumed = event.path;
      if (event.type !== "checkpoint" && event.type !== "resume") return;
      tell(event);
      if (acknowledges) writeFileSync(join(folder, "acknowledged"), `${JSON.stringify(event)}\n`, { flag: "a" });
    },
  });
  const found = { digest: await digest(model), resumed };
  model.dispose();
  return found;
}
