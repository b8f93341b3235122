"""Writes crates/resnet-core/tests/fixtures/resnet18.safetensors: what PyTorch computes for the chapter's ResNet-18.

    python3 tools/pytorch_fixtures.py          (about two minutes; Python 3.11, torch 2.13.0, numpy 2, safetensors)

The test `crates/resnet-core/tests/parity.rs` computes the same quantities and compares. Weights and images are not stored:
both sides draw them from a hash of their names.

THE HASH. bits(NAME, i) = splitmix64(fnv1a64(NAME) + (i + 1) * 0x9E3779B97F4A7C15), all in wrapping 64-bit integers, with
fnv1a64 over NAME's UTF-8 bytes and splitmix64 the three-line finaliser. unit(NAME, i) = (bits >> 11) / 2^53 lies in [0, 1)
and u = 2 * unit - 1 in [-1, 1), both exact in f64. Every number below is worked out in f64 in the order written, rounded
once to f32, and used from there, so that f32 and f64 runs start from identical numbers. NAME is the state-dict name:

    convolution or linear weight   sqrt(6 / (fan_in + fan_out)) * u, fan_in = in / groups * k * k, fan_out = out * k * k
    convolution or linear bias     0.1 * u
    batch norm weight, bias        1 + 0.2 * u, 0.2 * u
    running_mean, running_var      0.1 * u, 1 + 0.3 * u
    images of batch B              unit("images.B", i), shape (8, 1, 40, 32)
    labels of batch B              floor(10 * unit("labels.B", i))

THE BATCHES. Logits are those of batch 0; the steps' batches are in the tensor `batches`. Where a ReLU's input is nearly
zero or a max-pool's two largest values are nearly equal, a rounding changes which way the gradient goes, and an f32 run's
distance from f64 becomes luck, a thousand times larger when it happens. So each step takes, of 128 candidates, the batch
whose closest tie in the f64 run is the widest (about 1e-5, where activations are about 1). For the same reason the learning
rate is small: at 0.01 so small a batch makes the steps chaotic, and they multiply roundings by a thousand.

Of a tensor with more than 64 entries only 64 are stored: entry j is the one at bits("index." + NAME, j) mod length.

THE QUANTITIES, each an f64 tensor from a run in f64:

    logits.before          logits of batch 0, in evaluation mode, before training                      (8, 10)
    gradient.NAME          gradient of the first step's loss, sampled
    gradient_norms         L2 norm of each parameter's whole gradient, in state-dict order
    gradient_scale         root mean square of all entries of all parameters' gradients               (1)
    losses                 loss of each of five steps of SGD, before its update                           (5)
                           (lr 0.001, momentum 0.9, weight decay 1e-4)
    logits.after           as logits.before, after them
    running.NAME           running statistics after them: bn1, layer2.0.bn2, layer4.1.bn2; sampled

THE DISTANCE of a result a from the f64 result b is |a - b| / |b| in L2 norms over the stored entries. The bias of a
convolution before a batch norm has a gradient that is zero in exact arithmetic: there |b| is replaced by gradient_scale *
sqrt(entries), and `gradient_norms` leaves those biases out.

`distance.QUANTITY` (one number each) is PyTorch f32's own distance: the largest over runs with 1 and 2 threads, with
(N, C, H, W) and channels-last storage, and with and without oneDNN.
"""

import itertools
import platform
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

TARGET = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/resnet18.safetensors"
SHAPE = (8, 1, 40, 32)
CLASSES = 10
STEPS = 5
LR = 0.001
CANDIDATES = 128
SAMPLES = 64
RUNNING = ["bn1", "layer2.0.bn2", "layer4.1.bn2"]


def bits(name, count):
    """`count` hashed 64-bit integers."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    z = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def unit(name, count):
    """`count` hashed numbers in [0, 1)."""
    return (bits(name, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample(name, values):
    """The entries of a tensor that are stored."""
    flat = values.detach().double().contiguous().reshape(-1).numpy()
    if flat.size <= SAMPLES:
        return flat
    return flat[(bits("index." + name, SAMPLES) % np.uint64(flat.size)).astype(np.int64)]


class Block(nn.Module):
    """The chapter's Residual."""

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or inputs != channels
        self.downsample = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride)) if changes else None
        self.relu = nn.ReLU()

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet18(nn.Module):
    """The chapter's ResNet-18 with torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, channels in enumerate((64, 128, 256, 512)):
            blocks = [Block(inputs, channels, 1 if stage == 0 else 2), Block(channels, channels, 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            inputs = channels
        self.fc = nn.Linear(512, CLASSES)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def hashed(name, like):
    """The value that a parameter or running statistic starts from."""
    u = 2.0 * unit(name, like.numel()) - 1.0
    layer, _, kind = name.rpartition(".")
    norm = layer.rpartition(".")[2].startswith("bn")
    if kind == "running_mean":
        values = 0.1 * u
    elif kind == "running_var":
        values = 1.0 + 0.3 * u
    elif kind == "bias":
        values = (0.2 if norm else 0.1) * u
    elif norm:
        values = 1.0 + 0.2 * u
    else:
        window = like[0, 0].numel()
        values = np.sqrt(6.0 / ((like.shape[1] + like.shape[0]) * window)) * u
    return torch.from_numpy(values.astype(np.float32)).reshape(like.shape)


def batch(name, dtype):
    """A batch's images and labels."""
    images = unit(f"images.{name}", int(np.prod(SHAPE))).astype(np.float32)
    labels = np.floor(CLASSES * unit(f"labels.{name}", SHAPE[0])).astype(np.int64)
    return torch.from_numpy(images).reshape(SHAPE).to(dtype), torch.from_numpy(labels)


def vanishes(name):
    """Whether a parameter's gradient is zero in exact arithmetic: a convolution's bias before a batch norm."""
    return name.endswith("bias") and name.split(".")[-2].startswith("conv")


def closest_tie(network, images):
    """The smallest distance of a ReLU's input from zero, or of a max-pool's largest value from its second."""
    ties = []

    def relu(_, inputs):
        ties.append(inputs[0].abs().min().item())

    def max_pool(module, inputs):
        windows = F.unfold(inputs[0].flatten(0, 1)[:, None], module.kernel_size, padding=module.padding, stride=module.stride)
        first, second = windows.topk(2, dim=1).values.unbind(1)
        ties.append((first - second)[first > 0].min().item())

    hooks = {nn.ReLU: relu, nn.MaxPool2d: max_pool}
    handles = [m.register_forward_pre_hook(hooks[type(m)]) for m in network.modules() if type(m) in hooks]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return min(ties)


def choose(network, step):
    """The number of the batch that a step takes."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    numbers = range(1 + step * CANDIDATES, 1 + (step + 1) * CANDIDATES)
    ties = {number: closest_tie(network, batch(number, torch.float64)[0]) for number in numbers}
    network.load_state_dict(state)
    number = max(ties, key=ties.get)
    print(f"step {step + 1} takes batch {number}: its closest tie is {ties[number]:.1e}")
    return number


def run(dtype, batches=None, memory_format=torch.contiguous_format):
    """Every quantity; chooses the batches if none are given."""
    network = ResNet18()
    start = {name: hashed(name, value) for name, value in network.state_dict().items() if value.dim() > 0}
    network.load_state_dict(start, strict=False)
    network = network.to(dtype).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    found = {}

    def logits():
        network.eval()
        with torch.no_grad():
            return network(batch(0, dtype)[0].contiguous(memory_format=memory_format)).double().numpy()

    found["logits.before"] = logits()
    network.train()
    numbers, losses = [], []
    for step in range(STEPS):
        numbers.append(batches[step] if batches else choose(network, step))
        images, labels = batch(numbers[step], dtype)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images.contiguous(memory_format=memory_format)), labels)
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad.double() for name, parameter in network.named_parameters()}
            found |= {f"gradient.{name}": sample(name, gradient) for name, gradient in gradients.items()}
            found["gradient_norms"] = np.array([g.norm().item() for name, g in gradients.items() if not vanishes(name)])
            squares = sum(gradient.square().sum().item() for gradient in gradients.values())
            found["gradient_scale"] = np.array([(squares / sum(g.numel() for g in gradients.values())) ** 0.5])
        losses.append(loss.item())
        optimizer.step()
    found["losses"] = np.array(losses)
    found["logits.after"] = logits()
    state = network.state_dict()
    for name in (f"{layer}.{kind}" for layer in RUNNING for kind in ("running_mean", "running_var")):
        found[f"running.{name}"] = sample(name, state[name])
    return found, numbers


def distances(found, exact):
    """The distance of each quantity of `found` from that of `exact`."""
    result = {}
    for name, b in exact.items():
        zero = name.startswith("gradient.") and vanishes(name)
        scale = exact["gradient_scale"].item() * b.size**0.5 if zero else np.linalg.norm(b)
        result[name] = np.linalg.norm(found[name] - b) / scale
    return result


def main():
    torch.set_num_threads(1)
    exact, batches = run(torch.float64)
    largest = {}
    formats = (torch.contiguous_format, torch.channels_last)
    for threads, memory_format, onednn in itertools.product((1, 2), formats, (True, False)):
        torch.set_num_threads(threads)
        torch._C._set_mkldnn_enabled(onednn)
        own = distances(run(torch.float32, batches, memory_format)[0], exact)
        largest = {name: max(distance, largest.get(name, 0.0)) for name, distance in own.items()}
        own["gradients"] = max(distance for name, distance in own.items() if name.startswith("gradient."))
        shown = ("logits.before", "gradients", "gradient_norms", "losses", "logits.after")
        row = "  ".join(f"{name} {own[name]:.1e}" for name in shown)
        print(f"{threads} threads, {str(memory_format).removeprefix('torch.')}, oneDNN {onednn}: {row}")
    tensors = exact | {f"distance.{name}": np.array([distance]) for name, distance in largest.items()}
    tensors["batches"] = np.array(batches)
    versions = f"torch {torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, TARGET, {"written_by": f"tools/pytorch_fixtures.py, {versions}"})
    print(f"{TARGET}: {len(tensors)} tensors, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
