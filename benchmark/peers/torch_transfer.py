"""PyTorch as a side of `npm run bench -- transfer`.

    python3 torch_transfer.py --folder DIR --threads N --recipe JSON

DIR has the digits as bytes, `digits`, and their `labels`. Each line of the standard input is a request in JSON, answered by a line with the
accuracy and the seconds that training and evaluation took. Written for Python 3.11 with PyTorch 2.13 and numpy. Fashion-MNIST is read
from RESNET_NATIVE_DATA, the user's cache or /usr/share/datasets/fashion-mnist.
"""

import argparse
import copy
import gzip
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional as F

from torch_networks import Residual


class Cifar(nn.Module):
    """CIFAR's ResNet-20 in d2l.ai's flavor for one channel; Xavier-uniform weights."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
        channels = 16
        for stage, width in enumerate((16, 32, 64), 1):
            changes = width != channels
            blocks = [Residual(channels, width, 2 if changes else 1, changes)] + [Residual(width, width, 1, False) for _ in range(2)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            channels = width
        self.fc = nn.Linear(64, 10)
        self.apply(drawn)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(x.mean((2, 3)))


def drawn(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)


def images(pixels):
    return torch.from_numpy(numpy.asarray(pixels).reshape(-1, 1, 28, 28).astype("float32") / 255)


def fashion_mnist(part):
    named = os.environ.get("RESNET_NATIVE_DATA")
    folders = [named] if named else []
    folders += [Path.home() / ".cache/resnet-native/fashion-mnist", "/usr/share/datasets/fashion-mnist"]

    def read(kind, start):
        for folder in folders:
            for suffix, opener in (("", open), (".gz", gzip.open)):
                file = Path(folder) / f"{part}-{kind}-ubyte{suffix}"
                if file.exists():
                    with opener(file, "rb") as source:
                        return numpy.frombuffer(source.read(), numpy.uint8, offset=start)
        raise FileNotFoundError(f"{part}-{kind}-ubyte in {folders}")

    return images(read("images-idx3", 16)), torch.from_numpy(read("labels-idx1", 8).astype("int64"))


def sgd(parameters, lr, recipe):
    """SGD with Nesterov momentum, which decays neither norms nor biases."""
    parameters = list(parameters)
    groups = [{"params": [one for one in parameters if one.dim() > 1], "weight_decay": recipe["weightDecay"]}]
    groups += [{"params": [one for one in parameters if one.dim() == 1], "weight_decay": 0}]
    return torch.optim.SGD(groups, lr=lr, momentum=recipe["momentum"], nesterov=True)


def one_cycle(optimizer, steps, settings):
    """As resnet-native's oneCycle, which has the rates of PyTorch's."""
    factors = {"div_factor": settings["divFactor"], "final_div_factor": settings["finalDivFactor"]}
    most = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, most, steps, pct_start=settings["rise"], cycle_momentum=False, **factors)


def affine(x, settings):
    """Each image turned, moved and scaled by numbers of its own."""
    count, _, height, width = x.shape
    angle = (torch.rand(count) * 2 - 1) * math.radians(settings["degrees"])
    least, most = settings["scale"]
    size = least + torch.rand(count) * (most - least)
    # In parts of half a side, as grids count, and to whole pixels, as torchvision moves.
    across, down = ((torch.rand(count) * 2 - 1) * part * side for part, side in zip(settings["translate"], (width, height)))
    across, down = across.round() * 2 / width, down.round() * 2 / height
    cos, sin = angle.cos() / size, angle.sin() / size
    # From where a pixel comes: the move undone, then turn and scale.
    rows = torch.stack([torch.stack([cos, sin, -(cos * across + sin * down)], 1), torch.stack([-sin, cos, sin * across - cos * down], 1)], 1)
    grid = F.affine_grid(rows, x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def train(model, data, recipe, settings, epochs, *, cycle=True, frozen=False):
    """Epochs of SGD in a shuffled order; without a cycle the rate stays."""
    x, y = data
    batch = settings["batchSize"]
    optimizer = sgd((one for one in model.parameters() if one.requires_grad), settings["lr"], recipe)
    schedule = one_cycle(optimizer, epochs * math.ceil(len(y) / batch), recipe["oneCycle"]) if cycle else None
    model.train(not frozen)
    for _ in range(epochs):
        for places in torch.randperm(len(y)).split(batch):
            images = affine(x[places], settings["affine"]) if "affine" in settings else x[places]
            optimizer.zero_grad()
            F.cross_entropy(model(images), y[places]).backward()
            optimizer.step()
            if schedule:
                schedule.step()


@torch.no_grad()
def accuracy(logits, data):
    """Of a model that is evaluated, or another function from images to logits."""
    hits = sum((logits(x).argmax(1) == y).sum().item() for x, y in zip(data[0].split(256), data[1].split(256)))
    return hits / len(data[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recipe", type=json.loads)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe, digits = options.recipe, options.recipe["digits"]
    pixels = images(numpy.fromfile(options.folder / "digits", numpy.uint8))
    labels = torch.from_numpy(numpy.fromfile(options.folder / "labels", numpy.uint8).astype("int64"))
    trained = None
    for line in sys.stdin:
        request, began = json.loads(line), time.perf_counter()
        torch.manual_seed(request.get("seed", 1))
        if request["run"] == "before":
            model, test = Cifar(), fashion_mnist("t10k")
            x, y = fashion_mnist("train")
            first = slice(request["images"])
            train(model, (x[first], y[first]), recipe, recipe["before"], request["epochs"])
            trained = model
        else:
            chosen = torch.tensor(request["chosen"])
            left = torch.ones(len(labels), dtype=torch.bool)
            left[chosen] = False
            few, test = (pixels[chosen], labels[chosen]), (pixels[left], labels[left])
            epochs = digits["epochs"][str(request["shots"])]
            if request["run"] == "from scratch":
                model = Cifar()
                train(model, few, recipe, digits, digits["headEpochs"] + epochs)
            else:
                model = copy.deepcopy(trained)
                model.fc = nn.Linear(64, 10)
                drawn(model.fc)
                # The body as in evaluation: without gradients, on running statistics.
                model.requires_grad_(False)
                model.fc.requires_grad_(True)
                train(model, few, recipe, digits, digits["headEpochs"], cycle=False, frozen=True)
                model.requires_grad_(True)
                train(model, few, recipe, digits, epochs)
        print(json.dumps({"accuracy": accuracy(model.eval(), test), "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
