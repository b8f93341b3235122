"""Writes crates/resnet-core/tests/fixtures/ema.safetensors: averages of weights over twenty steps, by timm.

    python3 tools/ema_fixtures.py

Python 3.11, torch 2.13.0, timm 1.0.31, numpy 2, safetensors. The test `crates/resnet-core/src/train/optimizer/tests.rs` makes the same
steps and compares. Parameters and gradients are drawn as tools/optimizer_fixtures.py says; the running statistics are, one value after the
other, u("running", i) before the first step and u("running.S", i) after step S, counting from 0.

A tensor's name is the average's settings as JSON, as `EmaConfig` takes them, a bar and the update's, as `UpdateConfig` takes them. It
holds the average of the parameters after the last step, one after the other, then that of the running statistics, in f64 (P + R,).

The average is timm's ModelEmaV3. Its warm-up is another; that of (1 + n) / (10 + n) is put in its place.
"""

import json
from pathlib import Path

import torch
from optimizer_fixtures import ADAM, CASES, SHAPES, STEPS, clip, drawn, rule
from safetensors.torch import save_file
from timm.utils import ModelEmaV3
from torch import nn

RUNNING = 12
AVERAGES = [{"decay": 0.9}, {"decay": 0.999}, {"decay": 0.9, "warmup": True}]
UPDATES = [CASES[2], {"optimizer": ADAM | {"type": "adamw", "weight_decay": 0.01}, "clip": {"norm": 0.5}}, CASES[-1]]


class Average(ModelEmaV3):
    def __init__(self, model, decay, warmup=False):
        super().__init__(model, decay=decay)
        self.warmup = warmup

    def get_decay(self, step=None):
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay


def run(average, update):
    model = nn.Module()
    parameters = {name: nn.Parameter(drawn(name, shape)) for name, shape in SHAPES.items()}
    for name, parameter in parameters.items():
        model.register_parameter(name.replace(".", "_"), parameter)
    model.register_buffer("running", drawn("running", (RUNNING,)))
    ema = Average(model, **average)
    step = rule(update["optimizer"], parameters)
    for number in range(STEPS):
        size = torch.tensor(0.3 if number % 5 == 4 else 0.1, dtype=torch.float64)
        for name, p in parameters.items():
            p.grad = (size * drawn(f"{name}.{number}", p.shape)).to(torch.float32).to(torch.float64)
        clip(update, parameters)
        step()
        model.running.copy_(drawn(f"running.{number}", (RUNNING,)))
        ema.update(model, step=number)
    kept = dict(ema.module.named_parameters()) | dict(ema.module.named_buffers())
    return torch.cat([kept[name.replace(".", "_")].detach().flatten() for name in [*SHAPES, "running"]])


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/ema.safetensors"
    averages = {f"{json.dumps(average)}|{json.dumps(update)}": run(average, update) for average in AVERAGES for update in UPDATES}
    save_file(averages, target)
    print(f"{target}: {target.stat().st_size} bytes")
