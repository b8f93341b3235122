// What users could pick instead, each as a side of `npm run bench`, and where each is found.
//
//   RESNET_NATIVE_PYTHON      a Python with torch and numpy, torchvision (resnet50), onnx and onnxscript (ONNX Runtime, OpenVINO), openvino,
//                             onnxruntime (int8);
//                             default python3
//   RESNET_NATIVE_TF_PYTHON   a Python with tensorflow and keras, default the one above
//   RESNET_NATIVE_ORT         the folder where onnxruntime-node is installed, default the working folder

import { resolve } from "node:path";
import { workloads } from "./networks.mjs";
import { Peer } from "./peer.mjs";
import { nativeSide, peerFile, workload } from "./turns.mjs";

const python = process.env["RESNET_NATIVE_PYTHON"] || "python3";
const tensorflowPython = process.env["RESNET_NATIVE_TF_PYTHON"] || python;
const runtime = resolve(process.env["RESNET_NATIVE_ORT"] || ".");

/** glibc keeps what is freed instead of giving it back to the system, so that no page is faulted in twice. */
const KEEP_MEMORY = { MALLOC_MMAP_MAX_: "0", MALLOC_TRIM_THRESHOLD_: String(2 ** 33), MALLOC_TOP_PAD_: String(2 ** 28) };

export const TORCH = "a Python with torch and numpy: RESNET_NATIVE_PYTHON";
const OPENVINO = "a Python with torch, onnx, onnxscript, onnxruntime for int8, and openvino: RESNET_NATIVE_PYTHON";
const ORT = "a folder with onnxruntime-node: RESNET_NATIVE_ORT; a Python with torch, onnx, onnxscript and, for int8, onnxruntime: RESNET_NATIVE_PYTHON";
const everywhere = Object.keys(workloads);

/** By the word that `--peers` takes: its name, the runs and networks that it is compared in, what it needs, and a side that it is. */
export const peers = {
  eager: { name: "PyTorch", runs: ["train", "predict", "latency"], networks: everywhere, needs: TORCH, start: torch() },
  channels_last: {
    name: "PyTorch channels_last",
    runs: ["train", "predict", "latency"],
    networks: everywhere,
    needs: TORCH,
    start: torch(["--channels-last"]),
  },
  compiled: {
    name: "PyTorch compiled, channels_last, malloc",
    runs: ["train", "predict"],
    networks: everywhere,
    needs: TORCH,
    start: torch(["--channels-last", "--compile"], KEEP_MEMORY),
  },
  bf16: {
    name: "PyTorch bf16, channels_last",
    runs: ["train", "predict", "latency"],
    networks: everywhere,
    needs: TORCH,
    start: torch(["--channels-last", "--bf16"]),
  },
  bf16_compiled: {
    name: "PyTorch bf16 compiled, channels_last, malloc",
    runs: ["train", "predict"],
    networks: everywhere,
    needs: TORCH,
    start: torch(["--channels-last", "--compile", "--bf16"], KEEP_MEMORY),
  },
  keras: {
    name: "Keras on TensorFlow",
    runs: ["train", "predict"],
    networks: ["resnet18"],
    needs: "a Python with tensorflow and keras: RESNET_NATIVE_TF_PYTHON",
    start: (name, options) => new Peer(name, tensorflowPython, [peerFile("keras_step.py"), ...workload(options)]),
  },
  onnx: { name: "ONNX Runtime", runs: ["predict", "latency"], networks: everywhere, needs: ORT, start: onnxRuntime("f32") },
  onnx_int8: { name: "ONNX Runtime int8", runs: ["predict", "latency"], networks: everywhere, needs: ORT, start: onnxRuntime("int8") },
  openvino: { name: "OpenVINO f32", runs: ["predict", "latency"], networks: everywhere, needs: OPENVINO, start: openvino("f32") },
  openvino_bf16: { name: "OpenVINO bf16", runs: ["predict", "latency"], networks: everywhere, needs: OPENVINO, start: openvino("bf16") },
  openvino_int8: { name: "OpenVINO int8", runs: ["predict", "latency"], networks: everywhere, needs: OPENVINO, start: openvino("int8") },
  own_fp32: {
    name: "resnet-native fp32",
    runs: ["train", "predict", "latency"],
    networks: everywhere,
    needs: "nothing else",
    start: (name, options) => nativeSide(name, { ...options, network: workloads[options.network].network, precision: "fp32" }),
  },
};

/** PyTorch's convolutions, layer by layer; memory is kept, so that kernels are compared and not page faults. */
export function torchLayers({ threads, batch }) {
  const args = [peerFile("torch_layers.py"), "--threads", String(threads), "--batch", String(batch)];
  return new Peer("PyTorch", python, args, KEEP_MEMORY);
}

/** The same fine-tuning in PyTorch. */
export function torchTransfer({ folder, threads, recipe }) {
  const args = [peerFile("torch_transfer.py"), "--folder", folder, "--threads", String(threads), "--recipe", JSON.stringify(recipe)];
  return new Peer("PyTorch", python, args);
}

/** The recipe of a record in PyTorch. */
export function torchRecord({ threads, recipe }) {
  const args = [peerFile("torch_record.py"), "--threads", String(threads), "--recipe", JSON.stringify(recipe)];
  return new Peer("PyTorch", python, args, KEEP_MEMORY);
}

function torch(flags = [], environment = {}) {
  return (name, options) => new Peer(name, python, [peerFile("torch_step.py"), ...workload(options), ...flags], environment);
}

function onnxRuntime(precision) {
  const own = ["--runtime", runtime, "--python", python, "--precision", precision];
  return (name, options) => new Peer(name, process.execPath, [peerFile("onnx_step.mjs"), ...workload(options), ...own]);
}

function openvino(precision) {
  return (name, options) => new Peer(name, python, [peerFile("openvino_step.py"), ...workload(options), "--precision", precision]);
}
