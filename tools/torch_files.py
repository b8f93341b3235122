"""Writes crates/resnet-core/tests/fixtures/torch_files/: files as PyTorch and torchvision write them.

    python3 tools/torch_files.py                          all of them (half a minute)
    python3 tools/torch_files.py small|torchvision|cifar  a part

Python 3.11, torch 2.13.0, torchvision 0.28.0, timm 1.0.31, safetensors 0.8.0.

THE SMALL FILES hold a convolution `conv` (3, 2, 3, 3), a batch norm `bn` of 3 channels and a linear layer `fc` (4, 3), in
every form that `torch.save` has. Entry i of the tensor NAME is 2 * unit(NAME, i) - 1 with the hash of
tools/pytorch_fixtures.py, rounded to f32 and then to the file's type; `num_batches_tracked` is 7. The test
`crates/resnet-core/tests/torch_files.rs` draws the same.

    zip.pth                torch.save(state_dict)
    zip_protocol5.pth      likewise, pickle protocol 5
    legacy.pth             the form before PyTorch 1.6, which is no zip file
    legacy_protocol4.pth   likewise, pickle protocol 4
    checkpoint.pth         the state dict as `state_dict` beside numbers, texts, lists and an optimiser's state
    legacy_checkpoint.pth  likewise as `model_state_dict`, in the older form
    data_parallel.pth      torch.nn.DataParallel's state dict as `model`: every name begins with `module.`
    compiled.pth           a compiled network in data-parallel training: `module._orig_mod.`
    f16.pth bf16.pth f64.pth
    strided.pth            conv.weight in channels-last order, fc.weight a transposed slice of a larger tensor
    shared.pth             every float tensor a part of one storage, and `tied.weight` the same as `fc.weight`
    legacy_shared.pth      likewise, in the older form
    parameters.pth         dict(network.named_parameters())
    network.pth            the whole network, which needs code and is refused

The older form names storages by their addresses, so those files differ from run to run.

TORCHVISION'S FILES are resnet18(num_classes=1000) in evaluation mode, its state dict written by torch.save and by
safetensors, gzip-compressed. Tensors are short periodic patterns, told by `periodic` below, so that they compress.
`resnet18_logits.safetensors` has the logits (2, 1000) of the images unit("torchvision.images", i) (2, 3, 64, 64), in f64.

CIFAR'S FILE, `cifar_resnet20.th.gz`, has the form in which weights of He et al.'s ResNet-20 with shortcuts without parameters
are widely published: a training script's checkpoint in the older form, `state_dict` beside the best accuracy, every name
with the `module.` of DataParallel, and the head named `linear`. Its tensors are as torchvision's, under the names of
tools/networks.py (the head's are those of `fc`); `cifar_resnet20_logits.safetensors` has the logits (2, 10) of the images
unit("cifar.images", i) (2, 3, 32, 32), in f64.
"""

import argparse
import copy
import gzip
import io
import platform
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision
from torch import nn

from networks import NETWORKS
from pytorch_fixtures import bits, unit

TARGET = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/torch_files"


class Tiny(nn.Module):
    """A layer of each kind."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(self.bn(self.conv(x)).mean((2, 3)))


def hashed(name, like):
    """A small file's tensor."""
    if like.dtype == torch.int64:
        return torch.full_like(like, 7)
    return torch.from_numpy((2.0 * unit(name, like.numel()) - 1.0).astype(np.float32)).reshape(like.shape)


def tiny():
    network = Tiny()
    network.load_state_dict({name: hashed(name, value) for name, value in network.state_dict().items()})
    return network


def save(name, value, legacy=False, **options):
    path = TARGET / f"{name}.pth"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, **options)
    assert path.stat().st_size < 10_000, path
    print(f"{path.name}: {path.stat().st_size} bytes")


def converted(state, dtype):
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


def shared(state):
    """The float tensors as parts of one storage."""
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    flat = torch.cat([value.flatten() for value in floats.values()])
    parts = flat.split([value.numel() for value in floats.values()])
    views = {name: part.view(floats[name].shape) for name, part in zip(floats, parts)}
    return views | {"tied.weight": views["fc.weight"], "bn.num_batches_tracked": state["bn.num_batches_tracked"]}


def strided(state):
    state = dict(state)
    state["conv.weight"] = state["conv.weight"].to(memory_format=torch.channels_last)
    larger = torch.zeros(7, 9)
    larger[2:5, 1::2] = state["fc.weight"].t()
    state["fc.weight"] = larger[2:5, 1::2].t()
    assert not state["conv.weight"].is_contiguous() and not state["fc.weight"].is_contiguous()
    return state


def checkpoint(network, key):
    """What a training script might save."""
    network = copy.deepcopy(network)
    state = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(2, 2, 3, 3)).sum().backward()
    optimizer.step()
    beside = {"epoch": 3, "best": 0.5, "arch": "tiny", "ema": None, "done": False, "large": 2**80, "raw": b"\0\1"}
    history = {"loss": [1.5, 0.75], "shape": (3, 32, 32), "size": torch.Size([3, 32]), "classes": {0: "a", 1: "b"}}
    return beside | {"optimizer": optimizer.state_dict(), key: state, "history": history}


def small_files():
    network = tiny()
    state = network.state_dict()
    save("zip", state)
    save("zip_protocol5", state, pickle_protocol=5)
    save("legacy", state, legacy=True)
    save("legacy_protocol4", state, legacy=True, pickle_protocol=4)
    save("checkpoint", checkpoint(network, "state_dict"), pickle_protocol=3)
    save("legacy_checkpoint", checkpoint(network, "model_state_dict"), legacy=True, pickle_protocol=3)
    save("data_parallel", {"model": nn.DataParallel(network).state_dict(), "epoch": 1})
    save("compiled", {f"module._orig_mod.{name}": value for name, value in state.items()})
    save("f16", converted(state, torch.float16))
    save("bf16", converted(state, torch.bfloat16))
    save("f64", converted(state, torch.float64))
    save("strided", strided(state))
    save("shared", shared(state))
    save("legacy_shared", shared(state), legacy=True)
    save("parameters", dict(network.named_parameters()))
    save("network", network)


def periodic(name, like):
    """A tensor of torchvision's network: a short period, at a phase and of a height of its own."""
    k = np.arange(like.numel()) + int(bits(name, 1)[0] % np.uint64(1000))
    layer, _, kind = name.rpartition(".")
    # Many rows of the head's weight differ; the rest repeats soon.
    period = 509 if name == "fc.weight" else 7
    wave = (0.75 + 0.5 * unit(name, 2)[1]) * (2.0 * (k % period) / (period - 1) - 1.0)
    if kind == "num_batches_tracked":
        return torch.full_like(like, 7)
    if kind == "running_var":
        values = 1.0 + 0.5 * wave
    elif like.dim() == 1 and kind == "weight":
        values = 1.0 + 0.25 * wave
    elif like.dim() == 1:
        values = 0.5 * wave
    else:
        values = 0.8 * wave / np.sqrt(like[0].numel())
    return torch.from_numpy(values.astype(np.float32)).reshape(like.shape)


def compress(name, data):
    path = TARGET / f"{name}.gz"
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
    print(f"{path.name}: {path.stat().st_size} bytes")
    assert path.stat().st_size < 150_000, path


def saved(value, **options):
    """A file's bytes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def with_patterns(network):
    """The network with periodic tensors, in evaluation mode."""
    network.load_state_dict({name: periodic(name, value) for name, value in network.state_dict().items()})
    return network.eval()


def torchvision_files(versions):
    network = with_patterns(torchvision.models.resnet18(weights=None, num_classes=1000))
    compress("resnet18.pth", saved(network.state_dict()))
    compress("resnet18.safetensors", safetensors.torch.save(network.state_dict()))
    write_logits("resnet18", network, "torchvision.images", (2, 3, 64, 64), versions)


def cifar_file(versions):
    network = with_patterns(NETWORKS["paper_cifar_resnet20"][0]())
    state = nn.DataParallel(network).state_dict()
    renamed = {name.replace("module.fc.", "module.linear."): value for name, value in state.items()}
    checkpoint = {"state_dict": renamed, "best_prec1": 91.5}
    compress("cifar_resnet20.th", saved(checkpoint, _use_new_zipfile_serialization=False))
    write_logits("cifar_resnet20", network, "cifar.images", (2, 3, 32, 32), versions)


def write_logits(name, network, images_name, shape, versions):
    """Writes the logits of hashed images."""
    images = torch.from_numpy(unit(images_name, int(np.prod(shape))).astype(np.float32)).reshape(shape)
    with torch.no_grad():
        logits = network.double()(images.double())
    between_classes, between_images = logits.std(dim=1).min().item(), (logits[0] - logits[1]).std().item()
    print(f"logits up to {logits.abs().max():.3g}, {between_classes:.3g} and {between_images:.3g} between classes and images")
    assert logits.abs().max() < 1e3 and between_classes > 0.1 and between_images > 0.01
    path = TARGET / f"{name}_logits.safetensors"
    safetensors.torch.save_file({"logits": logits}, path, {"written_by": f"tools/torch_files.py, {versions}"})


def main():
    versions = (
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, safetensors {safetensors.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}"
    )
    print(versions)
    TARGET.mkdir(parents=True, exist_ok=True)
    parts = {"small": small_files, "torchvision": lambda: torchvision_files(versions), "cifar": lambda: cifar_file(versions)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", default=list(parts), metavar="PART", help=", ".join(parts))
    for part in parser.parse_args().part:
        parts[part]()


if __name__ == "__main__":
    main()
