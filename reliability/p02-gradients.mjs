// P2. Gradients are those of finite differences: of each op on twenty shapes or more, relative error 1e-6 in f64 and 1e-4 of f32 against f64; of blocks and
// networks in random directions. The figures stand in the tests, which `npm test` runs too.

import { promise } from "./harness.mjs";
import { missingRust, rustTests } from "./rust.mjs";

export default promise("P2", "Gradients of every op and of whole networks are those of finite differences", [
  {
    name: "finite differences of ops",
    alone: true,
    missing: missingRust,
    trials: { tenth: 0, usual: 1, full: 1 },
    run: (trial) => rustTests(trial, ["--test", "ops"], ["gradients::"]),
  },
  {
    name: "finite differences of networks",
    alone: true,
    missing: missingRust,
    trials: { tenth: 0, usual: 1, full: 1 },
    run: (trial) => rustTests(trial, ["--lib"], ["engine::"]),
  },
]);
