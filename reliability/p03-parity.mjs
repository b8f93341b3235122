// P3. Outputs, gradients and trainings are PyTorch's, by its numbers in the fixtures; how near stands in the tests, which `npm test` runs too.

import { promise } from "./harness.mjs";
import { missingRust, rustTests } from "./rust.mjs";

export default promise("P3", "Outputs, gradients and steps of training are PyTorch's", [
  {
    name: "networks against PyTorch",
    alone: true,
    missing: missingRust,
    trials: { tenth: 0, usual: 1, full: 1 },
    run: (trial) => rustTests(trial, ["--test", "networks"], trial.size === "full" ? ["parity::", "optimizers::"] : ["d2l_", "optimizers::"]),
  },
]);
