"""The networks of `npm run bench` in PyTorch: d2l.ai's definitions, and torchvision's ResNet-50. Ten classes."""

import torch
from torch import nn
from torch.nn import functional as F


def build(name, channels, seed=42):
    """The network of that name for images of so many channels."""
    torch.manual_seed(seed)
    if name in ("resnet50", "resnet50_224"):
        from torchvision.models import resnet50

        return resnet50(num_classes=10)
    return resnet18(channels, {"resnet18": Residual, "resnext18": ResNeXtBlock}[name])


def parameters(network):
    """How many parameters are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels, channels, stride, projects):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride) if projects else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNeXtBlock(nn.Module):
    """1x1, grouped 3x3 of width 16 and 1x1 convolution, each with a norm, and a shortcut with one where the shape changes."""

    def __init__(self, in_channels, channels, stride, projects):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels // 16)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.bn3 = nn.BatchNorm2d(channels)
        norm = nn.BatchNorm2d(channels) if projects else None
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride), norm) if projects else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def resnet18(in_channels, block):
    """Four stages of two blocks; Xavier-uniform weights."""
    layers = [nn.Conv2d(in_channels, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width in (64, 128, 256, 512):
        changes = width != channels
        layers += [block(channels, width, 2 if changes else 1, changes), block(width, width, 1, False)]
        channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
    return network
