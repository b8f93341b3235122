"""Writes crates/resnet-core/tests/fixtures/resize.safetensors: images of the carried sample, resized by Pillow and PyTorch.

Needs pillow, torch, numpy and safetensors; the versions that wrote the file are in its metadata.
Usage: python tools/pillow_resize_fixture.py
A tensor's name says how it was made; its shape is (images, height, width), of the first training images.
"""

import gzip
from pathlib import Path

import numpy as np
import PIL
import safetensors.numpy
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "fashion-mnist-sample" / "train-images-idx3-ubyte.gz"
TARGET = ROOT / "crates" / "resnet-core" / "tests" / "fixtures" / "resize.safetensors"
# (height, width): images. Pillow goes down first for 5x31 and 12x21, across first for the others.
BYTE_SIZES = {(96, 96): 8, (40, 17): 1, (14, 14): 1, (28, 56): 1, (5, 31): 1, (12, 20): 1, (12, 21): 1}
FLOAT_SIZES = {(40, 17): 1, (14, 14): 1, (5, 31): 1}


def pillow(images: np.ndarray, height: int, width: int) -> np.ndarray:
    resized = [Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in resized])


def interpolate(images: np.ndarray, height: int, width: int) -> np.ndarray:
    batch = torch.from_numpy(images).unsqueeze(1)
    resized = torch.nn.functional.interpolate(batch, (height, width), mode="bilinear", align_corners=False)
    return resized.squeeze(1).numpy()


def main() -> None:
    data = gzip.decompress(SAMPLE.read_bytes())
    images = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28)
    floats = images[:8].astype(np.float32) / 255
    tensors = {}
    for (height, width), count in BYTE_SIZES.items():
        tensors[f"pillow_l_{height}x{width}"] = pillow(images[:count], height, width)
    for (height, width), count in FLOAT_SIZES.items():
        tensors[f"pillow_f_{height}x{width}"] = pillow(floats[:count], height, width)
        tensors[f"torch_{height}x{width}"] = interpolate(floats[:count], height, width)
    versions = {"pillow": PIL.__version__, "torch": torch.__version__}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(tensors, TARGET, metadata=versions)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes, {versions}")


if __name__ == "__main__":
    main()
