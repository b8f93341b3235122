"""Tries the CUDA backend on a machine with a GPU: is it right, is it clean, is it fast, does it learn.

    bash run.sh [--out FOLDER] [--budget SECONDS] [--parts correctness,speed,accuracy] [--without-gpu]

Each step has a time limit of its own, and none goes beyond the budget. After each, FOLDER (default out) has results.json, summary.md
and logs of all steps, at the end in one archive. It ends with 0 if all steps passed, 1 if one failed, 3 if no GPU can be used. With --without-gpu the steps are but
tried, short, on what there is: kernels compiled for the processor.
"""

import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

KIT = os.path.dirname(os.path.abspath(__file__))
MANIFEST = json.load(open(os.path.join(KIT, "manifest.json")))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out")
    parser.add_argument("--budget", type=float, default=840)
    parser.add_argument("--parts", default="correctness,speed,accuracy")
    parser.add_argument("--without-gpu", action="store_true")
    return parser.parse_args()


def libraries():
    """Folders with cuDNN and what it needs, of Python's packages, wherever they are installed."""
    places = [place for place in sys.path if place.endswith("-packages")]
    places += glob.glob("/opt/*/.venv/lib/python3*/site-packages") + glob.glob("/opt/*/lib/python3*/site-packages")
    places += glob.glob("/usr/local/lib/python3*/*-packages") + glob.glob("/root/*/lib/python3*/site-packages")
    found = [place for place in dict.fromkeys(places) if os.path.isdir(f"{place}/nvidia/cudnn/lib")][:1]
    # As crates/resnet-ops/src/cuda/cudnn/library.rs looks for cuBLASLt.
    folders = [f"{place}/nvidia/{name}/lib" for place in found for name in ("cudnn", "cublas", "cu13")]
    return [folder for folder in folders if os.path.isdir(folder)] + glob.glob("/usr/local/cuda*/lib64")


def tool(name):
    places = [os.environ.get("CUDA_HOME", ""), *sorted(glob.glob("/usr/local/cuda*"), reverse=True)]
    places = [os.path.join(place, "bin", name) for place in places if place] + glob.glob(f"/opt/nvidia/*/*/{name}")
    return shutil.which(name) or next((place for place in places if os.access(place, os.X_OK)), None)


def python_with_torch():
    candidates = [sys.executable, *glob.glob("/opt/*/.venv/bin/python3"), *glob.glob("/opt/*/bin/python3")]
    for candidate in candidates:
        try:
            if subprocess.run([candidate, "-c", "import torch"], capture_output=True, timeout=60).returncode == 0:
                return candidate
        except (OSError, subprocess.TimeoutExpired):
            pass
    return None


class Kit:
    """Runs steps one after the other, and keeps what became of them."""

    def __init__(self, options):
        self.options, self.began, self.results = options, time.monotonic(), []
        self.out = os.path.abspath(options.out)
        self.logs = os.path.join(self.out, "logs")
        os.makedirs(self.logs, exist_ok=True)
        path = [*libraries(), os.environ.get("LD_LIBRARY_PATH", "")]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, path)), "RESNET_NATIVE_TESTS_TELL": "1"}
        # What tests run beside the GPU is to say nothing of a machine's driver where none is wanted.
        self.environment["RESNET_NATIVE_TESTS_GPU"] = "0" if options.without_gpu else "1"
        self.environment["RESNET_NATIVE_ADDON"] = os.path.join(KIT, "resnet.node")

    def step(self, part, name, limit, command, missing=None):
        left = self.options.budget - (time.monotonic() - self.began)
        result = {"part": part, "step": name, "limit": min(limit, max(left, 0))}
        if missing:
            result |= {"status": "skipped", "why": missing}
        elif left < 5:
            result |= {"status": "skipped", "why": "no time left"}
        else:
            result |= self.run(name, command, result["limit"])
        # The program's own word for a machine without a GPU.
        if result.get("code") == 3 and result.get("told"):
            result["why"] = result["told"][0]["why"]
            result["status"] = "passed" if self.options.without_gpu else "failed"
        self.results.append(result)
        self.write()
        line = f"{result['status']:8} {result.get('seconds', 0):7.1f} s  {name}"
        print(line + (f": {result['why']}" if "why" in result else ""), flush=True)
        return result

    def run(self, name, command, limit):
        log = os.path.join(self.logs, re.sub(r"\W+", "-", name) + ".log")
        began = time.monotonic()
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=self.environment, cwd=KIT, start_new_session=True)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
        result = {"seconds": round(time.monotonic() - began, 2), "log": os.path.basename(log)}
        with open(log, errors="replace") as file:
            result |= told(file.read())
        if code is None:
            result |= {"status": "timeout", "why": f"not done in {limit:.0f} s"}
        elif code != 0:
            result |= {"status": "failed", "code": code, "why": reason(log, code)}
        else:
            result["status"] = "passed"
        return result

    def pack(self):
        """Logs as one file, since some ways home are narrow."""
        shutil.make_archive(self.logs, "gztar", self.logs)
        shutil.rmtree(self.logs)

    def write(self):
        with open(os.path.join(self.out, "results.json"), "w") as file:
            json.dump({"kit": MANIFEST, "withoutGpu": self.options.without_gpu, "steps": self.results}, file, indent=1)
        with open(os.path.join(self.out, "summary.md"), "w") as file:
            file.write(summary(self.options.without_gpu, self.results))


def told(text):
    """What a log has for a machine: lines of JSON, tests, the worst distances."""
    result = {}
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass
    if lines:
        result["told"] = lines
    totals = re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed", text)
    single = re.findall(r"^test (\S+) \.\.\. (ok|FAILED)", text, re.M)
    if totals or single:
        failed = sorted({name for name, outcome in single if outcome == "FAILED"})
        passed = sum(int(a) for a, _ in totals) if totals else sum(outcome == "ok" for _, outcome in single)
        result |= {"tests": {"passed": passed, "failed": failed}}
    distances = re.findall(r"^distance (\S+) of what is allowed: (.*)$", text, re.M)
    if distances:
        worst = sorted(((float(distance), of) for distance, of in distances), reverse=True)[:12]
        result["distances"] = {"count": len(distances), "worst": [{"ratio": a, "of": b[:200]} for a, b in worst]}
    errors = re.findall(r"ERROR SUMMARY: (\d+) error", text)
    if errors:
        result["sanitizerErrors"] = sum(map(int, errors))
    return result


def reason(log, code):
    with open(log, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    panics = [line for line in lines if "panicked at" in line or line.startswith(("error", "Error"))]
    return f"ended with {code}: {(panics[:1] or lines[-1:] or ['said nothing'])[0][:300]}"


def summary(without_gpu, results):
    """One page for a person."""
    lines = ["# What the GPU kit found", ""]
    if without_gpu:
        lines += ["**Tried without a GPU**: this says that the kit works, and nothing of a GPU.", ""]
    lines += ["| part | step | | seconds | |", "|---|---|---|---|---|"]
    for result in results:
        notes = [result["why"]] if "why" in result else []
        if "tests" in result:
            tests = result["tests"]
            notes.append(f"{tests['passed']} tests passed" + (f", failed: {', '.join(tests['failed'])}" if tests["failed"] else ""))
        if "distances" in result:
            worst = result["distances"]["worst"][0]
            notes.append(f"largest distance {worst['ratio']:.2g} of what is allowed")
        if "sanitizerErrors" in result:
            notes.append(f"{result['sanitizerErrors']} errors")
        row = [result["part"], result["step"], result["status"], f"{result.get('seconds', 0):.1f}", "; ".join(notes)]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    timed = [line for result in results for line in result.get("told", []) if "ms" in line]
    if timed:
        lines += ["", "| network | whose | how | ms a step | images/s |", "|---|---|---|---|---|"]
        for line in timed:
            whose, how = ("PyTorch", line["configuration"]) if "configuration" in line else ("ours", line["precision"])
            speed = round(1000 * line["batch"] / line["ms"])
            lines.append(f"| {line['network']} | {whose} | {how} | {line['ms']:.3f} | {speed} |")
    rows = [line for result in results for line in result.get("told", []) if "epoch" in line]
    if rows:
        lines += ["", "| device | precision | epoch | loss | validation accuracy | seconds |", "|---|---|---|---|---|---|"]
        for row in rows:
            cells = [row["device"], row["precision"], row["epoch"], row["loss"], row["validationAccuracy"], row["seconds"]]
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def correctness(kit):
    tests = {name: [os.path.join(KIT, name)] for name in ("ops", "ops-unit", "core-unit", "networks")}
    one = ["--test-threads=1"]

    def run(name, limit, binary, *words):
        # Without a GPU the kernels run on the processor, where all of them take minutes.
        short = {"kernels": ["kernels::relu"], "other ops": ["capture"], "fit and plans": ["fit::a_gpu"], "networks against PyTorch": ["d2l_cifar"]}
        words = short.get(name, words) if kit.options.without_gpu else words
        kit.step("correctness", name, limit, [*tests[binary], *one, *words])

    run("captured work", 60, "ops", "capture::")
    run("kernels", 240, "ops", "kernels::")
    run("other ops", 120, "ops", "--skip", "kernels::", "--skip", "gradients::", "--skip", "cudnn_plans::", "--skip", "winograd::")
    run("fit and plans", 120, "networks", "fit::", "plan::", "optimizers::", "finite::", "frozen::")
    run("core", 120, "core-unit", "session::", "engine::tests", "resident", "loss::", "optimizer::", "captured")
    run("networks against PyTorch", 240, "networks", "parity::", "--skip", "every_kernel")
    sanitizer = tool("compute-sanitizer")
    for check in ("memcheck", "racecheck", "synccheck"):
        command = [sanitizer, "--tool", check, "--error-exitcode", "9", *tests["ops"], *one, "kernels::", "--skip", "conv2d"]
        missing = "no GPU" if kit.options.without_gpu else None if sanitizer else "there is no compute-sanitizer"
        kit.step("correctness", f"compute-sanitizer {check}", 90, command, missing)


def speed(kit):
    without = kit.options.without_gpu
    small = ["--device", "cpu", "--batch", "8", "--size", "32", "--steps", "2"]
    gpu, python = os.path.join(KIT, "gpu"), python_with_torch()

    def ours(turn, network="resnet18", precisions=("bf16", "tf32", "fp32"), more=()):
        for precision in precisions:
            command = [gpu, "train", "--network", network, "--precision", precision, *more, *(small if without else [])]
            kit.step("speed", f"{network} {precision}, turn {turn}", 60, command)

    def peer(names):
        only = ["--only", "fp32", *small] if without else ["--only", names]
        command = [python, os.path.join(KIT, "torch_gpu.py"), *only]
        kit.step("speed", f"PyTorch {names}", 150, command, None if python else "there is no PyTorch")

    ours(1)
    peer("amp_channels_last,amp_channels_last_graph,fp32,tf32,amp")
    ours(2, precisions=("bf16",) if without else ("bf16", "tf32", "fp32"))
    ours(1, "resnext18", ("bf16",))
    ours(1, "resnet50", ("bf16",), () if without else ("--size", "224", "--channels", "3", "--batch", "64", "--steps", "30"))
    if not without:
        peer("amp_channels_last_max_autotune")
    profiler = tool("nsys")
    command = [profiler, "profile", "--stats=true", "-o", os.path.join(kit.out, "step"), gpu, "train", "--precision", "bf16", "--steps", "20"]
    kit.step("speed", "kernel profile", 90, command, "no GPU" if without else None if profiler else "there is no nsys")


def accuracy(kit):
    node, program = os.path.join(KIT, "node"), os.path.join(KIT, "accuracy.mjs")
    runs = [("cpu", "fp32", 1, 60)] if kit.options.without_gpu else [("cuda", "bf16", 3, 90), ("cuda", "fp32", 1, 60), ("cpu", "fp32", 1, 240)]
    for device, precision, epochs, limit in runs:
        count = ["256"] if kit.options.without_gpu else []
        kit.step("accuracy", f"Fashion-MNIST, {device} {precision}", limit, [node, program, device, precision, str(epochs), *count])


def lead(where, tree):
    """Has a place lead to the kit's tree: tests read fixtures where they were built. What is there stays, but for links of other kits."""
    kits = os.path.exists(os.path.join(os.path.realpath(where), "..", "manifest.json"))
    if os.path.islink(where) and (kits or not os.path.exists(where)):
        os.unlink(where)
    if not os.path.lexists(where):
        os.makedirs(os.path.dirname(where), exist_ok=True)
        os.symlink(tree, where)


def main():
    kit = Kit(options())
    lead(MANIFEST["builtAt"], os.path.join(KIT, "tree"))
    kit.step("machine", "nvidia-smi", 30, ["nvidia-smi"], None if shutil.which("nvidia-smi") else "there is none")
    kit.step("machine", "Node's program and the addon", 30, [os.path.join(KIT, "node"), os.path.join(KIT, "doctor.mjs")])
    found = kit.step("machine", "probe", 60, [os.path.join(KIT, "gpu"), "probe"])
    if found["status"] != "passed":
        print(f"no GPU can be used: {found['why']}")
        kit.pack()
        sys.exit(3)
    for part in kit.options.parts.split(","):
        {"correctness": correctness, "speed": speed, "accuracy": accuracy}[part](kit)
    failed = [result["step"] for result in kit.results if result["status"] in ("failed", "timeout")]
    kit.pack()
    print(f"{len(kit.results)} steps, {len(failed)} failed; {os.path.join(kit.out, 'summary.md')}")
    sys.exit(1 if failed else 0)


main()
