// npm run bench -- machines: training that several machines share, beside PyTorch's DistributedDataParallel on gloo. The machines are network namespaces
// of this one, joined by a bridge, each with the bandwidth and latency that it is told, a rank of one thread on each. Wants root, iproute2, and an addon that
// was built for MPI (npm run build:mpi); latencies want a kernel with netem, without which there is only its own. RESNET_NATIVE_PYTHON has torch and numpy.
// Then what a model of a step, made from the time of one rank, makes of these and of more ranks: sizes of networks that nobody has measured here.
//
//   --bandwidths A,B   Mbit/s of each machine, default 100,1000,10000
//   --latencies A,B    milliseconds from one machine to another, default 0.1,1
//   --ranks N          default 2: each wants a core
//   --batch-size N     images of a rank, default 16, of --size N, default 96, by ResNet-18
//   --steps N          default 6, measured in each turn
//   --rounds N         turns, default 3
//   --sides A,B        default shared,own,ddp: batch norms with the whole batch's statistics, with each rank's own, PyTorch
//
// RESNET_NATIVE_MPIRUN names what starts processes of the MPI that the addon was built for, default mpirun.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { table } from "../dist/table.js";
import { cleanUpAtExit } from "../scripts/clean-up.mjs";
import { allowed, mpirun } from "../scripts/mpi/mpirun.mjs";
import { parse, sample } from "./options.mjs";
import { TORCH } from "./peers.mjs";
import { machine, median, save } from "./report.mjs";
import { peerFile, workload } from "./turns.mjs";

const NAME = "resnet-bench";
const INTERFACE = "eth0";
const address = (host) => `10.77.0.${host + 1}`;
const place = (host) => `${NAME}-${host + 1}`;
const python = process.env["RESNET_NATIVE_PYTHON"] || "python3";
const NAMES = { shared: "ours", own: "ours, own statistics", ddp: "PyTorch DDP" };

export async function main(args) {
  const defaults = { bandwidths: "100,1000,10000", latencies: "0.1,1", ranks: 2, batchSize: 16, size: 96, steps: 6, rounds: 3, sides: "shared,own,ddp" };
  const options = parse(args, defaults);
  if (process.getuid?.() !== 0) throw new Error("network namespaces want root");
  if (options.sides.includes("ddp") && spawnSync(python, ["-c", "import torch, numpy"]).status !== 0) throw new Error(`--sides ddp: expected ${TORCH}`);
  const folder = await mkdtemp(join(tmpdir(), "resnet-bench-"));
  const hosts = new Hosts(options.ranks);
  cleanUpAtExit(() => {
    hosts.close();
    rmSync(folder, { recursive: true, force: true });
  });
  hosts.open();
  const agent = await writeAgent(folder);
  const has = hosts.canDelay();
  if (!has) console.log("This kernel has no netem: latency is its own alone.");
  const results = [];
  for (const bandwidth of options.bandwidths.split(",").map(Number)) {
    for (const latency of has ? options.latencies.split(",").map(Number) : [0]) {
      hosts.limit(bandwidth, latency);
      results.push({ bandwidth, latency, ...(await measure(options, agent)) });
    }
  }
  show(results, options);
  console.log(await save("machines", { machine: await machine(), options, mpirun, results }));
}

/** Machines that are namespaces of the network. */
class Hosts {
  #count;

  constructor(count) {
    this.#count = count;
  }

  /** Makes them, in place of what a run has left that was killed. */
  open() {
    this.close();
    const ip = (words) => execFileSync("ip", words.split(" "));
    const bridge = `${NAME}-bridge`;
    ip(`netns add ${bridge}`);
    ip(`-n ${bridge} link add name bridge type bridge`);
    ip(`-n ${bridge} link set bridge up`);
    for (let host = 0; host < this.#count; host += 1) {
      ip(`netns add ${place(host)}`);
      ip(`-n ${bridge} link add port${host} type veth peer name ${INTERFACE} netns ${place(host)}`);
      ip(`-n ${bridge} link set port${host} master bridge up`);
      ip(`-n ${place(host)} address add ${address(host)}/24 dev ${INTERFACE}`);
      ip(`-n ${place(host)} link set ${INTERFACE} up`);
      ip(`-n ${place(host)} link set lo up`);
    }
  }

  /** Whether the kernel can delay what is sent. */
  canDelay() {
    return spawnSync("tc", ["-n", place(0), "qdisc", "replace", "dev", INTERFACE, "root", "netem", "delay", "1ms"]).status === 0;
  }

  /** Gives each machine so many Mbit/s for what it sends, and so many milliseconds to another. */
  limit(bandwidth, latency) {
    // What a timer of a millisecond lets through at once, of a bucket of tokens.
    const burst = Math.max(65_536, bandwidth * 125);
    const how = latency > 0 ? `netem rate ${bandwidth}mbit delay ${latency}ms limit 100000` : `tbf rate ${bandwidth}mbit burst ${burst} latency 400ms`;
    for (let host = 0; host < this.#count; host += 1) {
      execFileSync("tc", ["-n", place(host), "qdisc", "replace", "dev", INTERFACE, "root", ...how.split(" ")]);
    }
  }

  /** Ends what runs on them, and removes them. */
  close() {
    const names = [`${NAME}-bridge`, ...Array.from({ length: this.#count }, (_, host) => place(host))];
    for (const name of names) {
      const { stdout } = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" });
      spawnSync("kill", ["-KILL", ...(stdout ?? "").split("\n").filter(Boolean)], { stdio: "ignore" });
      spawnSync("ip", ["netns", "delete", name]);
    }
  }
}

/** A command on one of the machines, which has a name of its own. */
const on = (host, command) => ["ip", "netns", "exec", place(host), "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', place(host), ...command];

/** What mpirun starts its own programs on other machines by, as by ssh: options, the machine's address, words of a shell. */
async function writeAgent(folder) {
  const file = join(folder, "agent.sh");
  const lines = ["#!/bin/sh", 'while [ "${1#-}" != "$1" ]; do shift; done', `host=${NAME}-\${1##*.}`, "shift", 'exec ip netns exec "$host" unshare --uts sh -c "hostname $host; exec $*"'];
  await writeFile(file, lines.join("\n"), { mode: 0o755 });
  return file;
}

/** All sides in turns: by side, the seconds of a step with and without the other ranks, and the bytes that a rank sends in one. */
async function measure({ ranks, batchSize, size, steps, rounds, sides }, agent) {
  const common = { data: sample, threads: 1, channels: 1, size };
  const ours = (batch, sync) => [process.execPath, peerFile("native_rank.mjs"), ...workload({ ...common, network: "ResNet-18", batchSize: batch }), "--steps", String(steps), "--sync", String(sync), "--interface", INTERFACE];
  const theirs = [python, peerFile("torch_ddp.py"), ...workload({ ...common, network: "resnet18", batchSize }), "--steps", String(steps), "--interface", INTERFACE];
  const each = (make) => Promise.all(Array.from({ length: ranks }, (_, host) => run(on(host, make(host)), environmentOf(host, ranks))));
  const alone = (command) => Promise.all(Array.from({ length: ranks }, (_, host) => run(on(host, command))));
  const makers = {
    shared: { together: () => run(on(0, byMpi(agent, ranks, ours(ranks * batchSize, true))), MPI), apart: () => alone(ours(batchSize, true)) },
    own: { together: () => run(on(0, byMpi(agent, ranks, ours(ranks * batchSize, false))), MPI), apart: () => alone(ours(batchSize, false)) },
    ddp: { together: () => each(() => theirs), apart: () => alone(theirs) },
  };
  const chosen = sides.split(",");
  const unknown = chosen.find((side) => !Object.hasOwn(makers, side));
  if (unknown !== undefined) throw new Error(`--sides: expected some of ${Object.keys(makers).join(", ")}, got ${unknown}`);
  const found = Object.fromEntries(chosen.map((side) => [side, { together: [], apart: [], bytes: [] }]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const side of chosen) {
      const [together, apart] = [(await makers[side].together()).flat(), (await makers[side].apart()).flat()];
      if (together.length !== ranks) throw new Error(`${NAMES[side]}: expected ${ranks} ranks, got ${together.length}`);
      const slowest = (all) => Math.max(...all.map(({ seconds }) => median(seconds)));
      found[side].together.push(slowest(together));
      found[side].apart.push(slowest(apart));
      found[side].bytes.push(Math.max(...together.map(({ bytes }) => bytes)));
      Object.assign(found[side], { parameters: together[0].parameters, norms: together[0].norms });
      console.log(`${round}/${rounds}  ${NAMES[side].padEnd(22)}  ${slowest(together).toFixed(3)} s, apart ${slowest(apart).toFixed(3)} s`);
    }
  }
  return { sides: found };
}

/** Of what Open MPI and MPICH take in common: TCP on the machines' network and nothing that only ranks of one machine have. */
const MPI = { UCX_TLS: "tcp,self", UCX_NET_DEVICES: INTERFACE, ...allowed };

function byMpi(agent, ranks, command) {
  const addresses = Array.from({ length: ranks }, (_, host) => address(host)).join(",");
  const isOpen = execFileSync(mpirun, ["--version"]).includes("Open");
  const open = `--host ${addresses} --mca plm_rsh_agent ${agent} --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include ${INTERFACE} --mca oob_tcp_if_include ${INTERFACE}`;
  const hydra = `-hosts ${addresses} -ppn 1 -launcher ssh -launcher-exec ${agent} -iface ${INTERFACE} -localhost ${address(0)}`;
  return [mpirun, ...(isOpen ? open : hydra).split(" "), "-n", String(ranks), ...command];
}

function environmentOf(host, ranks) {
  return { RANK: String(host), WORLD_SIZE: String(ranks), MASTER_ADDR: address(0), MASTER_PORT: "29500", GLOO_SOCKET_IFNAME: INTERFACE };
}

/** Runs a command; the lines of JSON that it writes. */
async function run([program, ...args], environment = {}) {
  const child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`${args.join(" ")}\n${stdout}${stderr}`);
  return stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

/**
 * The bytes that a rank sends in a step, and its seconds, as a model has them: the gradients of `parameters` go twice, but for its own part; `exchanges` small
 * ones take as many messages one after the other as the ranks can be halved, and the two large ones as many as there are other ranks. Nothing is sent
 * while something is computed, and the network is as fast for all ranks at once.
 */
function modelled({ compute, parameters, exchanges }, { bandwidth, latency }, ranks) {
  const bytes = (8 * parameters * (ranks - 1)) / ranks;
  const messages = exchanges * Math.ceil(Math.log2(ranks)) + 2 * (ranks - 1);
  return { bytes, seconds: compute + (8 * bytes) / (bandwidth * 1e6) + (messages * latency) / 1000 };
}

/** Small exchanges of a step: weights of the labels, the loss, and of each norm two for the whole batch's statistics, or one for its running ones. */
const exchanges = (side, norms) => 2 + (side === "shared" ? 2 : 1) * norms;

function show(results, { ranks, batchSize, sides }) {
  const images = (seconds, count) => (count * batchSize) / seconds;
  console.log(`\n${ranks} ranks of one thread, ${batchSize} images each\n`);
  const rows = results.flatMap(({ bandwidth, latency, sides: found }) => Object.entries(found).map(([side, { together, apart, bytes, parameters, norms }]) => {
    const [measured, compute] = [median(together), median(apart)];
    const model = side === "ddp" ? undefined : modelled({ compute, parameters, exchanges: exchanges(side, norms) }, { bandwidth, latency }, ranks);
    const cells = [`${bandwidth}`, latency ? `${latency}` : "own", NAMES[side], images(measured, ranks).toFixed(1), `${((100 * compute) / measured).toFixed(0)} %`, (median(bytes) / 1e6).toFixed(1)];
    return [...cells, model ? (model.bytes / 1e6).toFixed(1) : "", model ? images(model.seconds, ranks).toFixed(1) : ""];
  }));
  console.log(table(["Mbit/s", "ms", "side", "images/s", "of apart", "MB sent", "model's MB", "model's images/s"], rows, 3));
  const side = sides.split(",").find((name) => name !== "ddp");
  if (side === undefined) return;
  console.log(`\nThe model: shares of as many ranks apart, ${NAMES[side]}\n`);
  const counts = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  const shares = results.map(({ bandwidth, latency, sides: found }) => {
    const { apart, parameters, norms } = found[side];
    const given = { compute: median(apart), parameters, exchanges: exchanges(side, norms) };
    return [`${bandwidth}`, latency ? `${latency}` : "own", ...counts.map((count) => `${((100 * given.compute) / modelled(given, { bandwidth, latency }, count).seconds).toFixed(0)} %`)];
  });
  console.log(table(["Mbit/s", "ms", ...counts.map(String)], shares, 0));
}
