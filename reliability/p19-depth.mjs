// P19. Depth overflows no stack: networks are built, trained, saved and loaded, or refused by an error.

import { hold, promise } from "./harness.mjs";

/** How deep each is tried; the first depth of networks works. */
const DEPTHS = {
  "layers in a row": [200, 1202, 8000],
  "residual within residual": [14, 40, 1000],
  "sequential within sequential": [28, 40, 1000],
  "a network of residual blocks": [200, 1202],
  "a description that nests": [200, 20_000, 1_000_000],
  "a header that nests": [200, 20_000, 1_000_000],
  "lists that nest": [200, 20_000, 1_000_000],
};
export default promise("P19", "Networks of any depth and files that nest are used or refused by a typed error; 200 layers, and 14 within each other, are used", [
  {
    name: "depth",
    trials: Object.entries(DEPTHS).flatMap(([what, depths]) => depths.map((depth) => ({ what, depth }))),
    async run(trial) {
      const { what, depth } = trial.item;
      if (trial.size === "tenth" && depth !== DEPTHS[what][0] && !what.endsWith("nests")) return trial.skip();
      const { result } = await trial.run("deep", { ...trial.item, folder: await trial.folder() }, { timeout: 600_000 });
      const isNetwork = /row|within|network/.test(what);
      hold(!isNetwork || depth !== DEPTHS[what][0] || result.end === "done", `${what}, ${depth} deep: ${JSON.stringify(result)}`);
      if (result.end === "done") trial.figure("deepest", depth, "layers");
    },
  },
]);
