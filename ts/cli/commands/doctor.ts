import { execFile } from "node:child_process";
import { availableParallelism, release, totalmem } from "node:os";
import { promisify } from "node:util";
import type * as Library from "../../index.js";
import { command } from "../command.js";
import { EXIT, explained, Failure } from "../failure.js";
import { painted, type Screen } from "../screen.js";
import { timed } from "../timing.js";

/** How long the self-test trains. */
const SECONDS = 2;

/** What was looked at, what came out, and whether that is as it should be. */
interface Finding {
  readonly name: string;
  readonly value: string;
  readonly ok: boolean;
}

/** Says what this machine has, and whether training works on it. */
export default command({
  summary: "tells what is installed and chosen on this machine, where the data are, and trains for two seconds as a test",
  operands: {},
  options: {},
  examples: [
    ["doctor", "what to send along with a report of a defect"],
    ["doctor --json", "the same for a program"],
  ],
  run: examine,
});

async function examine(_: object, screen: Screen): Promise<number> {
  const findings = surroundings();
  const look = async (name: string, at: () => Promise<string> | string) => {
    screen.status.show(`Looking at: ${name}`);
    try {
      findings.push({ name, value: await at(), ok: true });
    } catch (error) {
      findings.push({ name, value: explained(error).message, ok: false });
    }
  };
  let library: typeof Library | undefined;
  await look("addon", async () => {
    // Only here, so that a machine without an addon that works hears about the rest.
    library = await import("../../index.js");
    const { addon } = library.deviceInfo();
    return `${addon.file}: ${addon.why}`;
  });
  if (library) {
    const { device, why, cpu, cuda } = library.deviceInfo();
    await look("device", () => `${device}: ${why}`);
    await look("CUDA", () => driver(cuda));
    for (const [number, gpu] of cuda.gpus.entries()) await look(`GPU ${number}`, () => described(gpu));
    await look("MPI", async () => whichMpi(library!.deviceInfo().addon));
    await look("instruction set", () => `${cpu.instructionSet}, of ${cpu.instructionSets.join(", ")}; bf16 by ${cpu.bf16}, int8 by ${cpu.int8}`);
    await look("threads", () => `${cpu.threads} by default, for ${availableParallelism()} cores`);
    await look("Fashion-MNIST", () => whereabouts(library!));
    await look("self-test", () => train(library!));
  }
  const healthy = findings.every(({ ok }) => ok);
  screen.record({ healthy, findings });
  const width = Math.max(...findings.map(({ name }) => name.length));
  for (const { name, value, ok } of findings) screen.print(`${name.padEnd(width)}  ${mark(ok)} ${value}`);
  return healthy ? EXIT.success : EXIT.failure;
}

function surroundings(): Finding[] {
  const most = process.constrainedMemory();
  const limit = most > 0 && most < totalmem() ? `, limited to ${mebibytes(most)}` : "";
  const facts = {
    platform: `${target()}, ${release()}`,
    Node: `${process.version}, ${process.execPath}`,
    memory: `${mebibytes(totalmem())}, of which ${mebibytes(process.availableMemory())} are free${limit}`,
  };
  return Object.entries(facts).map(([name, value]) => ({ name, value, ok: true }));
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20).toLocaleString("en")} MiB`;
}

function driver({ driver, version, cudnn }: Library.DeviceInfo["cuda"]): string {
  const found = [driver && `driver ${driver}`, version && `for CUDA ${version}`, cudnn && `cuDNN ${cudnn}`];
  return found.filter(Boolean).join(", ") || "not found";
}

function described({ name, computeCapability, memory }: Library.Gpu): string {
  return `${name}, compute capability ${computeCapability}, ${mebibytes(memory)}`;
}

/** Platform, processor and C library. */
function target(): string {
  const { platform, arch } = process;
  if (platform !== "linux") return `${platform} ${arch}`;
  // Otherwise the report looks up the names of all peers, which can take seconds.
  Object.assign(process.report, { excludeNetwork: true });
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const glibc = header?.glibcVersionRuntime;
  return `${platform} ${arch} ${glibc === undefined ? "musl" : `glibc ${glibc}`}`;
}

/** The MPI of the addon that processes of a launcher load, which is looked at by one that takes itself for such. */
async function whichMpi(own: Library.DeviceInfo["addon"]): Promise<string> {
  const look = async () => {
    const program = `import(process.argv[1]).then(({ deviceInfo }) => process.stdout.write(JSON.stringify(deviceInfo().addon)), ({ message }) => process.stdout.write(JSON.stringify({ message })))`;
    const env = { ...process.env, RANK: "0", WORLD_SIZE: "2" };
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", program, new URL("../../index.js", import.meta.url).href], { env });
    return JSON.parse(stdout) as Library.DeviceInfo["addon"] & { readonly message?: string };
  };
  const { file, mpi, message } = own.mpi === undefined ? await look() : { ...own, message: undefined };
  if (message !== undefined) throw new Failure("ERR_ADDON", message);
  if (mpi !== undefined) return `${mpi}, for trainings that processes share: ${file}`;
  return "no addon for trainings that processes share: npm run build:mpi in the repository makes one";
}

async function whereabouts({ fashionMnist, ResNetError }: typeof Library): Promise<string> {
  try {
    return (await fashionMnist({ download: false })).source;
  } catch (error) {
    if (!(error instanceof ResNetError) || error.code !== "ERR_DATA_NOT_FOUND") throw error;
    return "not on this machine: training downloads it, 31 MB; --sample trains without it";
  }
}

/** Some steps of a small network on one batch, whose loss must fall. */
async function train({ CifarResNet, fashionMnist, sgd, Trainer }: typeof Library): Promise<string> {
  using model = new CifarResNet({ depth: 20 });
  const { value: batch } = await (await fashionMnist({ source: "sample" })).train.batches({ batchSize: 32 }).next();
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.05 }) });
  const losses: number[] = [];
  const step = async () => losses.push((await trainer.step(batch!.images, batch!.labels)).loss);
  const times = await timed(SECONDS, step);
  const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
  const story = `${losses.length} steps of a ResNet-20, loss ${first.toFixed(3)} to ${last.toFixed(3)}`;
  if (!(last < first)) throw new Failure("ERR_SELF_TEST", `${story}: expected it to fall`);
  const speed = (32 * times.length) / times.reduce((sum, time) => sum + time, 0);
  return `${story}, ${Math.round(speed).toLocaleString("en")} images/s`;
}

function mark(ok: boolean): string {
  return ok ? painted(process.stdout, 32, "✓") : painted(process.stdout, 31, "✗");
}
