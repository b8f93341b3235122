// npm run test:mpi: runs that processes of MPI share, under each MPI of Debian's that is installed (openmpi-bin with libopenmpi-dev, mpich with
// libmpich-dev; both want libclang-dev to be built against), the addon built for one after the other. With --optional, where there is none, nothing is
// tested. native/mpi has that of the last one then. Faults are made once each, with --faults 20 so often, with --seed 7 by the seed that a run has printed.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";
import { setUp } from "./setup.mjs";
import { finish, rustHost, step } from "./steps.mjs";

const MPIS = ["openmpi", "mpich"];
const { values } = parseArgs({ options: { optional: { type: "boolean" }, faults: { type: "string", default: "1" }, seed: { type: "string" } } });
for (const name of ["faults", "seed"]) {
  if (!/^\d+$/.test(values[name] ?? "0")) throw new Error(`--${name}: expected an integer, got ${values[name]}`);
}
const isThere = (program) => process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));

const found = MPIS.filter((mpi) => isThere(`mpicc.${mpi}`) && isThere(`mpirun.${mpi}`));
if (found.length === 0) {
  console.log(`There is neither of ${MPIS.join(" and ")}: apt-get install openmpi-bin libopenmpi-dev mpich libmpich-dev libclang-dev`);
  process.exit(values.optional ? 0 : 1);
}
await setUp();
// Where napi has cargo build.
const host = rustHost();
for (const mpi of found) {
  // It is asked for its compiler once, when its bindings are made.
  await step(`bindings of ${mpi}`, `cargo clean --release --target ${host} --package mpi-sys`);
  await step(`addon for ${mpi}`, "npm run --silent build:mpi", { MPICC: `mpicc.${mpi}` });
  const environment = { RESNET_NATIVE_MPIRUN: `mpirun.${mpi}` };
  await step(`ranks of ${mpi}`, "npx vitest run mpi", environment);
  await step(`faults under ${mpi}`, `node scripts/mpi/faults.mjs ${[values.faults, values.seed].filter(Boolean).join(" ")}`, environment);
}
finish();
