"""The networks of tools/pytorch_fixtures.py as PyTorch has them: NETWORKS[name] is (builder, input channels).

The d2l flavor and the CIFAR networks are defined here, after the chapter and the papers (`paper`: as He et al. 2016 have it,
with shortcuts without parameters), with the names of torchvision's (post-activation) and timm's (pre-activation) state
dicts. Those of the torchvision flavor are built by torchvision and timm.
"""

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

CLASSES = 10


class Padding(nn.Module):
    """The shortcut without parameters, option A of He et al. 2016: pixels by the stride, half of the new channels, all zero, before
    theirs and half behind."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.before = stride, (outputs - inputs) // 2
        self.behind = outputs - inputs - self.before

    def forward(self, x):
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))


class Block(nn.Module):
    """A residual block. `convs` lists (channels, kernel, groups), `strided` names the one that has the stride. The shortcut is x, or
    where the shape changes a 1x1 convolution or, if `padded`, a Padding."""

    def __init__(self, inputs, convs, strided, stride, pre_activation, shortcut_norm=False, padded=False, bias=True):
        super().__init__()
        self.pre_activation = pre_activation
        self.count = len(convs)
        channels = inputs
        for i, (outputs, kernel, groups) in enumerate(convs, 1):
            conv = nn.Conv2d(channels, outputs, kernel, stride if i == strided else 1, kernel // 2, 1, groups, bias)
            if pre_activation:
                self.add_module(f"norm{i}", nn.BatchNorm2d(channels))
                self.add_module(f"conv{i}", conv)
            else:
                self.add_module(f"conv{i}", conv)
                self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.relu = nn.ReLU()
        if padded and (stride != 1 or inputs != channels):
            self.downsample = Padding(inputs, channels, stride)
        elif stride != 1 or inputs != channels:
            self.downsample = nn.Sequential()
            self.downsample.add_module("conv" if pre_activation else "0", nn.Conv2d(inputs, channels, 1, stride))
            if shortcut_norm:
                self.downsample.add_module("1", nn.BatchNorm2d(channels))
        else:
            self.downsample = None

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            if self.pre_activation:
                y = self.relu(self.get_submodule(f"norm{i}")(y))
                if i == 1 and self.downsample is not None:
                    x = y
                y = self.get_submodule(f"conv{i}")(y)
            else:
                y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
                y = self.relu(y) if i < self.count else y
        y = y + (x if self.downsample is None else self.downsample(x))
        return y if self.pre_activation else self.relu(y)


def basic(inputs, channels, stride, pre_activation):
    """The chapter's Residual; He et al. 2016b with pre-activation."""
    return Block(inputs, [(channels, 3, 1), (channels, 3, 1)], 1, stride, pre_activation)


def padded(inputs, channels, stride, pre_activation):
    """The block of the paper's networks for CIFAR-10, without biases."""
    return Block(inputs, [(channels, 3, 1), (channels, 3, 1)], 1, stride, pre_activation, padded=True, bias=False)


def bottleneck(inputs, channels, stride, pre_activation):
    """The bottleneck of the chapter's exercise 3."""
    return Block(inputs, [(channels, 1, 1), (channels, 3, 1), (4 * channels, 1, 1)], 2, stride, pre_activation)


def resnext(inputs, channels, stride, pre_activation):
    """The chapter's ResNeXtBlock with groups 16 and bot_mul 1."""
    convs = [(channels, 1, 1), (channels, 3, channels // 16), (channels, 1, 1)]
    return Block(inputs, convs, 2, stride, pre_activation, shortcut_norm=True)


class ResNet(nn.Module):
    """`arch` lists (blocks, channels) of each stage. `small`: the CIFAR stem, for images of so many `channels`."""

    def __init__(self, arch, block, pre_activation=False, small=False, channels=1, bias=True):
        super().__init__()
        self.pre_activation = pre_activation
        inputs = arch[0][1] if small else 64
        conv = nn.Conv2d(channels, inputs, 3, 1, 1, bias=bias) if small else nn.Conv2d(1, inputs, 7, 2, 3)
        pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.relu = nn.ReLU()
        if pre_activation:
            self.stem = nn.Sequential()
            self.stem.add_module("conv", conv)
            self.stem.add_module("pool", pool)
            self.stages = nn.Sequential()
        else:
            self.conv1, self.bn1, self.maxpool = conv, nn.BatchNorm2d(inputs), pool
        for stage, (count, channels) in enumerate(arch):
            blocks = nn.Sequential()
            for i in range(count):
                blocks.append(block(inputs, channels, 2 if stage > 0 and i == 0 else 1, pre_activation))
                inputs = channels * (4 if block is bottleneck else 1)
            if pre_activation:
                self.stages.append(nn.Sequential())
                self.stages[stage].add_module("blocks", blocks)
            else:
                self.add_module(f"layer{stage + 1}", blocks)
        self.depth = len(arch)
        if pre_activation:
            self.norm = nn.BatchNorm2d(inputs)
            self.head = nn.Sequential()
            self.head.add_module("fc", nn.Linear(inputs, CLASSES))
        else:
            self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        if self.pre_activation:
            x = self.relu(self.norm(self.stages(self.stem(x))))
            return self.head(x.mean((2, 3)))
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.depth):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Inception(nn.Module):
    """The four branches of d2l 8.4, each convolution with a ReLU behind it."""

    def __init__(self, inputs, c1, c2, c3, c4):
        super().__init__()
        self.b1_1 = nn.Conv2d(inputs, c1, 1)
        self.b2_1 = nn.Conv2d(inputs, c2[0], 1)
        self.b2_2 = nn.Conv2d(c2[0], c2[1], 3, padding=1)
        self.b3_1 = nn.Conv2d(inputs, c3[0], 1)
        self.b3_2 = nn.Conv2d(c3[0], c3[1], 5, padding=2)
        self.b4_1 = nn.MaxPool2d(3, 1, 1)
        self.b4_2 = nn.Conv2d(inputs, c4, 1)
        self.relu = nn.ReLU()
        self.channels = c1 + c2[1] + c3[1] + c4

    def forward(self, x):
        relu = self.relu
        return torch.cat(
            (
                relu(self.b1_1(x)),
                relu(self.b2_2(relu(self.b2_1(x)))),
                relu(self.b3_2(relu(self.b3_1(x)))),
                relu(self.b4_2(self.b4_1(x))),
            ),
            dim=1,
        )


class GoogLeNet(nn.Module):
    """GoogLeNet of d2l 8.4."""

    STAGES = {
        "3a": (64, (96, 128), (16, 32), 32),
        "3b": (128, (128, 192), (32, 96), 64),
        "4a": (192, (96, 208), (16, 48), 64),
        "4b": (160, (112, 224), (24, 64), 64),
        "4c": (128, (128, 256), (24, 64), 64),
        "4d": (112, (144, 288), (32, 64), 64),
        "4e": (256, (160, 320), (32, 128), 128),
        "5a": (256, (160, 320), (32, 128), 128),
        "5b": (384, (192, 384), (48, 128), 128),
    }

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3)
        self.conv2 = nn.Conv2d(64, 64, 1)
        self.conv3 = nn.Conv2d(64, 192, 3, padding=1)
        inputs = 192
        for name, channels in self.STAGES.items():
            self.add_module(f"inception{name}", Inception(inputs, *channels))
            inputs = self.get_submodule(f"inception{name}").channels
        self.fc = nn.Linear(inputs, CLASSES)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv3(self.relu(self.conv2(x)))))
        for name in self.STAGES:
            x = self.get_submodule(f"inception{name}")(x)
            x = self.pool(x) if name in ("3b", "4e") else x
        return self.fc(x.mean((2, 3)))


def networks():
    """Every network by its fixture's name."""
    table = {}

    def d2l(name, *args, **kwargs):
        table[f"d2l_{name}"] = (lambda: ResNet(*args, **kwargs), 1)

    depths = {
        18: ((2, 2, 2, 2), basic),
        34: ((3, 4, 6, 3), basic),
        50: ((3, 4, 6, 3), bottleneck),
        101: ((3, 4, 23, 3), bottleneck),
        152: ((3, 8, 36, 3), bottleneck),
    }
    for depth, (counts, block) in depths.items():
        arch = list(zip(counts, (64, 128, 256, 512)))
        d2l(f"resnet{depth}", arch, block)
        d2l(f"preactresnet{depth}", arch, block, pre_activation=True)
        if depth <= 34:
            d2l(f"resnext{depth}", arch, resnext)
    d2l("cifar_resnet20", [(3, 16), (3, 32), (3, 64)], basic, small=True)
    d2l("cifar_preactresnet29", [(3, 16), (3, 32), (3, 64)], bottleneck, pre_activation=True, small=True)
    cifar = dict(small=True, channels=3, bias=False)
    table["paper_cifar_resnet20"] = (lambda: ResNet([(3, 16), (3, 32), (3, 64)], padded, **cifar), 3)
    table["d2l_googlenet"] = (GoogLeNet, 1)

    resnexts = ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"]
    for name in [f"resnet{depth}" for depth in depths] + resnexts:
        table[f"torchvision_{name}"] = (lambda name=name: torchvision.models.get_model(name, num_classes=CLASSES), 3)
    for name in [f"resnetv2_{depth}" for depth in depths] + ["resnet50d"]:
        table[f"timm_{name}"] = (lambda name=name: timm.create_model(name, num_classes=CLASSES), 3)
    return table


NETWORKS = networks()
