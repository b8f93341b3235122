"""Writes crates/resnet-core/tests/fixtures/networks/*.safetensors: what PyTorch computes for each network.

    python3 tools/pytorch_fixtures.py                      every fixture (about four minutes on two cores)
    python3 tools/pytorch_fixtures.py d2l_resnet18 …       these alone

Python 3.11, torch 2.13.0, torchvision 0.28.0, timm 1.0.31, numpy 2, safetensors. The networks are those of
tools/networks.py. The test `crates/resnet-core/tests/parity` computes the same quantities and compares. Weights and
images are not stored: both sides draw them from a hash of their names.

THE HASH. bits(NAME, i) = splitmix64(fnv1a64(NAME) + (i + 1) * 0x9E3779B97F4A7C15), all in wrapping 64-bit integers,
with fnv1a64 over NAME's UTF-8 bytes and splitmix64 the three-line finaliser. unit(NAME, i) = (bits >> 11) / 2^53 lies
in [0, 1) and u = 2 * unit - 1 in [-1, 1), both exact in f64. Every number below is worked out in f64 in the order
written, rounded once to f32, and used from there, so that f32 and f64 runs start from identical numbers. NAME is the
state-dict name:

    convolution or linear weight   sqrt(6 / (fan_in + fan_out)) * u, fan_in = in / groups * k * k, fan_out = out * k * k
    convolution or linear bias     0.1 * u
    batch norm weight, bias        0.5 + 0.1 * u, copysign(0.9, u) + 0.4 * u
    running_mean, running_var      0.1 * u, 1 + 0.3 * u
    images of batch B              unit("images.B", i)
    labels of batch B              floor(10 * unit("labels.B", i))

TIES. Where a ReLU's input is nearly zero or a max-pool's two largest values are nearly equal, a rounding changes
which way the gradient goes, and an f32 run's distance from f64 becomes luck, a thousand times larger when it happens.
Hence the biases of the batch norms, which keep most values two deviations away from zero. And each step takes the
first batch, of a number of candidates, whose closest tie is at least FAR roundings wide (FAR_IF_SMALL, if the network
is small), or else the one whose is the widest; a rounding being the root mean square, over the tensor, of the
difference between an f32 and an f64 run. The learning rate is small for the same reason: so small a batch makes larger
steps chaotic, and they multiply roundings by a thousand.

THE TENSORS, all from a run in f64. Parameters are in canonical order: that in which the layers run, a shortcut's
after its block's body. Of a parameter's gradient and of a running statistic SAMPLES entries are stored, entry j being
the one at bits("index." + NAME, j) mod length, and the root mean square of all of them.

    shape, lr, parameters  (I64, F64, I64)    of the images (N, C, H, W); learning rate; how many numbers are learnt
    batches                (I64)              the numbers of the steps' batches
    gradients              (P, SAMPLES)       gradient of the first step's loss by each parameter
    gradients.rms          (P)
    losses                 (steps)            loss of each step of SGD (momentum 0.9, weight decay 1e-4), before its update:
                                              two of a small network, one of a large one
    logits                 (N, 10)            after them, of batch 0 in evaluation mode
    running                (R, SAMPLES)       running statistics after them
    running.rms            (R)
    distances              (7)                PyTorch f32's own distances, in the order of DISTANCES: the largest over runs
                                              with 1 and 2 threads, (N, C, H, W) and channels-last storage, with and
                                              without oneDNN

THE DISTANCES of a result a from the f64 result b:

    losses, logits                         |a - b| / |b| in L2 norms
    gradients, running                     root mean square of (a - b) / r over all rows, r being the row's rms in b
    gradients.rms, running.rms             root mean square of (a - b) / b
    vanishing                              root mean square of a's gradients.rms over the rows that are zero in exact
                                           arithmetic, such as the bias of a convolution before a batch norm; divided by
                                           that of all of b's. They are those of b below VANISHING times the latter.
                                           `gradients` and `gradients.rms` leave these rows out.
"""

import argparse
import copy
import itertools
import platform
import re
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from networks import CLASSES, NETWORKS
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

TARGET = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/networks"
DISTANCES = ("gradients", "gradients.rms", "vanishing", "losses", "logits", "running", "running.rms")
LR = 1e-4
SAMPLES = 4
VANISHING = 1e-9
FAR = 5.0
CANDIDATES = 64
# Up to this many parameters a network is small: two steps take little time, and ties are so few that batches have none even for
# kernels that round more than PyTorch's.
SMALL = 12_000_000
FAR_IF_SMALL = 20.0
# One network of each kind of block a second time, in a shape for which the kernels of large maps are chosen.
LARGER = {
    "d2l_resnet18": (5, 96, 96),
    "d2l_resnet50": (4, 64, 64),
    "d2l_resnext18": (4, 64, 64),
    "d2l_preactresnet18": (4, 64, 64),
    "d2l_googlenet": (4, 64, 64),
}


def bits(name, count):
    """`count` hashed 64-bit integers."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def unit(name, count):
    """`count` hashed numbers in [0, 1)."""
    return (bits(name, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hashed(layer, name, like):
    """The value that a layer's parameter or running statistic starts from."""
    u = 2.0 * unit(name, like.numel()) - 1.0
    kind = name.rpartition(".")[2]
    if kind == "running_mean":
        values = 0.1 * u
    elif kind == "running_var":
        values = 1.0 + 0.3 * u
    elif isinstance(layer, nn.BatchNorm2d):
        values = 0.5 + 0.1 * u if kind == "weight" else np.copysign(0.9, u) + 0.4 * u
    elif kind == "bias":
        values = 0.1 * u
    else:
        window = like[0, 0].numel()
        values = np.sqrt(6.0 / ((like.shape[1] + like.shape[0]) * window)) * u
    return torch.from_numpy(values.astype(np.float32)).reshape(like.shape)


def start(network):
    """Sets every parameter and running statistic to its hashed value."""
    for path, layer in network.named_modules():
        own = itertools.chain(layer.named_parameters(recurse=False), layer.named_buffers(recurse=False))
        for kind, value in own:
            if value.dim() > 0:
                value.data.copy_(hashed(layer, f"{path}.{kind}", value))
    return network


def batch(name, shape, dtype):
    """A batch's images and labels."""
    images = unit(f"images.{name}", int(np.prod(shape))).astype(np.float32)
    labels = np.floor(CLASSES * unit(f"labels.{name}", shape[0])).astype(np.int64)
    return torch.from_numpy(images).reshape(shape).to(dtype), torch.from_numpy(labels)


def canonical(named):
    """Names and tensors in canonical order. (timm registers a shortcut before its block's body.)"""
    blocks = itertools.groupby(named, key=lambda item: re.match(r"((layer|stages\.)\d+\.(blocks\.)?\d+\.)?", item[0])[0])
    return [item for _, block in blocks for item in sorted(block, key=lambda item: "downsample" in item[0])]


def sampled(named):
    """Samples of tensors, and their root mean squares."""
    flat = [(name, value.detach().double().contiguous().reshape(-1).numpy()) for name, value in canonical(named)]
    indices = [(bits(f"index.{name}", SAMPLES) % np.uint64(values.size)).astype(np.int64) for name, values in flat]
    rows = [values[index] for index, (_, values) in zip(indices, flat)]
    return np.array(rows), np.array([np.sqrt(np.square(values).mean()) for _, values in flat])


def tied(network, images):
    """For each ReLU and max-pool: its input, and how far the closest of its values is from changing the gradient's way."""
    found = []

    def relu(_, inputs):
        found.append((inputs[0].clone(), inputs[0].abs().min().item()))

    def max_pool(module, inputs):
        padded = F.pad(inputs[0], 4 * (module.padding,), value=-torch.inf).flatten(0, 1)[:, None]
        windows = F.unfold(padded, module.kernel_size, stride=module.stride)
        first, second = windows.topk(2, dim=1).values.unbind(1)
        gaps = first - second
        # Equal ones are what convolutions make of zeros: wherever the gradient goes, it ends there.
        found.append((inputs[0].clone(), gaps[gaps > 0].min().item()))

    hooks = {nn.ReLU: relu, nn.MaxPool2d: max_pool}
    handles = [m.register_forward_pre_hook(hooks[type(m)]) for m in network.modules() if type(m) in hooks]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return found


def size(network):
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def choose(network, step, shape):
    """The number of the batch that a step takes."""
    exact, rounded = copy.deepcopy(network), copy.deepcopy(network).float()
    first = 1 + step * CANDIDATES
    images, _ = batch(first, shape, torch.float64)
    pairs = zip(tied(exact, images), tied(rounded, images.float()))
    roundings = [(a - b).square().mean().sqrt().item() for (a, _), (b, _) in pairs]
    far = FAR_IF_SMALL if size(network) <= SMALL else FAR
    widest = {}
    for number in range(first, first + CANDIDATES):
        found = tied(rounded, batch(number, shape, torch.float32)[0])
        widest[number] = min(gap / rounding for (_, gap), rounding in zip(found, roundings))
        if widest[number] >= far:
            break
    number = max(widest, key=widest.get)
    print(f"  step {step + 1} takes batch {number}: its closest tie is {widest[number]:.2g} roundings wide", flush=True)
    return number


def run(network, dtype, shape, batches=None, memory_format=torch.contiguous_format):
    """Every quantity; chooses the batches if none are given."""
    network = copy.deepcopy(network).to(dtype).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    found = {"lr": np.array([LR])}

    def forward(images):
        return network(images.contiguous(memory_format=memory_format))

    network.train()
    numbers, losses = [], []
    for step in range(2 if size(network) <= SMALL else 1):
        numbers.append(batches[step] if batches else choose(network, step, shape))
        images, labels = batch(numbers[step], shape, dtype)
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(images), labels)
        loss.backward()
        if step == 0:
            gradients = [(name, parameter.grad) for name, parameter in network.named_parameters()]
            found["gradients"], found["gradients.rms"] = sampled(gradients)
        losses.append(loss.item())
        optimizer.step()
    found["losses"] = np.array(losses)
    network.eval()
    with torch.no_grad():
        found["logits"] = forward(batch(0, shape, dtype)[0]).double().numpy()
    statistics = [(name, value) for name, value in network.named_buffers() if value.dim() > 0]
    if statistics:
        found["running"], found["running.rms"] = sampled(statistics)
    return found, numbers


def rms(values):
    """Root mean square; zero of nothing."""
    return np.sqrt(np.square(values).mean()) if values.size else 0.0


def distances(a, b):
    """The distance of each quantity of `a` from that of `b`, in the order of DISTANCES."""
    result = {name: np.linalg.norm(a[name] - b[name]) / np.linalg.norm(b[name]) for name in ("losses", "logits")}
    scale = rms(b["gradients.rms"])
    lasting = b["gradients.rms"] > VANISHING * scale
    result["vanishing"] = rms(a["gradients.rms"][~lasting]) / scale
    for name, rows in (("gradients", lasting), ("running", slice(None))):
        if name in b:
            sizes = b[f"{name}.rms"][rows]
            result[name] = rms((a[name] - b[name])[rows] / sizes[:, None])
            result[f"{name}.rms"] = rms((a[f"{name}.rms"][rows] - sizes) / sizes)
    return np.array([result.get(name, 0.0) for name in DISTANCES])


def write(fixture, name, shape):
    """Computes a fixture and writes it."""
    begin = time.monotonic()
    torch.manual_seed(0)
    network = start(NETWORKS[name][0]())
    parameters = size(network)
    print(f"{fixture}: {parameters} parameters, {shape}", flush=True)
    torch.set_num_threads(2)
    exact, batches = run(network, torch.float64, shape)
    live = exact["gradients.rms"] / rms(exact["gradients.rms"])
    print("  losses " + " ".join(f"{loss:.3f}" for loss in exact["losses"]), end="")
    print(f"; of {live.size} gradients {(live < VANISHING).sum()} vanish; the others' least rms is ", end="")
    print(f"{live[live > VANISHING].min():.1e}, the largest of those {live[live < VANISHING].max(initial=0.0):.1e}")
    largest = np.zeros(len(DISTANCES))
    formats = (torch.contiguous_format, torch.channels_last)
    for threads, memory_format, onednn in itertools.product((1, 2), formats, (True, False)):
        torch.set_num_threads(threads)
        torch._C._set_mkldnn_enabled(onednn)
        own = distances(run(network, torch.float32, shape, batches, memory_format=memory_format)[0], exact)
        largest = np.maximum(largest, own)
        row = "  ".join(f"{name} {distance:.1e}" for name, distance in zip(DISTANCES, own))
        print(f"  {threads} threads, {str(memory_format).removeprefix('torch.')}, oneDNN {onednn}: {row}", flush=True)
    torch._C._set_mkldnn_enabled(True)
    whole = {"shape": shape, "parameters": [parameters], "batches": batches}
    tensors = exact | {key: np.array(values, dtype=np.int64) for key, values in whole.items()}
    tensors["distances"] = largest
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    versions += f", numpy {np.__version__}, Python {platform.python_version()}"
    path = TARGET / f"{fixture}.safetensors"
    save_file(tensors, path, {"written_by": f"tools/pytorch_fixtures.py, {versions}"})
    print(f"  {path.stat().st_size} bytes, {time.monotonic() - begin:.0f} seconds", flush=True)


def fixtures():
    """Each fixture's network and shape."""
    table = {}
    for name, (_, channels) in NETWORKS.items():
        size = (20, 18) if "cifar" in name else (40, 33)
        table[name] = (name, (2, channels, *size))
    for name, (n, height, width) in LARGER.items():
        table[f"{name}_{height}x{width}"] = (name, (n, NETWORKS[name][1], height, width))
    return table


def main():
    table = fixtures()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixture", nargs="*", default=list(table), metavar="FIXTURE", help=", ".join(table))
    for fixture in parser.parse_args().fixture:
        write(fixture, *table[fixture])


if __name__ == "__main__":
    main()
