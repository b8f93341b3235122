"""Writes crates/resnet-core/tests/fixtures/pictures/: small pictures of every kind, and what Pillow and torchvision make of them.

Needs pillow, torch, torchvision, numpy and safetensors; the versions that wrote it are in the metadata of expected.safetensors.
Usage: python tools/picture_fixtures.py
Tensors are bytes (channels, height, width):
  decoded.FILE           the picture upright, before white, as RGB
  fit.MODE.FILE.HxW      ImageOps.pad (before white), ImageOps.fit or resize, with BILINEAR
  image                  the image that all of the following were made of
  resized_crop.TOP.LEFT.HEIGHT.WIDTH.HxW  torchvision's resized_crop of it, BILINEAR, to HxW
  resized_crop_middle.HEIGHT.WIDTH.SCALE  four bytes: top, left, height and width that RandomResizedCrop takes of a picture of that size where
                         nothing of that share of it (in percent) fits
  affine.N.SAMPLING      torchvision's affine of it by AFFINES[N]
  rotate.N               torchvision's rotate of it by ROTATIONS[N] degrees, NEAREST
  tone.NAME.N            torchvision's adjust_NAME by FACTORS[N], or solarize, posterize, autocontrast, equalize
  trivial.OP.BIN.SIGN    TrivialAugmentWide's change with that number and strength
"""

from pathlib import Path

import numpy as np
import PIL
import safetensors.numpy
import torch
import torchvision
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, RandomResizedCrop, autoaugment
from torchvision.transforms import functional as F

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "crates" / "resnet-core" / "tests" / "fixtures" / "pictures"
AFFINES = [
    dict(angle=30.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0]),
    dict(angle=-17.5, translate=[3, -2], scale=1.3, shear=[10.0, -5.0]),
    dict(angle=0.0, translate=[4, 1], scale=0.7, shear=[0.0, 0.0]),
    dict(angle=90.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0]),
]
ROTATIONS = [13.5, -90.0, 135.0, 4.5]
FACTORS = [0.0, 0.35, 1.0, 1.8]
HUES = [-0.5, -0.13, 0.0, 0.4]


def picture(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Smooth waves with a little noise, so that lossy formats stay near and mistakes of place show."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (3 + c) + c) * np.cos(y / (4 + c) - c) * 110 + 128 + x - y for c in range(channels)]
    return np.clip(np.stack(waves, -1) + noise.integers(-6, 7, (height, width, channels)), 0, 255).astype(np.uint8)


def upright(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I"):
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
        alpha = rgba[..., 3:]
        return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def write_pictures() -> list[str]:
    TARGET.mkdir(parents=True, exist_ok=True)
    rgb, wide, tall = picture(24, 32, 3, 1), picture(23, 37, 3, 2), picture(37, 23, 3, 3)
    alpha = np.dstack([rgb, np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))])
    grey = Image.fromarray(rgb[..., 0])
    save = lambda image, name, **options: image.save(TARGET / name, **options)
    colour = Image.fromarray(rgb)
    save(colour, "rgb.png")
    save(Image.fromarray(wide), "wide.png")
    save(Image.fromarray(tall), "tall.png")
    save(Image.fromarray(alpha), "rgba.png")
    save(grey, "grey.png")
    save(Image.fromarray(np.dstack([rgb[..., 0], alpha[..., 3]]), "LA"), "grey_alpha.png")
    save(grey.convert("1"), "one_bit.png")
    palette = colour.quantize(32)
    save(palette, "palette.png")
    save(palette, "palette_alpha.png", transparency=3)
    save(Image.fromarray(rgb[..., 0].astype(np.uint16) * 257 - 60), "grey16.png")
    save(colour, "rgb.jpg", quality=95, subsampling=0)
    save(colour, "subsampled.jpg", quality=90, subsampling=2)
    save(colour, "progressive.jpg", quality=95, subsampling=0, progressive=True)
    save(grey, "grey.jpg", quality=95)
    save(colour.convert("CMYK"), "cmyk.jpg", quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(colour, f"turned{orientation}.jpg", quality=95, subsampling=0, exif=exif)
    save(colour, "lossy.webp", quality=95)
    save(colour, "lossless.webp", lossless=True)
    save(Image.fromarray(alpha), "alpha.webp", lossless=True)
    return sorted(path.name for path in TARGET.iterdir() if path.suffix != ".safetensors")


def planes(image: Image.Image | np.ndarray) -> np.ndarray:
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def main() -> None:
    names = write_pictures()
    tensors = {f"decoded.{name}": planes(upright(Image.open(TARGET / name))) for name in names}
    for name in ("wide.png", "tall.png"):
        image = Image.open(TARGET / name)
        for height, width in ((16, 16), (20, 45), (45, 20), (8, 30), (64, 64)):
            size, way = (width, height), Image.Resampling.BILINEAR
            fitted = {
                "pad": ImageOps.pad(image, size, way, color=(255, 255, 255)),
                "crop": ImageOps.fit(image, size, way),
                "stretch": image.resize(size, way),
            }
            tensors |= {f"fit.{mode}.{name}.{height}x{width}": planes(made) for mode, made in fitted.items()}

    image = Image.fromarray(picture(20, 26, 3, 4))
    tensors["image"] = planes(image)
    for part in ((0, 0, 20, 26), (3, 5, 11, 17), (0, 25, 20, 1), (19, 0, 1, 26), (7, 2, 4, 3), (2, 9, 16, 9)):
        for height, width in ((8, 8), (20, 26), (45, 12), (5, 40)):
            made = F.resized_crop(image, *part, (height, width), InterpolationMode.BILINEAR)
            tensors[f"resized_crop.{'.'.join(map(str, part))}.{height}x{width}"] = planes(made)
    for height, width, share in ((10, 200, 100), (200, 10, 100), (7, 50, 100), (20, 26, 200), (30, 22, 200), (1, 1, 200)):
        blank = Image.new("L", (width, height))
        found = RandomResizedCrop.get_params(blank, [share / 100] * 2, [3 / 4, 4 / 3])
        tensors[f"resized_crop_middle.{height}.{width}.{share}"] = np.array(found, np.uint8)
    for i, how in enumerate(AFFINES):
        for sampling in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR):
            tensors[f"affine.{i}.{sampling.value}"] = planes(F.affine(image, **how, interpolation=sampling, fill=[77] * 3))
    for i, degrees in enumerate(ROTATIONS):
        tensors[f"rotate.{i}"] = planes(F.rotate(image, degrees, fill=[77] * 3))
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        for i, factor in enumerate(FACTORS):
            tensors[f"tone.{name}.{i}"] = planes(getattr(F, f"adjust_{name}")(image, factor))
    for i, turn in enumerate(HUES):
        tensors[f"tone.hue.{i}"] = planes(F.adjust_hue(image, turn))
    tensors["tone.autocontrast.0"] = planes(F.autocontrast(F.adjust_contrast(image, 0.4)))
    tensors["tone.equalize.0"] = planes(F.equalize(image))

    operations = autoaugment.TrivialAugmentWide()._augmentation_space(31)
    for number, (operation, (magnitudes, signed)) in enumerate(operations.items()):
        for strength in (0, 7, 20, 30):
            for sign in (1, -1) if signed else (1,):
                magnitude = float(magnitudes[strength].item()) if magnitudes.ndim > 0 else 0.0
                made = autoaugment._apply_op(image, operation, sign * magnitude, InterpolationMode.NEAREST, [77] * 3)
                tensors[f"trivial.{number}.{strength}.{sign}"] = planes(made)

    versions = {"pillow": PIL.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    safetensors.numpy.save_file(tensors, TARGET / "expected.safetensors", metadata=versions)
    print(f"{len(names)} pictures, {len(tensors)} tensors, {sum(p.stat().st_size for p in TARGET.iterdir()):,} bytes, {versions}")


if __name__ == "__main__":
    main()
