"""PyTorch's side of `npm run bench -- pictures`: a DataLoader over torchvision's ImageFolder, pictures opened by Pillow, transforms v2.

    pictures.py --make COUNT --data FOLDER                     writes the pictures, as JPEGs of about 500x375
    pictures.py --data FOLDER --threads N --batch-size N --size N --first tensor|pillow

Requests and answers are those of side.py: {"run": "pass"} goes through all pictures once -> {"seconds": [...], "peakBytes": ...}.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image


def make(folder, count):
    """Pictures with the spectrum of photographs (amplitude falls with frequency), so that JPEG has as much to decode."""
    random = np.random.default_rng(7)
    for index in range(count):
        height, width = (375, 500) if index % 4 else (500, 375)
        down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        fall = 1 / np.maximum(np.hypot(down, across), 1 / 500) ** 1.1
        grey, *tints = (np.fft.irfft2(np.fft.rfft2(random.normal(size=(height, width))) * fall, s=(height, width)) for _ in range(3))
        planes = [grey + 0.3 * tints[0], grey, grey + 0.3 * tints[1]]
        image = np.stack([(plane - plane.mean()) / plane.std() * 50 + 120 for plane in planes], -1)
        target = folder / f"class{index % 10}"
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(target / f"{index:05}.jpg", quality=90)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--make", type=int)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--first", choices=("tensor", "pillow"), default="tensor", help="whether pictures become tensors before or after the resize")
    options = options.parse_args()
    if options.make:
        return make(options.data, options.make)

    import torch
    import torchvision
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    to_tensor, size = [v2.ToImage()], (options.size, options.size)
    changes = [v2.Resize(size), v2.RandomHorizontalFlip(), v2.RandomCrop(size, padding=8)]
    changes = to_tensor + changes if options.first == "tensor" else changes + to_tensor
    scale = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    data = torchvision.datasets.ImageFolder(options.data, transform=v2.Compose(changes + scale))
    loader = torch.utils.data.DataLoader(
        data, options.batch_size, shuffle=True, num_workers=options.threads, persistent_workers=True
    )
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": Image.__version__}
    print(json.dumps({"versions": versions, "pictures": len(data)}), flush=True)
    for _ in sys.stdin:
        began, seen = time.perf_counter(), 0
        for images, labels in loader:
            seen += len(labels)
        seconds = [time.perf_counter() - began]
        peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
        print(json.dumps({"seconds": seconds, "peakBytes": peak, "pictures": seen}), flush=True)


if __name__ == "__main__":
    main()
