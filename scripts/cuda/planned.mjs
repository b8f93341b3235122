// Whether tests have had cuDNN plan convolutions: one that no filter fits would not have failed.

/** The test of each crate. */
const TESTS = { "resnet-ops": "every_convolution_has_plans", "resnet-core": "every_convolution_of_every_network_has_plans" };

/** The crates of whose test cargo's output does not say that it passed. */
export function unplanned(output) {
  const passed = (test) => new RegExp(`^test (\\w+::)*${test} \\.\\.\\. ok$`, "m").test(output);
  return Object.keys(TESTS).filter((crate) => !passed(TESTS[crate]));
}
