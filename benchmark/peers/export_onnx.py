"""Writes a network of torch_networks.py as ONNX, for a fixed batch, and tells about it in a line of JSON on stdout. With --int8 it is
quantised by ONNX Runtime's tools: weights for each channel, activations by what they were on some images.

`logits` are PyTorch's own for images that count up: value i, in row-major order, is (i mod 251) / 251. Written for Python
3.11 with PyTorch 2.13, onnx 1.23, onnxscript 0.7 and onnxruntime 1.30.
"""

import argparse
import contextlib
import sys

import onnx
import torch

import side
import torch_networks


# Batches by which activations are measured.
BATCHES = 4


class Images:
    """Batches as ONNX Runtime's tools read them: the one of the logits, and noise."""

    def __init__(self, first):
        random = torch.Generator().manual_seed(1)
        others = [torch.rand(first.shape, generator=random) for _ in range(BATCHES - 1)]
        self.batches = iter([first, *others])

    def get_next(self):
        """The next one, None at the end."""
        images = next(self.batches, None)
        return None if images is None else {"images": images.numpy()}


def quantize(file, images):
    """Quantises a file in its place; tells the tool's version."""
    import onnxruntime
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(file, file, Images(images), quant_format=QuantFormat.QDQ, per_channel=True, **types)
    return {"onnxruntime": onnxruntime.__version__}


def export(name, shape, file, int8=False):
    """Writes the network of this name for images of this shape; tells versions, parameters and logits."""
    network = torch_networks.build(name, shape[1]).eval()
    images = (torch.arange(torch.Size(shape).numel()) % 251).float().div_(251).reshape(shape)
    # The exporter reports on stdout.
    with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
        logits = network(images)
        names = {"input_names": ["images"], "output_names": ["logits"]}
        torch.onnx.export(network, (images,), file, dynamo=True, external_data=False, **names)
    opset = onnx.load(file).opset_import[0].version
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "opset": opset}
    if int8:
        with contextlib.redirect_stdout(sys.stderr):
            versions |= quantize(file, images)
    return {**versions, "parameters": torch_networks.parameters(network), "logits": logits.flatten().tolist()}


def main():
    parser = argparse.ArgumentParser(description="Writes a network of the benchmark as ONNX")
    parser.add_argument("--network", required=True)
    parser.add_argument("--shape", type=int, nargs=4, required=True, help="of the images: N C H W")
    parser.add_argument("--file", required=True)
    parser.add_argument("--int8", action="store_true", help="quantised")
    options = parser.parse_args()
    side.write(export(options.network, options.shape, options.file, options.int8))


if __name__ == "__main__":
    main()
