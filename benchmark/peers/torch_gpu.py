"""PyTorch's training step on a GPU with what it offers switched on, a line of JSON for each configuration.

    python3 torch_gpu.py [--network resnet18] [--batch 128] [--size 96] [--steps 100] [--device cuda] [--only NAME,NAME]

The images stay on the device. `ms` is the median of a step. With --device cpu it is but tried.
"""

import argparse
import json
import statistics
import time

import torch
from torch.nn import functional as F

import torch_networks

CONFIGURATIONS = {
    "fp32": {},
    "tf32": {"tf32": True},
    "amp": {"tf32": True, "amp": True},
    "amp_channels_last": {"tf32": True, "amp": True, "channels_last": True},
    "amp_channels_last_graph": {"tf32": True, "amp": True, "channels_last": True, "graph": True},
    "amp_channels_last_max_autotune": {"tf32": True, "amp": True, "channels_last": True, "compiled": "max-autotune"},
}


def measure(options, tf32=False, amp=False, channels_last=False, graph=False, compiled=None):
    device, is_gpu = options.device, options.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if channels_last else torch.contiguous_format
    channels = 3 if options.network == "resnet50" else 1
    network = torch_networks.build(options.network, channels).to(device, memory_format=layout)
    images = torch.rand(options.batch, channels, options.size, options.size, device=device)
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (options.batch,), device=device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, fused=is_gpu)
    forward = torch.compile(network, mode=compiled) if compiled else network

    def step():
        optimizer.zero_grad(set_to_none=not graph)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=amp):
            loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()

    wait = torch.cuda.synchronize if is_gpu else lambda: None
    run = step
    if graph:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(5):
                step()
        wait()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        run = captured.replay
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(10 if is_gpu else 1):
        run()
    wait()
    times = []
    for _ in range(options.steps):
        began = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() >> 20 if is_gpu else 0
    return {"ms": round(1000 * statistics.median(times), 3), "peakMiB": peak}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default=",".join(CONFIGURATIONS))
    options = parser.parse_args()
    for name in options.only.split(","):
        line = {"network": options.network, "configuration": name, "batch": options.batch, "torch": torch.__version__}
        try:
            line |= measure(options, **CONFIGURATIONS[name])
        except Exception as error:  # One that fails must not hide the others.
            line["error"] = str(error)[:300]
        print(json.dumps(line), flush=True)


main()
