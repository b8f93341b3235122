"""Writes crates/resnet-core/src/data/preview/font.bin: the letters that previews of batches are labelled with.

Needs pillow with FreeType, whose default font is Aileron (CC0).
Usage: python tools/preview_font.py
95 letters from space to tilde, each of 12 bytes: rows from the top, the leftmost of 7 pixels in the highest bit but one.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TARGET = Path(__file__).resolve().parent.parent / "crates" / "resnet-core" / "src" / "data" / "preview" / "font.bin"
WIDTH, HEIGHT = 7, 12


def main() -> None:
    font = ImageFont.load_default(10)
    data = bytearray()
    for code in range(32, 127):
        image = Image.new("1", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(image)
        width = draw.textlength(chr(code), font=font)
        draw.text(((WIDTH - width) / 2, -1), chr(code), fill=1, font=font)
        for y in range(HEIGHT):
            data.append(sum(1 << (WIDTH - 1 - x) for x in range(WIDTH) if image.getpixel((x, y))))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(data)
    print(f"{TARGET.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
