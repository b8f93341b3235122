"""PyTorch's side of `npm run bench`: the d2l ResNet-18 at 96x96, in eager mode and its default layout.

Reads one request a line on stdin and answers with one line of JSON on stdout:

    {"run": "train", "steps": K}     K training steps    -> {"seconds": [...], "peakBytes": ..., "loss": ...}
    {"run": "predict", "steps": K}   K batches of logits -> {"seconds": [...], "peakBytes": ...}

A training step is what a reader of the chapter pays for: take a shuffled batch of 28x28 bytes, scale to [0, 1], resize
(bilinear), forward, cross-entropy, backward, SGD. The first line, before any request, names the versions:
{"torch": ..., "python": ..., "threads": ...}.

    python3 torch_step.py --images IDX.gz --labels IDX.gz [--threads N] [--batch-size 128] [--size 96]

Written for Python 3.11 with PyTorch 2.13.
"""

import argparse
import gzip
import json
import platform
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18():
    """The network of row 5: one input channel, ten classes, Xavier-uniform weights."""
    layers = [nn.Conv2d(1, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            layers.append(Residual(channels, width, 2 if stage > 0 and block == 0 else 1))
            channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
    return network


def read_idx(path, header):
    """The bytes of a gzipped idx file after its header."""
    with gzip.open(path) as file:
        file.read(header)
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)


def peak_bytes():
    """The most memory that this process has had resident."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Bench:
    """The network, its optimiser and an endless run of shuffled batches."""

    def __init__(self, options):
        torch.manual_seed(42)
        self.options = options
        self.images = read_idx(options.images, 16).reshape(-1, 1, 28, 28)
        self.labels = read_idx(options.labels, 8).long()
        self.network = resnet18()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01)
        self.order = torch.empty(0, dtype=torch.long)

    def batch(self):
        """Images (N, 1, size, size) in [0, 1] and their labels."""
        count = self.options.batch_size
        if len(self.order) < count:
            self.order = torch.randperm(len(self.images))
        chosen, self.order = self.order[:count], self.order[count:]
        images = self.images[chosen].float().div_(255)
        size = (self.options.size, self.options.size)
        return F.interpolate(images, size, mode="bilinear", align_corners=False), self.labels[chosen]

    def train(self):
        """One update; returns its loss."""
        images, labels = self.batch()
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def predict(self):
        """The logits of one batch."""
        return self.network(self.batch()[0])

    def answer(self, request):
        """Does what a request asks for and times each step."""
        action = {"train": self.train, "predict": self.predict}[request["run"]]
        self.network.train(request["run"] == "train")
        seconds = []
        for _ in range(request["steps"]):
            start = time.perf_counter()
            result = action()
            seconds.append(time.perf_counter() - start)
        reply = {"seconds": seconds, "peakBytes": peak_bytes()}
        return reply | ({"loss": result} if request["run"] == "train" else {})


def main():
    parser = argparse.ArgumentParser(description="PyTorch's side of `npm run bench`")
    parser.add_argument("--images", required=True, help="gzipped idx file of 28x28 images")
    parser.add_argument("--labels", required=True, help="gzipped idx file of their labels")
    parser.add_argument("--threads", type=int, default=0, help="threads that compute; 0 leaves PyTorch's default")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--size", type=int, default=96, help="height and width after the resize")
    options = parser.parse_args()
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    bench = Bench(options)
    hello = {"torch": torch.__version__, "python": platform.python_version(), "threads": torch.get_num_threads()}
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(bench.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
