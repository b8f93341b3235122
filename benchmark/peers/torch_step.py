"""PyTorch as a side of `npm run bench`: in eager mode and its default layout, in channels_last, or compiled; in f32, or in
bf16 by autocast.

    python3 torch_step.py --network resnet18 … [--channels-last] [--compile] [--bf16]

side.py tells the other options, requests and answers. Written for Python 3.11 with PyTorch 2.13 and, for resnet50,
torchvision 0.28.
"""

import platform

import torch
from torch.nn import functional as F

import side
import torch_networks


def scaled(images, size):
    """Bytes (N, C, H, W) as numbers in [0, 1], of this height and width."""
    images = images.float().div_(255)
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


class Bench:
    """The network, its optimiser and its batches."""

    def __init__(self, options):
        self.batches = side.Batches(options)
        self.size = (options.size, options.size)
        self.layout = torch.channels_last if options.channels_last else torch.contiguous_format
        network = torch_networks.build(options.network, options.channels).to(memory_format=self.layout)
        self.parameters = torch_networks.parameters(network)
        self.network = torch.compile(network) if options.compile else network
        self.precision = torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def batch(self):
        """Images (N, C, size, size) in [0, 1] and their labels."""
        images, labels = map(torch.from_numpy, self.batches.next())
        return scaled(images, self.size).contiguous(memory_format=self.layout), labels.long()

    def train(self):
        """One update; returns its loss."""
        self.network.train()
        images, labels = self.batch()
        self.optimizer.zero_grad()
        with self.precision:
            loss = F.cross_entropy(self.network(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def predict(self):
        """The logits of one batch."""
        self.network.eval()
        with self.precision:
            return self.network(self.batch()[0])


def main():
    parser = side.parser("PyTorch as a side of `npm run bench`")
    parser.add_argument("--channels-last", action="store_true", help="activations and weights as NHWC")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--bf16", action="store_true", help="torch.autocast")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    hello = {**versions, "threads": torch.get_num_threads(), "parameters": bench.parameters}
    side.serve(hello, {"train": bench.train, "predict": bench.predict})


if __name__ == "__main__":
    main()
