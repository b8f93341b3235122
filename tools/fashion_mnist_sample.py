"""Writes the carried sample of Fashion-MNIST: the first 4,096 training and 1,024 test images with their labels.

Needs only Python. Usage: python tools/fashion_mnist_sample.py [folder of the full set] [folder to write]
The gzip headers hold no time and no name, so the same zlib writes the same bytes.
"""

import gzip
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {"train": 4096, "t10k": 1024}


def first(path: Path, count: int) -> bytes:
    """The file cut to its first items, header included."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    _, *sizes = struct.unpack_from(f">{dimensions}I", data, 4)
    item = 1
    for size in sizes:
        item *= size
    start = 4 + 4 * dimensions
    return data[:4] + struct.pack(f">{dimensions}I", count, *sizes) + data[start : start + count * item]


def main() -> None:
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "data" / "fashion-mnist-sample"
    target.mkdir(parents=True, exist_ok=True)
    for part, count in COUNTS.items():
        for kind in ["images-idx3", "labels-idx1"]:
            name = f"{part}-{kind}-ubyte.gz"
            data = first(source / name, count)
            (target / name).write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
            print(f"{name}: {(target / name).stat().st_size:,} bytes")
            if kind == "labels-idx1":
                labels = data[8:]
                print("  images of each class:", [labels.count(label) for label in range(10)])


if __name__ == "__main__":
    main()
