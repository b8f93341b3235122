"""PyTorch as a side of `npm run bench -- records`: the same network, trained by the same recipe.

    python3 torch_record.py --threads N --recipe JSON

Each line of the standard input, such as {"seed": 1, "epochs": 10}, is a run of so many of the recipe's epochs, answered by a line with the mean
loss, the accuracy and the seconds of each and, if these are all, the accuracy on the test images. Written for Python 3.11 with PyTorch 2.13, torchvision 0.28
and numpy.
"""

import argparse
import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import RandomErasing

from torch_transfer import accuracy, drawn, fashion_mnist, one_cycle, sgd


def conv(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x):
        return x + self.body(x)


def network(width):
    first, second, third, fourth = width, 2 * width, 4 * width, 8 * width
    layers = [conv(1, first), conv(first, second), nn.MaxPool2d(2), Block(second), conv(second, third), nn.MaxPool2d(2)]
    layers += [conv(third, fourth), nn.MaxPool2d(2), Block(fourth), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fourth, 10)]
    return nn.Sequential(*layers).apply(drawn)


def augmented(images, recipe):
    """Each image mirrored, cut out and erased by chances of its own."""
    count, _, side, _ = images.shape
    images = torch.where(torch.rand(count, 1, 1, 1) < 0.5, images.flip(3), images)
    padding, erased = recipe.get("cropPadding"), recipe.get("erased")
    if padding:
        padded = F.pad(images, [padding] * 4, mode="reflect")
        down, across = (torch.randint(2 * padding + 1, (count, 1)) + torch.arange(side) for _ in range(2))
        images = padded[torch.arange(count)[:, None, None], :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)
    if erased:
        erase = RandomErasing(p=erased)
        images = torch.stack([erase(image) for image in images])
    return images


def run(data, test, recipe, seed, epochs):
    torch.manual_seed(seed)
    x, y = data
    model = network(recipe["width"]).to(memory_format=torch.channels_last)
    optimizer = sgd(model.parameters(), recipe["lr"], recipe)
    schedule = one_cycle(optimizer, recipe["epochs"] * math.ceil(len(y) / recipe["batchSize"]), recipe)
    rows = []
    for _ in range(epochs):
        loss_sum = hits = 0
        began = time.perf_counter()
        for places in torch.randperm(len(y)).split(recipe["batchSize"]):
            logits = model(augmented(x[places], recipe))
            loss = F.cross_entropy(logits, y[places], label_smoothing=recipe["labelSmoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(places)
            hits += (logits.argmax(1) == y[places]).sum().item()
        rows.append({"loss": loss_sum / len(y), "accuracy": hits / len(y), "seconds": time.perf_counter() - began})
    if epochs < recipe["epochs"]:
        return {"rows": rows}
    model.eval()
    # An image counts with its mirror image.
    return {"rows": rows, "accuracy": accuracy(lambda images: model(images) + model(images.flip(3)), test)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recipe", type=json.loads)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, test = fashion_mnist("train"), fashion_mnist("t10k")
    for line in sys.stdin:
        print(json.dumps(run(data, test, options.recipe, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
