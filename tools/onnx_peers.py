"""Holds exported ONNX files of every named network, in both flavors, against other programs that read them.

    python -m venv onnxvenv && onnxvenv/bin/pip install onnx onnxruntime openvino numpy
    npm run build && onnxvenv/bin/python tools/onnx_peers.py [PART OF A NAME…]

Tried with onnx 1.23, onnxruntime 1.32, OpenVINO 2026.4, on CPUs. Each network has random weights, some steps of training behind it, so that
norms have statistics, and images of 64x64 (CIFAR's networks 32x32, GoogLeNet 96x96). It is exported with folded norms, with norms
as they are, and as fp16. Of each file

- onnx's full check must pass, which infers every shape and compares it with the one in the file;
- the nodes' names must differ, and without folding the tensors' names must be those of the state dict;
- ONNX Runtime and OpenVINO, the latter told to compute in f32, must give our logits: the largest difference, divided by the largest logit,
  is at most 1e-4, and of fp16 files at most 1e-2; 1e-1 of pre-activation networks, through whose depth sums go without a norm, so that with
  random weights every rounding grows (in fp32 too, to some 6e-5).

Prints a table of these differences, and exits with 1 if something is beyond its bound.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino

ROOT = Path(__file__).resolve().parent.parent
FILES = ("folded", "kept", "fp16")
MAKE = """
const [library, name, flavor, folder, size] = process.argv.slice(1);
const { CifarResNet, GoogLeNet, ResNet, sgd, tensor, Trainer } = await import(library);
const { writeFileSync } = await import("node:fs");
const options = { inChannels: 3, numClasses: 10, seed: 7, device: "cpu", ...(flavor !== "-" && { flavor }) };
const depth = /^cifar_resnet(\\d+)$/.exec(name)?.[1];
const model = name === "googlenet" ? new GoogLeNet(options) : depth ? new CifarResNet({ depth: Number(depth), ...options }) : new ResNet(name, options);
const shape = [4, 3, Number(size), Number(size)];
let state = 1;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
const images = () => tensor(Float32Array.from({ length: 12 * size * size }, () => 4 * random()), shape);
const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.001 }) });
for (let step = 0; step < 6; step++) await trainer.step(images(), [0, 3, 5, 9]);
const given = images();
const { data } = await model.predict(given);
writeFileSync(`${folder}/images`, given.data);
writeFileSync(`${folder}/logits`, data);
writeFileSync(`${folder}/names`, JSON.stringify([...(await model.stateDict()).keys()]));
await model.exportOnnx(`${folder}/folded.onnx`, { shape });
await model.exportOnnx(`${folder}/kept.onnx`, { shape, foldNorms: false });
await model.exportOnnx(`${folder}/fp16.onnx`, { shape, precision: "fp16" });
"""


def networks():
    """Names with their flavor and the size of their images."""
    library = json.dumps((ROOT / "dist/index.js").as_uri())
    script = f"const {{ resNetNames }} = await import({library}); console.log(JSON.stringify(resNetNames))"
    names = json.loads(subprocess.check_output(["node", "--input-type=module", "-e", script]))
    for flavor in ("d2l", "torchvision"):
        for name in names:
            yield name, flavor, 64
        for depth in (20, 110):
            yield f"cifar_resnet{depth}", flavor, 32
    yield "googlenet", "-", 96


def bound_of(file, name):
    if file != "fp16":
        return 1e-4
    return 1e-1 if name.startswith("preact") else 1e-2


def check_file(path, names, kept):
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path).graph
    nodes = [node.name for node in graph.node]
    assert len(set(nodes)) == len(nodes) and all(nodes), "names of nodes that are missing or twice"
    tensors = [tensor.name for tensor in graph.initializer]
    assert not kept or sorted(tensors) == sorted(names), "tensors with other names than the state dict's"
    described = {value.name for value in [*graph.value_info, *graph.output]}
    assert all(output in described for node in graph.node for output in node.output), "values without a shape"
    return len(nodes)


def runtime(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


def vino(path, images):
    core = openvino.Core()
    # Its default is bf16 where the CPU has that.
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model({"images": images})["logits"]


def measure(name, flavor, size, folder):
    library = (ROOT / "dist/index.js").as_uri()
    subprocess.check_call(["node", "--input-type=module", "-e", MAKE, library, name, flavor, str(folder), str(size)])
    images = np.fromfile(folder / "images", np.float32).reshape(4, 3, size, size)
    logits = np.fromfile(folder / "logits", np.float32).reshape(4, 10)
    names = json.loads((folder / "names").read_text())
    largest = float(np.abs(logits).max())
    row, beyond = [f"{name} {flavor}", f"{largest:.3g}"], []
    for file in FILES:
        path, bound = folder / f"{file}.onnx", bound_of(file, name)
        nodes = check_file(path, names, file == "kept")
        for run in (runtime, vino):
            found = float(np.abs(run(path, images) - logits).max()) / largest
            row.append(f"{found:.1e}")
            if not found <= bound:
                beyond.append(f"{name} {flavor}: {file}, {run.__name__}: {found:.2e}, at most {bound:.0e}")
        if file == "folded":
            row.insert(2, str(nodes))
        path.unlink()
    return row, beyond


def main():
    wanted = sys.argv[1:]
    print("| network | largest logit | nodes | folded: ORT | OpenVINO | kept: ORT | OpenVINO | fp16: ORT | OpenVINO |")
    print("|---|---|---|---|---|---|---|---|---|")
    failures, count = [], 0
    for name, flavor, size in networks():
        if wanted and not any(part in f"{name} {flavor}" for part in wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            row, beyond = measure(name, flavor, size, Path(folder))
        print("|", " | ".join(row), "|", flush=True)
        failures += beyond
        count += 1
    print(f"{count} networks, {3 * count} files")
    for failure in failures:
        print(failure)
    sys.exit(1 if failures or count == 0 else 0)


if __name__ == "__main__":
    main()
