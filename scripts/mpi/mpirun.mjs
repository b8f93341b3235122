// What tests, scripts and benchmarks start processes of MPI by: the mpirun that $RESNET_NATIVE_MPIRUN names, of the MPI that the addon was built for.

/** Whether one is named. */
export const isMpirunNamed = Boolean(process.env.RESNET_NATIVE_MPIRUN);
/** The one that is named, or else the one on the path. */
export const mpirun = process.env.RESNET_NATIVE_MPIRUN || "mpirun";
/** What it wants in the environment: Open MPI refuses root, and more processes than cores, unless it is told; MPICH knows none of these variables. */
export const allowed = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", OMPI_MCA_rmaps_base_oversubscribe: "1" };
