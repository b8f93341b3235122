"""Writes crates/resnet-core/tests/fixtures/schedules.safetensors: the learning rates of PyTorch's schedules.

    python3 tools/schedule_fixtures.py

Python 3.11, torch 2.13.0, numpy 2, safetensors. The test `crates/resnet-core/src/train/schedule/tests.rs` works out the same rates. A
tensor's name is a number of updates in an epoch, a space and the schedule's settings as JSON, as the core reads them. It holds the rates
of 240 updates, in f64, where the optimiser's is 0.1. The tensor "losses" holds the losses after each epoch, for the schedule that looks
at them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.optim import lr_scheduler as schedulers

TOTAL = 240
LOSSES = np.array([1 / (1 + min(epoch, 17)) + 0.01 * (epoch * 7 % 5) for epoch in range(TOTAL)])
PLATEAU = {"type": "reduce_on_plateau", "factor": 0.5, "patience": 4, "threshold": 1e-4, "cooldown": 3, "min_lr": 1e-3}
COSINE = {"type": "cosine", "min_lr": 0.0, "cycle_factor": 1}
ONE_CYCLE = {"type": "one_cycle", "max": 0.3, "rise": 0.3, "div_factor": 25, "final_div_factor": 1e4, "anneal": "cosine"}


def warm(optimizer, epochs, start, then):
    first = schedulers.LinearLR(optimizer, start_factor=start, total_iters=epochs)
    return schedulers.SequentialLR(optimizer, [first, then(optimizer)], milestones=[epochs])


# Settings, updates in an epoch, PyTorch's schedule, whether it is asked after each epoch instead of each update.
CASES = [
    ({"type": "constant"}, 1, lambda o: schedulers.ConstantLR(o, factor=1), False),
    ({"type": "step_decay", "every": 30, "gamma": 0.1}, 1, lambda o: schedulers.StepLR(o, 30, 0.1), False),
    ({"type": "step_decay", "every": 5, "gamma": 0.7}, 10, lambda o: schedulers.StepLR(o, 5, 0.7), True),
    ({"type": "multi_step", "milestones": [30, 80, 200], "gamma": 0.1}, 1, lambda o: schedulers.MultiStepLR(o, [30, 80, 200], 0.1), False),
    ({"type": "exponential", "gamma": 0.97}, 1, lambda o: schedulers.ExponentialLR(o, 0.97), False),
    ({"type": "exponential", "gamma": 0.8}, 12, lambda o: schedulers.ExponentialLR(o, 0.8), True),
    ({"type": "polynomial", "power": 1.0}, 1, lambda o: schedulers.PolynomialLR(o, TOTAL), False),
    ({"type": "polynomial", "power": 2.0, "epochs": 180}, 1, lambda o: schedulers.PolynomialLR(o, 180, 2.0), False),
    (COSINE, 1, lambda o: schedulers.CosineAnnealingLR(o, TOTAL), False),
    (COSINE | {"min_lr": 0.004}, 8, lambda o: schedulers.CosineAnnealingLR(o, TOTAL, 0.004), False),
    (COSINE | {"cycle": 50, "min_lr": 1e-3}, 1, lambda o: schedulers.CosineAnnealingWarmRestarts(o, 50, 1, 1e-3), False),
    (COSINE | {"cycle": 3, "cycle_factor": 2}, 10, lambda o: schedulers.CosineAnnealingWarmRestarts(o, 30, 2), False),
    (ONE_CYCLE, 1, lambda o: schedulers.OneCycleLR(o, 0.3, TOTAL), False),
    (
        ONE_CYCLE | {"max": 0.1, "rise": 0.25, "anneal": "linear", "div_factor": 10, "final_div_factor": 100},
        1,
        lambda o: schedulers.OneCycleLR(o, 0.1, TOTAL, pct_start=0.25, anneal_strategy="linear", div_factor=10, final_div_factor=100),
        False,
    ),
    (
        {"type": "warmup", "epochs": 20, "start_factor": 0.1, "followed_by": COSINE},
        1,
        lambda o: warm(o, 20, 0.1, lambda o: schedulers.CosineAnnealingLR(o, TOTAL - 20)),
        False,
    ),
    (
        {"type": "warmup", "epochs": 2.5, "start_factor": 0.25, "followed_by": {"type": "multi_step", "milestones": [5, 9], "gamma": 0.2}},
        10,
        lambda o: warm(o, 25, 0.25, lambda o: schedulers.MultiStepLR(o, [50, 90], 0.2)),
        False,
    ),
    (
        PLATEAU,
        1,
        lambda o: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=4, threshold=1e-4, cooldown=3, min_lr=1e-3),
        False,
    ),
]


def rates(epoch_steps, make, by_epoch):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule, found = make(optimizer), []
    for step in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if isinstance(schedule, schedulers.ReduceLROnPlateau):
            schedule.step(LOSSES[step])
        elif not by_epoch or (step + 1) % epoch_steps == 0:
            schedule.step()
    return np.array(found, dtype=np.float64)


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/schedules.safetensors"
    found = {f"{steps} {json.dumps(settings)}": rates(steps, make, by_epoch) for settings, steps, make, by_epoch in CASES}
    save_file(found | {"losses": LOSSES}, target)
    print(f"{target}: {target.stat().st_size} bytes")
