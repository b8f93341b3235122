// P3. Outputs, gradients and trainings are PyTorch's, by its numbers in the fixtures; how near stands in the tests.

import { promise } from "./harness.mjs";
import { missingRust, rustTests } from "./rust.mjs";

export default promise("P3", "Outputs, gradients and steps of training are PyTorch's", [
  {
    name: "networks against PyTorch",
    alone: true,
    missing: missingRust,
    trials: { tenth: 1, usual: 1, full: 1 },
    run: (trial) => rustTests(trial, ["--test", "networks"], { tenth: ["d2l_resnet18"], usual: ["d2l_", "optimizers::"], full: ["parity::", "optimizers::"] }[trial.size]),
  },
]);
