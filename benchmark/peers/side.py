"""What the Python sides of `npm run bench` share: options, batches of images, and requests answered line by line.

A side reads one request a line on stdin and answers with one line of JSON on stdout:

    {"run": "train", "steps": K}     K training steps    -> {"seconds": [...], "peakBytes": ..., "loss": ...}
    {"run": "predict", "steps": K}   K batches of logits -> {"seconds": [...], "peakBytes": ...}

A training step is what a reader of the chapter pays for: take a shuffled batch of bytes, scale to [0, 1], resize (bilinear),
forward, cross-entropy, backward, SGD. The first line, before any request, tells versions, threads and parameters.
"""

import argparse
import gzip
import json
import resource
import sys
import time

import numpy as np

# As many images of three channels are held in memory.
COLOUR_IMAGES = 4096


def parser(description):
    """The options that every side has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--network", required=True, help="resnet18, resnext18, resnet50 or resnet50_224")
    options.add_argument("--data", required=True, help="folder of the four Fashion-MNIST files")
    options.add_argument("--threads", type=int, required=True, help="threads that compute")
    options.add_argument("--batch-size", type=int, required=True)
    options.add_argument("--channels", type=int, required=True, help="1, or 3: the image three times, enlarged beforehand")
    options.add_argument("--size", type=int, required=True, help="height and width of what the network is given")
    return options


class Batches:
    """An endless run of shuffled batches: bytes (N, C, H, W) and labels."""

    def __init__(self, options):
        self.count = options.batch_size
        self.images = read_idx(options.data, "train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
        self.labels = read_idx(options.data, "train-labels-idx1-ubyte.gz", 8)
        if options.channels > 1:
            self.images, self.labels = self.images[:COLOUR_IMAGES], self.labels[:COLOUR_IMAGES]
            nearest = np.arange(options.size) * 28 // options.size
            self.images = self.images[:, :, nearest][..., nearest].repeat(options.channels, axis=1)
        self.random = np.random.default_rng(42)
        self.order = np.empty(0, dtype=np.int64)

    def next(self):
        """The next batch; what does not fill one at the end of an epoch is left out."""
        if len(self.order) < self.count:
            self.order = self.random.permutation(len(self.images))
        chosen, self.order = self.order[: self.count], self.order[self.count :]
        return self.images[chosen], self.labels[chosen]


def read_idx(folder, name, header):
    """The bytes of a gzipped idx file after its header."""
    with gzip.open(f"{folder}/{name}") as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)


def peak_bytes():
    """The most memory that this process has had resident."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write(line):
    """A line of JSON."""
    print(json.dumps(line), flush=True)


def serve(hello, actions):
    """Answers requests until there are no more: `actions` are the functions of a step, of which "train" returns the loss."""
    write(hello)
    for line in sys.stdin:
        request = json.loads(line)
        seconds = []
        for _ in range(request["steps"]):
            start = time.perf_counter()
            result = actions[request["run"]]()
            seconds.append(time.perf_counter() - start)
        loss = {"loss": result} if request["run"] == "train" else {}
        write({"seconds": seconds, "peakBytes": peak_bytes(), **loss})
