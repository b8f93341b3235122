import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { allowed, isMpirunNamed, mpirun } from "../scripts/mpi/mpirun.mjs";
import { placed } from "../ts/device.js";
import { agreedRanks, agreedRendezvous, pmiOf, ranksOf, rendezvousOf } from "../ts/ranks.js";
import { checkDescriptor } from "../ts/shards.js";
import { environment, main, records } from "./program.js";

const child = fileURLToPath(new URL("children/rank.mjs", import.meta.url));
const isMpich = mpirun.includes("mpich");
/** npm run test:mpi names what starts the processes. */
const withMpi = describe.skipIf(!isMpirunNamed);

/** Runs a program on so many ranks. */
async function onRanks(ranks: number, args: readonly string[]) {
  const words = ranks === 1 ? args : ["-n", String(ranks), process.execPath, ...args];
  return ended(spawn(ranks === 1 ? process.execPath : mpirun, words, { env: environment(allowed), stdio: ["ignore", "pipe", "pipe"] }));
}

async function ended(started: ChildProcessByStdio<null, Readable, Readable>) {
  const [stdout, stderr, [code]] = await Promise.all([text(started.stdout), text(started.stderr), once(started, "exit")]);
  return { code: code as number, stdout, stderr };
}

/** Runs the child in processes that are told of each other as torchrun and Kubeflow do; `run` of each tells its start from others. */
async function byTorchrun(what: object, size: number, runs: readonly string[], program: readonly string[] = [child]): Promise<Told[]> {
  const port = await freePort();
  const started = runs.map(async (run, rank) => {
    const told = { RANK: String(rank), WORLD_SIZE: String(size), MASTER_ADDR: "localhost", MASTER_PORT: String(port - 1), TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RUN_ID: run };
    return ended(spawn(process.execPath, [...program, JSON.stringify(what)], { env: environment(told), stdio: ["ignore", "pipe", "pipe"] }));
  });
  return (await Promise.all(started)).map(({ stdout, stderr }) => JSON.parse(stdout || JSON.stringify({ message: stderr })) as Told);
}

/** A port that nobody listens at. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

interface Told {
  readonly rank: number;
  readonly digest?: string;
  readonly rows?: object[];
  readonly heard?: number;
  readonly code?: string;
  readonly another?: string;
  readonly message?: string;
  readonly seconds?: number;
}

/** What each rank tells of a run. */
async function run(ranks: number, what: object, program: readonly string[] = [child]): Promise<Told[]> {
  const { stdout, stderr } = await onRanks(ranks, [...program, JSON.stringify(what)]);
  const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
  if (lines.length === 0) throw new Error(stderr);
  return lines.map((line) => JSON.parse(line) as Told).toSorted((a, b) => a.rank - b.rank);
}

test("ranks are what the launcher has left", () => {
  const launched = (env: Record<string, string>) => agreedRanks(env);
  expect(launched({ RANK: "1", WORLD_SIZE: "4" })).toEqual({ rank: 1, size: 4, source: "RANK" });
  expect(launched({ OMPI_COMM_WORLD_RANK: "0", OMPI_COMM_WORLD_SIZE: "2" })).toEqual({ rank: 0, size: 2, source: "OMPI_COMM_WORLD_RANK" });
  expect(launched({ PMI_RANK: "2", PMI_SIZE: "3" })).toEqual({ rank: 2, size: 3, source: "PMI_RANK" });
  expect(launched({ SLURM_PROCID: "3", SLURM_STEP_NUM_TASKS: "4", SLURM_NTASKS: "4" })).toEqual({ rank: 3, size: 4, source: "SLURM_PROCID" });
  // A process alone, one of a step or of a batch script of one task, what is no rank.
  const lone = [{}, { SLURM_PROCID: "0", SLURM_NTASKS: "4", SLURM_STEP_NUM_TASKS: "1" }, { SLURM_PROCID: "0", SLURM_NTASKS: "1" }, { RANK: "0", WORLD_SIZE: "1" }, { RANK: "", WORLD_SIZE: "" }, { PMI_RANK: "0", PMI_SIZE: "1", PMI_FD: "5" }];
  for (const env of lone) expect(launched(env as unknown as Record<string, string>)).toBe(undefined);
  // Each of several would train alone, and write what the others do.
  for (const [env, got] of [
    [{ RANK: "4", WORLD_SIZE: "4" }, "RANK 4 and WORLD_SIZE 4"],
    [{ RANK: "x", WORLD_SIZE: "2" }, "RANK x and WORLD_SIZE 2"],
    [{ RANK: "0" }, "RANK 0 and WORLD_SIZE missing"],
    [{ WORLD_SIZE: "2", PMI_RANK: "0", PMI_SIZE: "2" }, "RANK missing and WORLD_SIZE 2"],
  ] as const) {
    expect(() => launched(env)).toThrow(expect.objectContaining({ code: "ERR_DISTRIBUTED", message: `distributed: expected RANK to be a whole number below WORLD_SIZE, got ${got}: set both, or unset them` }));
  }
});

test("a launcher that tells of others, but not of all, is refused: each process would train alone", () => {
  for (const [env, got, fix] of [
    [{ PMI_PORT: "one:4000", PMI_ID: "1" }, "PMI_PORT alone", "start MPICH's mpirun without -pmi-port; unset it to train alone"],
    [{ PMIX_RANK: "0" }, "PMIX_RANK alone", "start the program by mpirun, srun or torchrun itself; unset it to train alone"],
    [{ OMPI_COMM_WORLD_RANK: "2" }, "OMPI_COMM_WORLD_RANK alone", "start the program by mpirun, srun or torchrun itself; unset it to train alone"],
  ] as const) {
    expect(() => agreedRanks(env)).toThrow(expect.objectContaining({ code: "ERR_DISTRIBUTED", message: `distributed: expected a launcher that tells rank and number of processes, got ${got}: ${fix}` }));
    // What shares nothing goes on.
    expect(ranksOf(env)).toBe(undefined);
  }
  for (const rank of ["0", "3"]) {
    expect(() => agreedRanks({ SLURM_PROCID: rank, SLURM_NTASKS: "4" })).toThrow(
      `distributed: expected a task that srun has started, of the 4 of this job, got SLURM_PROCID ${rank} without SLURM_STEP_NUM_TASKS, as in a batch script: put srun --mpi=pmix or --mpi=pmi2 before node, or unset SLURM_NTASKS to train alone`,
    );
  }
});

test("what torchrun or Kubeflow should have told of rank 0 is named where it is missing or wrong", () => {
  const env = { RANK: "1", WORLD_SIZE: "2", MASTER_ADDR: "one", MASTER_PORT: "29500" };
  const fix = ": torchrun and Kubeflow set MASTER_ADDR and MASTER_PORT, by which processes find rank 0; MPICH's mpirun needs neither";
  for (const [MASTER_PORT, got] of [["", "none"], ["port", '"port"'], ["0", '"0"'], ["65536", '"65536"'], ["1e3", '"1e3"'], ["-1", '"-1"']] as const) {
    expect(() => agreedRendezvous({ ...env, MASTER_PORT })).toThrow(expect.objectContaining({ code: "ERR_DISTRIBUTED", message: `distributed: expected MASTER_PORT to be a port from 1 to 65535, with torchrun to 65534, got ${got}${fix}` }));
  }
  expect(() => agreedRendezvous({ ...env, MASTER_PORT: "65535", TORCHELASTIC_USE_AGENT_STORE: "True" })).toThrow("MASTER_PORT");
  expect(() => agreedRendezvous({ ...env, MASTER_ADDR: "" })).toThrow(`distributed: expected MASTER_ADDR to be the name or address of rank 0's machine, got none${fix}`);
  expect(agreedRendezvous(env)).toEqual({ host: "one", port: 29_500, run: "/" });
  // Processes that MPI's launcher has started find each other by that, those of other variables and those alone by none.
  expect(agreedRendezvous({ ...env, MASTER_PORT: "", PMI_FD: "5" })).toBe(undefined);
  expect(agreedRendezvous({ SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "2" })).toBe(undefined);
  expect(agreedRendezvous({})).toBe(undefined);
});

test("a descriptor that npx has closed is told, as MPICH would end the process", async () => {
  const server = createServer().listen(0);
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port);
  await once(socket, "connect");
  const { fd } = Reflect.get(socket, "_handle") as { fd: number };
  for (const env of [{}, { PMI_FD: String(fd) }]) expect(() => checkDescriptor(env)).not.toThrow();
  const file = openSync(import.meta.filename, "r");
  for (const PMI_FD of ["1000", String(file)]) {
    expect(() => checkDescriptor({ PMI_FD })).toThrow(expect.objectContaining({ code: "ERR_DISTRIBUTED", message: expect.stringContaining(`PMI_FD ${PMI_FD}, to be open, got a closed one: start the program itself instead of npm or npx, as `) }));
  }
  closeSync(file);
  socket.destroy();
  server.close();
});

test("ranks that are told twice are refused where they differ, but for an outer launcher's", () => {
  const by = (rank: string, size: string) => ({ RANK: rank, WORLD_SIZE: size });
  const step = { SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "2" };
  const torchrun = { TORCHELASTIC_RUN_ID: "none" };
  const fix = ": unset the pair that is left over; torchrun within srun wants srun --mpi=none";
  for (const [env, other, told, got] of [
    // A container's variables of one process, in each process of mpirun; torchrun where srun has told MPI too.
    [{ ...by("0", "1"), OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "2" }, "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE", "1 of 2", "0 of 1"],
    [{ ...by("0", "1"), PMI_RANK: "3", PMI_SIZE: "4" }, "PMI_RANK and PMI_SIZE", "3 of 4", "0 of 1"],
    [{ ...by("2", "4"), ...torchrun, ...step, PMI_RANK: "1", PMI_SIZE: "2" }, "PMI_RANK and PMI_SIZE", "1 of 2", "2 of 4"],
    [{ ...by("2", "4"), ...torchrun, ...step, PMIX_RANK: "1" }, "PMIX_RANK and SLURM_STEP_NUM_TASKS", "1 of 2", "2 of 4"],
    // What a batch script has exported for all tasks.
    [{ ...by("0", "2"), ...step }, "SLURM_PROCID and SLURM_STEP_NUM_TASKS", "1 of 2", "0 of 2"],
  ] as const) {
    expect(() => agreedRanks(env)).toThrow(expect.objectContaining({ code: "ERR_DISTRIBUTED", message: `distributed: expected RANK and WORLD_SIZE to tell what ${other} do, rank ${told}, got rank ${got}${fix}` }));
    // Which addon is taken and which GPU must not end a program that shares nothing.
    expect(() => ranksOf(env)).not.toThrow();
  }
  const rank = (env: Record<string, string>) => agreedRanks(env);
  expect(rank({ ...by("2", "4"), ...torchrun, ...step })).toEqual({ rank: 2, size: 4, source: "RANK" });
  expect(rank({ ...by("1", "2"), SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1" })).toEqual({ rank: 1, size: 2, source: "RANK" });
  expect(rank({ ...by("1", "2"), ...step, PMI_RANK: "1", PMI_SIZE: "2" })).toEqual({ rank: 1, size: 2, source: "RANK" });
  // mpirun starts its own programs by srun.
  expect(rank({ OMPI_COMM_WORLD_RANK: "3", OMPI_COMM_WORLD_SIZE: "4", ...step })).toEqual({ rank: 3, size: 4, source: "OMPI_COMM_WORLD_RANK" });
});

test("processes of torchrun and Kubeflow meet where they are told, unless MPI has a launcher", () => {
  const env = { RANK: "1", WORLD_SIZE: "2", MASTER_ADDR: "one", MASTER_PORT: "29500" };
  const found = { host: "one", port: 29_500, run: "/" };
  expect(rendezvousOf(env)).toEqual(found);
  const torchrun = { ...env, TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RUN_ID: "a b", TORCHELASTIC_RESTART_COUNT: "3" };
  expect(rendezvousOf(torchrun)).toEqual({ host: "one", port: 29_501, run: "a_b/3" });
  const pmi = pmiOf({ rank: 1, size: 2, source: "RANK" }, found);
  expect(pmi).toEqual({ PMI_PORT: "one:29500", PMI_ID: "1" });
  expect(pmiOf({ rank: 0, size: 2, source: "RANK" }, found)).toEqual({ PMI_PORT: "127.0.0.1:29500", PMI_ID: "0" });
  // Another thread of the process finds what the first one has left.
  expect(rendezvousOf({ ...env, ...pmi })).toEqual(found);
  for (const more of [{ PMI_PORT: "else:1" }, { PMI_FD: "5" }, { PMIX_RANK: "1" }, { MASTER_PORT: "" }, { MASTER_PORT: "65536" }, { MASTER_ADDR: "" }, { WORLD_SIZE: "1", RANK: "0" }]) {
    expect(rendezvousOf({ ...env, ...more })).toBe(undefined);
  }
});

test("each of a machine's processes has a GPU of its own, as far as there are", () => {
  const on = (device: "auto" | "cuda" | "cuda:0" | undefined, env: Record<string, string>, usable = [true, true, true, true]) =>
    placed({ device }, env, () => ({ cuda: { gpus: usable.map((usable) => ({ name: "Imaginary GPU", computeCapability: "9.0", memory: 1, usable })) } })).device;
  const shared = { OMPI_COMM_WORLD_RANK: "5", OMPI_COMM_WORLD_SIZE: "8" };
  expect(on("cuda", { ...shared, OMPI_COMM_WORLD_LOCAL_RANK: "1" })).toBe("cuda:1");
  expect(on(undefined, { ...shared, SLURM_LOCALID: "3" })).toBe("cuda:3");
  expect(on("auto", { RANK: "1", WORLD_SIZE: "2", LOCAL_RANK: "1" })).toBe("cuda:1");
  // A launcher that shows each process one GPU; ranks that then turn out to share one are refused.
  expect(on("cuda", { ...shared, MPI_LOCALRANKID: "5" }, [true])).toBe("cuda:0");
  // Those that cannot be used do not count, as one without kernels between others.
  const some = [false, true, false, true];
  expect(["0", "1", "2", "3"].map((place) => on("cuda", { ...shared, SLURM_LOCALID: place }, some))).toEqual(["cuda:1", "cuda:3", "cuda:1", "cuda:3"]);
  // What was chosen, machines without a GPU that can be used, processes alone.
  expect(on("cuda:0", { ...shared, SLURM_LOCALID: "3" })).toBe("cuda:0");
  expect(on("auto", { ...shared, SLURM_LOCALID: "3" }, [false, false])).toBe("auto");
  expect(on("cuda", { ...shared, SLURM_LOCALID: "3" }, [])).toBe("cuda");
  expect(on("cuda", { SLURM_LOCALID: "3", LOCAL_RANK: "3" })).toBe("cuda");
  // A launcher that does not tell.
  expect(on("cuda", shared)).toBe("cuda:0");
});

withMpi("processes of MPI", { timeout: 120_000 }, () => {
  test("come to the bits of one with as many shards", async () => {
    const what = { epochs: 2, shards: 4, ema: 0.9, accumulate: 2, count: 43 };
    const [alone] = await run(1, what);
    expect(alone).toMatchObject({ heard: 2, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    for (const size of [2, 3]) {
      const all = await run(size, what);
      // The first one alone has listeners.
      expect(all).toEqual(Array.from({ length: size }, (_, rank) => ({ ...alone, rank, heard: rank === 0 ? 2 : 0 })));
    }
  });

  test("go on from a checkpoint in other numbers, to the same bits", async () => {
    const what = { epochs: 2, shards: 4, ema: 0.9 };
    const [whole] = await run(1, what);
    for (const [first, then] of [[2, 3], [3, 1], [1, 2]] as const) {
      const dir = await mkdtemp(join(tmpdir(), "resnet-native-"));
      await run(first, { ...what, epochs: 1, checkpoint: { dir } });
      // The first one alone writes, and listens.
      expect(readdirSync(dir).filter((file) => file.startsWith("step-"))).toHaveLength(1);
      const all = await run(then, { ...what, checkpoint: { dir }, resume: dir });
      expect(all.map(({ digest }) => digest)).toEqual(Array.from({ length: then }, () => whole!.digest));
    }
  });

  test("go on from a checkpoint that the first alone sees", async () => {
    const what = { epochs: 2, shards: 2 };
    const [whole] = await run(1, what);
    const dir = await mkdtemp(join(tmpdir(), "resnet-native-"));
    const checkpoint = { dir: join(dir, "of rank {rank}") };
    await run(2, { ...what, epochs: 1, checkpoint });
    const all = await run(2, { ...what, checkpoint, resume: checkpoint.dir });
    expect(all.map(({ digest }) => digest)).toEqual([whole!.digest, whole!.digest]);
    expect(readdirSync(dir)).toEqual(["of rank 0"]);
  });

  test("share a run behind a program that passes nothing on but streams, as npx", async () => {
    const what = { epochs: 1, shards: 2 };
    const [alone] = await run(1, what);
    const between = `require("node:child_process").spawn(process.execPath, process.argv.slice(1), { stdio: "inherit" })`;
    const all = await run(2, what, ["-e", between, child]);
    // Systems that let no process have what another holds leave those of MPICH without their launcher.
    const isLost = isMpich && all.every(({ message }) => message?.includes("expected the descriptor of MPICH's mpirun"));
    if (!isLost) expect(all.map(({ digest }) => digest)).toEqual([alone!.digest, alone!.digest]);
  });

  test.runIf(isMpich)("meet without a launcher of MPI, as torchrun's", async () => {
    const what = { epochs: 1, shards: 4 };
    const [alone] = await run(1, what);
    const all = await byTorchrun(what, 3, ["a", "a", "a"]);
    expect(all).toEqual([0, 1, 2].map((rank) => ({ ...alone, rank, heard: rank === 0 ? 1 : 0 })));
    // One does not come; one is another start's.
    const distributed = { timeout: 1 };
    const late = "distributed: expected every rank within 1 s, got none of rank 2";
    expect((await byTorchrun({ distributed }, 3, ["a", "a"])).map(({ message }) => message)).toEqual([late, late]);
    const [first, other] = await byTorchrun({ distributed }, 2, ["a", "b"]);
    expect(first!.message).toBe("distributed: expected every rank within 1 s, got none of rank 1");
    expect(other!.message).toBe("distributed: expected a process of the start a/, which is at this port, got one of b/: end one of both starts, or give another MASTER_PORT (torchrun: --master-port)");
  });

  test.runIf(isMpich)("say what is at the port of the rendezvous instead of rank 0, and how long they have waited", async () => {
    const server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n")).listen(0);
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const told = async (rank: string, more: object) => {
      const env = environment({ RANK: rank, WORLD_SIZE: "2", MASTER_ADDR: "localhost", MASTER_PORT: String(port), ...more });
      const { stdout } = await ended(spawn(process.execPath, [child, JSON.stringify({ distributed: { timeout: 1 } })], { env, stdio: ["ignore", "pipe", "pipe"] }));
      return (JSON.parse(stdout) as Told).message;
    };
    const fix = "see that rank 0 has started, that MASTER_ADDR and MASTER_PORT lead to it, and that no firewall is between";
    const [nobody] = [await freePort()];
    const messages = await Promise.all([told("0", {}), told("1", {}), told("1", { MASTER_PORT: String(nobody) }), told("1", { MASTER_PORT: "no port" })]);
    server.close();
    expect(messages).toEqual([
      `distributed: expected rank 0 to listen at the port that MASTER_PORT tells, got ${port}, which is in use: another start is there, or two processes have RANK 0; end it or them, or give another MASTER_PORT (torchrun: --master-port)`,
      `distributed: rank 0 cannot be reached at localhost:${port} within 1 s: another program is there, so give another MASTER_PORT (torchrun: --master-port); ${fix}`,
      `distributed: rank 0 cannot be reached at localhost:${nobody} within 1 s: nobody listens there; ${fix}`,
      expect.stringContaining('expected MASTER_PORT to be a port from 1 to 65535, with torchrun to 65534, got "no port"'),
    ]);
  });

  test.runIf(isMpich)("meet in workers where the main thread has loaded the addon", async () => {
    const what = { epochs: 1, shards: 2 };
    const worker = `new (require("node:worker_threads").Worker)(${JSON.stringify(child)}, { argv: process.argv.slice(1) })`;
    const [alone] = await run(1, what);
    const after = ["-e", `import(${JSON.stringify(join(main, "../../index.js"))}).then(() => ${worker})`];
    expect((await byTorchrun(what, 2, ["a", "a"], after)).map(({ digest }) => digest)).toEqual([alone!.digest, alone!.digest]);
    const message = "distributed: expected resnet-native to be loaded by the main thread first, whose environment tells MPICH where rank 0 is, got a worker alone";
    expect((await byTorchrun(what, 2, ["a", "a"], ["-e", worker])).map((told) => told.message)).toEqual([message, message]);
  });

  test.skipIf(isMpich)("are told what starts them where a launcher does not know their MPI", async () => {
    const message = (rank: number) => `distributed: expected MPI to reach 2 processes, of which this is rank ${rank}, as the environment tells, got rank 0 of 1: start them by Open MPI's mpirun or srun --mpi=pmix`;
    expect((await byTorchrun({}, 2, ["a", "a"])).map((told) => told.message)).toEqual([message(0), message(1)]);
    const bySrun = environment({ SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "2" });
    const { stdout } = await ended(spawn(process.execPath, [child, "{}"], { env: bySrun, stdio: ["ignore", "pipe", "pipe"] }));
    expect(JSON.parse(stdout)).toMatchObject({ message: "distributed: expected processes started by Open MPI's mpirun or srun --mpi=pmix, got those of srun without MPI" });
  });

  test("are waited for until an abort, of which they are told when they come", async () => {
    for (const early of [0, 1]) {
      const file = join(await mkdtemp(join(tmpdir(), "resnet-native-")), "given up");
      const ends = await run(2, { early, file });
      const others = expect.objectContaining({ rank: 1 - early, code: "ERR_ABORTED", message: `rank ${early}: Error: enough` });
      expect(ends[early]).toMatchObject({ rank: early, message: "enough" });
      expect(ends[1 - early]).toEqual(others);
    }
  });

  test("are waited for no longer than told where one never shares a run", async () => {
    const message = "distributed: expected every rank to share a run within 1 s, got fewer: another has ended, is late, or asks for none";
    expect(await run(2, { absent: 1, distributed: { timeout: 1 } })).toEqual([expect.objectContaining({ rank: 0, code: "ERR_DISTRIBUTED", message })]);
  });

  test("are refused before the first step where one has something else", async () => {
    const refused = (what: string) => {
      const message = `distributed: expected every rank to have the ${what} on rank 1`;
      return [0, 1].map((rank) => ({ rank, code: "ERR_DISTRIBUTED", message, seconds: expect.any(Number) as number }));
    };
    expect(await run(2, { differs: 1 })).toEqual(refused("model's seed of rank 0, got 8 instead of 7"));
    expect(await run(2, { optionsOf: { 1: { batchSize: 10, shuffle: false } } })).toEqual(refused("options of rank 0, got batchSize 10 instead of 20, shuffle false instead of true"));
  });

  test("stop together, for the same reason, when one cannot begin", async () => {
    const message = "batchSize: expected an integer from 1 to 4294967295, got -1";
    expect(await run(3, { optionsOf: { 1: { batchSize: -1 } } })).toMatchObject([
      { rank: 0, code: "ERR_INVALID_ARGUMENT", message: `rank 1: ${message}` },
      { rank: 1, code: "ERR_INVALID_ARGUMENT", message },
      { rank: 2, code: "ERR_INVALID_ARGUMENT", message: `rank 1: ${message}` },
    ]);
    // Of what is wrong on all each tells its own.
    expect(await run(2, { batchSize: -1 })).toMatchObject([0, 1].map((rank) => ({ rank, code: "ERR_INVALID_ARGUMENT", message })));
  });

  test("stop together when one is aborted", async () => {
    const [first, second] = await run(2, { aborts: 1, epochs: 1000 });
    expect(second).toMatchObject({ code: null, message: "enough" });
    expect(first).toMatchObject({ code: "ERR_ABORTED", message: "rank 1: Error: enough" });
  });

  test("stop together, and for the same reason, when a callback of one throws", async () => {
    expect(await run(2, { throws: 1, epochs: 1000 })).toMatchObject([
      { rank: 0, code: "ERR_ABORTED", message: "rank 1: TypeError: no such thing" },
      { rank: 1, code: null, message: "no such thing" },
    ]);
    // An error of this package keeps its code.
    expect(await run(2, { throws: 0, own: true, epochs: 1000 })).toMatchObject([
      { rank: 0, code: "ERR_IO", message: expect.stringMatching(/^cannot write/) },
      { rank: 1, code: "ERR_IO", message: expect.stringMatching(/^rank 0: cannot write/) },
    ]);
  });

  test("share one run at a time, which another leaves as it is", async () => {
    const [alone] = await run(1, { shards: 2 });
    const expected = [0, 1].map((rank) => ({ rank, another: "ERR_BUSY", digest: alone!.digest }));
    expect(await run(2, { shards: 2, another: true })).toMatchObject(expected);
  });

  test("end where one does not answer, which is named", async () => {
    const what = JSON.stringify({ stops: 1, epochs: 1000, distributed: { timeout: 4 } });
    const { code, stdout } = await onRanks(2, [child, what]);
    expect(code).not.toBe(0);
    expect(stdout).toMatch(/"rank":0,"code":"ERR_DISTRIBUTED","message":"distributed: expected every rank within 4 s, got none of rank 1"/);
  });

  test("end where one is killed", async () => {
    const { code, stdout, stderr } = await onRanks(2, [child, JSON.stringify({ kills: 1, epochs: 1000 })]);
    expect(code).not.toBe(0);
    // It is the launcher that says so.
    expect(stdout + stderr).toMatch(/rank 1 .*signal 9|KILLED BY|EXIT CODE: 9/i);
  });

  test.runIf(isMpich)("that no launcher of MPI has started name one that is killed at once, whatever the limit", async () => {
    const [first, , third] = await byTorchrun({ kills: 1, epochs: 1000 }, 3, ["a", "a", "a"]);
    const message = "distributed: expected rank 1 to share the run to its end, got the end of its process, which its machine or launcher may tell of";
    expect([first, third]).toMatchObject([{ code: "ERR_DISTRIBUTED", message }, { code: "ERR_DISTRIBUTED", message: `rank 0: ${message}` }]);
  });

  test("write once from the command line", async () => {
    const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
    const output = join(folder, "model.safetensors");
    const words = ["train", "fashion-mnist", "--sample", "--network", "cifar_resnet20", "--size", "16", "--epochs", "1", "--json", "--threads", "1"];
    const { stdout, code, stderr } = await onRanks(2, [main, ...words, "--distributed", "--output", output]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(records(stdout).map(({ type }) => type)).toEqual(["start", "epoch", "end"]);
    expect(existsSync(output)).toBe(true);
  });

  test("of the command line hear of what ends one before its training", async () => {
    const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
    const output = join(folder, "model.safetensors");
    await writeFile(output, "");
    const words = ["train", "fashion-mnist", "--sample", "--network", "cifar_resnet20", "--size", "16", "--epochs", "1", "--threads", "1", "--distributed"];
    // The first one alone looks at files.
    const there = await onRanks(2, [main, ...words, "--output", output]);
    for (const rank of ["rank 0", "rank 1: ended by rank 0"]) expect(there.stderr).toContain(`error: ${rank}: --output: expected a file that can be written, got ${output}: it is there already`);
    const started = spawn(mpirun, ["-n", "1", process.execPath, main, ...words, "--output", join(folder, "other"), ":", "-n", "1", process.execPath, main, ...words, "--bogus"], { env: environment(allowed), stdio: ["ignore", "pipe", "pipe"] });
    const { stderr } = await ended(started);
    for (const rank of ["rank 1", "rank 0: ended by rank 1"]) expect(stderr).toContain(`error: ${rank}: --bogus: there is no such option`);
    expect(readdirSync(folder)).toEqual(["model.safetensors"]);
  });

  test("of the command line stop after the step where one of them gets a signal, as one process does: the first one saves", async () => {
    const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
    const output = join(folder, "model.safetensors");
    const train = ["train", "fashion-mnist", "--sample", "--network", "cifar_resnet20", "--size", "16", "--epochs", "1000", "--threads", "1", "--distributed", "--output", output, "--checkpoint", join(folder, "checkpoints")];
    // A shell tells which process the second rank is.
    const words = ["-n", "2", "sh", "-c", `[ "$\{OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && echo "second $$" >&2; exec "$@"`, "sh", process.execPath, main, ...train];
    const started = spawn(mpirun, words, { env: environment(allowed), stdio: ["ignore", "pipe", "pipe"] });
    let [said, told, isSent] = ["", "", false];
    started.stderr.on("data", (chunk) => (said += String(chunk)));
    started.stdout.on("data", (chunk) => {
      told += String(chunk);
      const [, second] = /^second (\d+)$/m.exec(said) ?? [];
      // After the first epoch.
      if (isSent || second === undefined || !told.includes("validation accuracy")) return;
      isSent = true;
      process.kill(Number(second), "SIGTERM");
    });
    const [code] = (await once(started, "close")) as [number];
    // MPICH's mpirun kills the rest when the first of them has ended, and then has that for its own code.
    expect([isMpich && code === 9 ? 143 : code, told, said]).toEqual([143, expect.stringMatching(/Stopped: the weights are those of the last whole step\.\nTo go on from .*, by the same launcher: node_modules\/\.bin\/resnet-native train.* --distributed.*\n[^]*Saved to /), expect.not.stringContaining("error:")]);
    // Of a process that is killed, MPICH's mpirun names its number alone.
    if (isMpich) expect(said).toMatch(/^second (\d+)\n[^]*^rank 1 is process \1 on /m);
    expect(existsSync(output)).toBe(true);
    expect(readdirSync(join(folder, "checkpoints")).some((name) => name.startsWith("step-"))).toBe(true);
  });
});
