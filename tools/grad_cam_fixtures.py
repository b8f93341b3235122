"""Writes crates/resnet-core/tests/fixtures/grad_cam.safetensors: heat maps by the package grad-cam.

    python3 tools/grad_cam_fixtures.py

Python 3.11, torch 2.13.0, torchvision 0.28.0, grad-cam 1.5.7, numpy 2, safetensors. The test `crates/resnet-core/tests/grad_cam.rs` makes the same maps and
compares. Networks and images are those of tools/frozen_fixtures.py, the images of its step 0.

A tensor's name is "plain" or "residual" for the network, the layer and the class, with spaces between, such as "plain 8 2"; "best" is the most probable
class of each image, whose numbers are in "plain best" and "residual best". Heat is (8, 8, 8) in f32: of each image one value for each pixel.
"""

import itertools
from pathlib import Path

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file

from frozen_fixtures import network
from optimizer_fixtures import drawn

LAYERS = {"plain": ["0", "5", "8"], "residual": ["2", "3", "4"]}
CLASSES = [0, 1, 2, None]


def maps(name):
    model = network(stochastic=name == "residual").eval()
    images = drawn("images.0", (8, 2, 8, 8))
    modules = dict(model.named_modules())
    for module in model.children():
        module.step = 0
    with torch.no_grad():
        yield f"{name} best", model(images).argmax(1)
    for layer, label in itertools.product(LAYERS[name], CLASSES):
        targets = None if label is None else [ClassifierOutputTarget(label)] * len(images)
        with GradCAM(model=model, target_layers=[modules[layer]]) as cam:
            heat = cam(input_tensor=images, targets=targets)
        yield f"{name} {layer} {'best' if label is None else label}", torch.from_numpy(heat).float()


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/grad_cam.safetensors"
    save_file({name: values.contiguous() for network in LAYERS for name, values in maps(network)}, target)
    print(f"{target}: {target.stat().st_size} bytes")
