"""PyTorch as a side of `npm run bench -- records`: the same network, trained by the same recipe.

    python3 torch_record.py --threads N --recipe JSON

Each line of the standard input, such as {"seed": 1}, is a run, answered by a line with the mean loss and accuracy of each epoch, the
accuracy on the test images and the seconds of training. Written for Python 3.11 with PyTorch 2.13 and numpy.
"""

import argparse
import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

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


def run(data, test, recipe, seed):
    epochs = recipe["epochs"]
    torch.manual_seed(seed)
    x, y = data
    model = network(recipe["width"]).to(memory_format=torch.channels_last)
    optimizer = sgd(model.parameters(), recipe["lr"], recipe)
    schedule = one_cycle(optimizer, epochs * math.ceil(len(y) / recipe["batchSize"]), recipe)
    rows = []
    began = time.perf_counter()
    for _ in range(epochs):
        loss_sum = hits = 0
        for places in torch.randperm(len(y)).split(recipe["batchSize"]):
            images = x[places]
            images = torch.where(torch.rand(len(places), 1, 1, 1) < 0.5, images.flip(3), images)
            logits = model(images)
            loss = F.cross_entropy(logits, y[places], label_smoothing=recipe["labelSmoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(places)
            hits += (logits.argmax(1) == y[places]).sum().item()
        rows.append({"loss": loss_sum / len(y), "accuracy": hits / len(y)})
    seconds = time.perf_counter() - began
    model.eval()
    # An image counts with its mirror image.
    return {"rows": rows, "seconds": seconds, "accuracy": accuracy(lambda images: model(images) + model(images.flip(3)), test)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recipe", type=json.loads)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, test = fashion_mnist("train"), fashion_mnist("t10k")
    for line in sys.stdin:
        print(json.dumps(run(data, test, options.recipe, json.loads(line)["seed"])), flush=True)


if __name__ == "__main__":
    main()
