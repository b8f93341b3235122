"""Writes crates/resnet-core/tests/fixtures/frozen.safetensors: steps of networks of which a part is frozen, or left out at random, by PyTorch.

    python3 tools/frozen_fixtures.py

Python 3.11, torch 2.13.0, torchvision 0.28.0, numpy 2, safetensors. The test `crates/resnet-core/tests/frozen.rs` makes the same steps and compares. Only results
are stored: both sides draw weights and images from the hash of names that tools/pytorch_fixtures.py defines.

The network is a 3x3 convolution of stride 2 from two channels to four, and two of 3x3 to six, each with a batch norm and ReLU behind
it, then the mean over pixels and a linear layer to three logits. Convolutions and the linear layer start as in
tools/optimizer_fixtures.py; of norms the scale is 1 + 0.3 u, the shift 0.1 u, the running mean 0.2 u and the running variance 0.5 + unit.
The other network, whose tensors' names begin with "stochastic depth ", has residual blocks for the last two of the three: a convolution and a
norm each, with stochastic depth behind them, p = 0.3 and 0.5, and a ReLU behind the sum; the first one's shortcut is a 1x1 convolution with a
norm. The blocks are torchvision.ops.StochasticDepth's in mode "row", which keeps the rows that `crates/resnet-core/src/rng.rs` and
`crates/resnet-ops/src/dropout` keep for a model of seed 0, written here anew.

Step S takes eight images of two channels and 8x8 pixels, u("images.S", i), with the labels floor(3 * unit("labels.S", i)).

A tensor's name is the settings as JSON, as `UpdateConfig` takes them, then " losses" or " state". The losses are those of ten steps,
(10,) in f64; the state is what the network's state dict holds after them, one after the other in the order of PyTorch's, without
num_batches_tracked, (V,) in f64. What a group freezes has no gradient; its norms are in evaluation mode, unless `frozen_norms` says no.
"""

import itertools
import json
import math
import struct
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import StochasticDepth

from optimizer_fixtures import SGD, drawn
from pytorch_fixtures import unit

STEPS = 10
BODY = ["0", "1", "3", "4", "6", "7"]
CASES = [
    # The head alone; the body as PyTorch's requires_grad=False leaves it, and as it is in evaluation.
    {"groups": [{"layers": BODY, "frozen": True, "frozen_norms": False}]},
    {"groups": [{"layers": ["10"]}, {"frozen": True}]},
    # A part in the middle, through which gradients go.
    {"groups": [{"layers": ["3", "4"], "frozen": True}]},
    # Norms alone: all of them, and two whose scale and shift are trained.
    {"groups": [{"roles": ["norm"], "frozen": True}]},
    {"groups": [{"layers": ["1", "7"], "frozen_norms": True}]},
    # A weight without its bias.
    {"groups": [{"layers": ["3.weight", "0"], "frozen": True}, {"roles": ["norm"], "lr_factor": 0.5, "frozen_norms": True}]},
]
# All is trained; a block is frozen, norms in evaluation mode, and gradients go through what is left out.
STOCHASTIC = [{"groups": []}, {"groups": [{"layers": ["3"], "frozen": True}]}]


class Block(nn.Sequential):
    """A residual block whose body is left out at random; `value` is the number of what its stochastic depth writes, by which masks differ."""

    def __init__(self, channels, p, value):
        super().__init__(nn.Conv2d(*channels, 3, padding=1), nn.BatchNorm2d(channels[1]))
        self.p, self.value = p, value
        self.stochastic_depth = StochasticDepth(p, "row")
        same = channels[0] == channels[1]
        self.downsample = nn.Identity() if same else nn.Sequential(nn.Conv2d(*channels, 1), nn.BatchNorm2d(channels[1]))

    def forward(self, x):
        rows = kept(self.step, self.value, self.p, len(x))
        with mock.patch.object(torch.Tensor, "bernoulli_", lambda noise, _: noise.copy_(rows.reshape(noise.shape))):
            body = self.stochastic_depth(self[1](self[0](x)))
        return torch.relu(body + self.downsample(x))


def kept(step, value, p, count):
    """1 for each image of a step that is kept, 0 for the others."""

    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    # Seed, what is drawn (dropout is 3), updates before this one, batches since the last of them.
    start = mix((chacha8((0, 3, step, 0)) + value) % 2**64)
    hashes = [mix((start + (i + 1) * 0x9E3779B97F4A7C15) % 2**64) for i in range(count)]
    return torch.tensor([float(number >= int(p * 2.0**64)) for number in hashes], dtype=torch.float64)


def chacha8(key):
    """The first 64 bits of ChaCha8 with a key of four numbers."""
    words = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", struct.pack("<4Q", *key)), 0, 0, 0, 0]
    state = list(words)

    def turn(a, b, c, d):
        for into, other, third, by in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
            state[into] = (state[into] + state[other]) % 2**32
            turned = state[third] ^ state[into]
            state[third] = (turned << by | turned >> (32 - by)) % 2**32

    for _ in range(4):
        for shift in range(4):
            turn(shift, 4 + shift, 8 + shift, 12 + shift)
        for shift in range(4):
            turn(shift, 4 + (shift + 1) % 4, 8 + (shift + 2) % 4, 12 + (shift + 3) % 4)
    return (state[0] + words[0]) % 2**32 | (state[1] + words[1]) % 2**32 << 32


def network(stochastic):
    layers = []
    plain = [((2, 4), 2)] if stochastic else [((2, 4), 2), ((4, 6), 1), ((6, 6), 1)]
    for channels, stride in plain:
        layers += [nn.Conv2d(*channels, 3, stride=stride, padding=1), nn.BatchNorm2d(channels[1]), nn.ReLU()]
    if stochastic:
        layers += [Block((4, 6), 0.3, 6), Block((6, 6), 0.5, 12)]
    model = nn.Sequential(*layers)
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("10", nn.Linear(6, 3))
    model.double()
    for name, values in model.state_dict().items():
        number = torch.from_numpy(unit(name, values.numel())).reshape(values.shape)
        if name.endswith("num_batches_tracked"):
            continue
        if values.ndim > 1:
            number = math.sqrt(6 / ((values.shape[0] + values.shape[1]) * math.prod(values.shape[2:]))) * (2 * number - 1)
        elif name.endswith("running_var"):
            number = 0.5 + number
        elif name.endswith("running_mean"):
            number = 0.2 * (2 * number - 1)
        elif name.endswith("weight"):
            number = 1 + 0.3 * (2 * number - 1)
        else:
            number = 0.1 * (2 * number - 1)
        values.copy_(number.float().double())
    return model


def has(group, name, is_norm):
    layers, roles = group.get("layers", []), group.get("roles", [])
    role = "norm" if is_norm else name.split(".")[-1]
    return (not layers or any(name == layer or name.startswith(f"{layer}.") for layer in layers)) and (not roles or role in roles)


def run(case, stochastic=False):
    model = network(stochastic)
    norms = {f"{name}": module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    group_of = {}
    for name, parameter in model.named_parameters():
        is_norm = name.rpartition(".")[0] in norms
        group_of[name] = next((group for group in case["groups"] if has(group, name, is_norm)), {})
        parameter.requires_grad_(not group_of[name].get("frozen", False))
    model.train()
    for name, norm in norms.items():
        groups = [group_of[f"{name}.weight"], group_of[f"{name}.bias"]]
        if all(group.get("frozen_norms", group.get("frozen", False)) for group in groups):
            norm.eval()
    settings = dict(SGD)
    settings.pop("type")
    lr = settings.pop("lr")
    parts = [{"params": [p], "lr": lr * group_of[name].get("lr_factor", 1)} for name, p in model.named_parameters() if p.requires_grad]
    optimizer, losses = torch.optim.SGD(parts, **settings), []
    for number in range(STEPS):
        images = drawn(f"images.{number}", (8, 2, 8, 8))
        labels = torch.from_numpy((3 * unit(f"labels.{number}", 8)).astype("int64"))
        for block in model.children():
            block.step = number
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = [values.flatten() for name, values in model.state_dict().items() if not name.endswith("tracked")]
    name = ("stochastic depth " if stochastic else "") + json.dumps({"optimizer": SGD, "parameters": case})
    yield f"{name} losses", torch.tensor(losses, dtype=torch.float64)
    yield f"{name} state", torch.cat(state)


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/frozen.safetensors"
    runs = itertools.chain(map(run, CASES), (run(case, stochastic=True) for case in STOCHASTIC))
    save_file(dict(itertools.chain.from_iterable(runs)), target)
    print(f"{target}: {target.stat().st_size} bytes")
