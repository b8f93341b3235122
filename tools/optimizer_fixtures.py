"""Writes crates/resnet-core/tests/fixtures/optimizers.safetensors: twenty steps of each optimiser, by PyTorch.

    python3 tools/optimizer_fixtures.py

Python 3.11, torch 2.13.0, numpy 2, safetensors. The test `crates/resnet-core/src/train/optimizer/tests.rs` makes the same steps and
compares. Neither parameters nor gradients are stored: both sides draw them from the hash of names that tools/pytorch_fixtures.py
defines, rounded to f32:

    parameter NAME                 u("NAME", i)
    its gradient in step S         0.1 * u("NAME.S", i), S from 0, and 3 times that in every fifth step, S = 4, 9, …

A tensor's name is what the test reads: the settings as JSON, as `UpdateConfig` takes them, then a space and a number of steps. It holds
the parameters after so many steps, one after the other, in f64 (P,).

The tensors whose names begin with "network " are the losses of as many steps of a network, (STEPS,) in f64: a 3x3 convolution of stride
2 to four channels, SiLU, a 3x3 convolution to six, SiLU, the mean over pixels, a linear layer to three logits. Parameters start as
tools/pytorch_fixtures.py says; step S takes eight images of two channels and 8x8 pixels, u("images.S", i), with the labels
floor(3 * unit("labels.S", i)).

Adam, AdamW, RMSprop, SGD and Muon are torch.optim's, the norm and the values are clipped by torch.nn.utils. Lion and LARS, which
PyTorch has not, are written here from the papers' definitions. Muon's iteration runs in f64, where PyTorch's own runs in bf16; what it
is not for, norms and biases, AdamW updates with the same rate and decay, betas of 0.9 and 0.95 and eps of 1e-8.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from pytorch_fixtures import unit
from torch import nn

SHAPES = {
    "conv1.weight": (6, 2, 3, 3),
    "conv1.bias": (6,),
    "bn1.weight": (6,),
    "bn1.bias": (6,),
    "fc.weight": (3, 6),
    "fc.bias": (3,),
}
STEPS = 20
SGD = {"type": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {"type": "adam", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
RMSPROP = {"type": "rmsprop", "lr": 0.01, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}
LION = {"type": "lion", "lr": 1e-4, "betas": [0.9, 0.99], "weight_decay": 0.0}
LARS = {"type": "lars", "lr": 1.0, "momentum": 0.9, "weight_decay": 0.01, "trust_coefficient": 0.001}
MUON = {"type": "muon", "lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "adjust_lr": "original"}
CASES = [
    {"optimizer": SGD},
    {"optimizer": SGD | {"dampening": 0.25, "weight_decay": 0.01}},
    {"optimizer": SGD | {"nesterov": True}, "clip": {"norm": 0.5}},
    {"optimizer": ADAM},
    {"optimizer": ADAM | {"lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}},
    {"optimizer": ADAM | {"type": "adamw", "weight_decay": 0.01}},
    {"optimizer": ADAM | {"type": "adamw", "lr": 0.01, "weight_decay": 0.1}, "clip": {"value": 0.05}},
    {"optimizer": RMSPROP},
    {"optimizer": RMSPROP | {"momentum": 0.9, "weight_decay": 0.01, "eps": 1e-4}, "clip": {"norm": 0.5}},
    {"optimizer": LION},
    {"optimizer": LION | {"lr": 0.01, "weight_decay": 0.1}},
    {"optimizer": LARS},
    {"optimizer": MUON},
    {"optimizer": MUON | {"lr": 0.01, "nesterov": False, "adjust_lr": "matchRmsAdamw"}, "clip": {"norm": 0.5}},
]


def rule(settings, parameters):
    """An optimiser of these parameters by their names: a function that makes a step."""
    settings = dict(settings)
    kind = settings.pop("type")
    if "betas" in settings:
        settings["betas"] = tuple(settings["betas"])
    builtin = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    if kind in builtin:
        return builtin[kind](parameters.values(), **settings).step
    return {"lion": lion, "lars": lars, "muon": muon}[kind](settings, parameters)


def lion(settings, parameters):
    """Chen et al., 2023, Program 1."""
    (first, second), lr, decay = settings["betas"], settings["lr"], settings["weight_decay"]
    means = {name: torch.zeros_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def step():
        for name, p in parameters.items():
            update = torch.sign(first * means[name] + (1 - first) * p.grad)
            p -= lr * (update + decay * p)
            means[name] = second * means[name] + (1 - second) * p.grad

    return step


def lars(settings, parameters):
    """You et al., 2017, Algorithm 1, the learning rate outside of the velocity; norms and biases without trust ratio."""
    lr, momentum, decay, trust = (settings[name] for name in ("lr", "momentum", "weight_decay", "trust_coefficient"))
    velocities = {name: torch.zeros_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def step():
        for name, p in parameters.items():
            ratio = trust * p.norm() / (p.grad.norm() + decay * p.norm()) if p.ndim > 1 else 1
            velocities[name] = momentum * velocities[name] + ratio * (p.grad + decay * p)
            p -= lr * velocities[name]

    return step


def muon(settings, parameters):
    """torch.optim.Muon on weights as matrices, AdamW on the rest."""
    matrices = {name: nn.Parameter(p.detach().flatten(1)) for name, p in parameters.items() if p.ndim > 1}
    rest = [p for p in parameters.values() if p.ndim == 1]
    settings = dict(settings)
    settings["adjust_lr_fn"] = {"original": "original", "matchRmsAdamw": "match_rms_adamw"}[settings.pop("adjust_lr")]
    first = torch.optim.Muon(matrices.values(), **settings)
    second = torch.optim.AdamW(rest, lr=settings["lr"], weight_decay=settings["weight_decay"], betas=(0.9, 0.95), eps=1e-8)

    def step():
        for name, matrix in matrices.items():
            matrix.grad = parameters[name].grad.flatten(1)
        first.step()
        second.step()

    return step


# PyTorch's own function, but for the bf16 in it.
torch.Tensor.bfloat16 = lambda tensor: tensor.clone()


def drawn(name, shape):
    values = torch.from_numpy(2 * unit(name, math.prod(shape)) - 1).to(torch.float32)
    return values.to(torch.float64).reshape(shape)


def clip(case, parameters):
    bounds = case.get("clip", {})
    if "norm" in bounds:
        nn.utils.clip_grad_norm_(parameters.values(), bounds["norm"])
    if "value" in bounds:
        nn.utils.clip_grad_value_(parameters.values(), bounds["value"])


def run(case):
    parameters = {name: nn.Parameter(drawn(name, shape)) for name, shape in SHAPES.items()}
    step = rule(case["optimizer"], parameters)
    for number in range(STEPS):
        for name, p in parameters.items():
            size = torch.tensor(0.3 if number % 5 == 4 else 0.1, dtype=torch.float64)
            p.grad = (size * drawn(f"{name}.{number}", p.shape)).to(torch.float32).to(torch.float64)
        clip(case, parameters)
        step()
        if number + 1 in (1, STEPS):
            flat = torch.cat([p.detach().flatten() for p in parameters.values()])
            yield f"{json.dumps(case)} {number + 1}", flat


def network(case):
    """The losses of a network's steps."""
    layers = {"0": nn.Conv2d(2, 4, 3, stride=2, padding=1), "1": nn.SiLU(), "2": nn.Conv2d(4, 6, 3, padding=1), "3": nn.SiLU()}
    layers |= {"4": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "5": nn.Linear(6, 3)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    model.double()
    parameters = dict(model.named_parameters())
    for name, p in parameters.items():
        scale = math.sqrt(6 / ((p.shape[0] + p.shape[1]) * math.prod(p.shape[2:]))) if p.ndim > 1 else 0.1
        p.data = torch.from_numpy(scale * (2 * unit(name, p.numel()) - 1)).float().double().reshape(p.shape)
    step, losses = rule(case["optimizer"], parameters), []
    for number in range(STEPS):
        images = drawn(f"images.{number}", (8, 2, 8, 8))
        labels = torch.from_numpy((3 * unit(f"labels.{number}", 8)).astype("int64"))
        loss = nn.functional.cross_entropy(model(images), labels)
        model.zero_grad()
        loss.backward()
        clip(case, parameters)
        step()
        losses.append(loss.item())
    return f"network {json.dumps(case)}", torch.tensor(losses, dtype=torch.float64)


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/optimizers.safetensors"
    steps = [entry for case in CASES for entry in run(case)]
    save_file(dict(steps + [network(case) for case in CASES]), target)
    print(f"{target}: {target.stat().st_size} bytes")
