"""PyTorch's convolutions, channels_last, for `npm run bench -- layers` and `-- groups`.

Reads one request a line on stdin and answers with one line of JSON on stdout:

    {"layers": [{"channels": [IN, OUT], "kernel": K, "stride": S, "groups": G, "size": HEIGHT, "gflop": ...}], "runs": R}
    -> {"layers": [{"forward": GF/s, "inputGradient": GF/s or null, "weightGradient": GF/s}]}, medians of R runs

The first line, before any request, tells versions and threads. Written for Python 3.11 with PyTorch 2.13.
"""

import argparse
import json
import platform
import statistics
import sys
import time

import torch

import side


def median_seconds(runs, call):
    """Of a call, after one that is not counted."""
    call()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure(layer, batch, runs):
    """GF/s of the three passes; an image of one channel has no gradient, as in the networks."""
    (inputs, outputs), kernel, groups = layer["channels"], layer["kernel"], layer["groups"]
    settings = ([layer["stride"]] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], groups)
    noise = lambda *shape: (torch.rand(shape) - 0.5).contiguous(memory_format=torch.channels_last)
    x, weight = noise(batch, inputs, layer["size"], layer["size"]), noise(outputs, inputs // groups, kernel, kernel)
    bias = torch.rand(outputs)
    forward = lambda: torch.ops.aten.convolution(x, weight, bias, *settings)
    dy = torch.rand_like(forward())
    backward = lambda *mask: torch.ops.aten.convolution_backward(dy, x, weight, [outputs], *settings, [*mask, False])
    passes = {"forward": forward, "weightGradient": lambda: backward(False, True)}
    if inputs > 1:
        passes["inputGradient"] = lambda: backward(True, False)
    return {"inputGradient": None} | {name: layer["gflop"] / median_seconds(runs, call) for name, call in passes.items()}


def main():
    parser = argparse.ArgumentParser(description="PyTorch's convolutions, layer by layer")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    side.write({"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()})
    with torch.no_grad():
        for line in sys.stdin:
            request = json.loads(line)
            side.write({"layers": [measure(layer, options.batch, request["runs"]) for layer in request["layers"]]})


if __name__ == "__main__":
    main()
