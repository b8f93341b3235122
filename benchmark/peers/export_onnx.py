"""Writes a network of torch_networks.py as ONNX, for a fixed batch, and tells about it in a line of JSON on stdout.

`logits` are PyTorch's own for images that count up: value i, in row-major order, is (i mod 251) / 251. Written for Python
3.11 with PyTorch 2.13, onnx 1.23 and onnxscript 0.7.
"""

import argparse
import contextlib
import sys

import onnx
import torch

import side
import torch_networks


def export(name, shape, file):
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
    return {**versions, "parameters": torch_networks.parameters(network), "logits": logits.flatten().tolist()}


def main():
    parser = argparse.ArgumentParser(description="Writes a network of the benchmark as ONNX")
    parser.add_argument("--network", required=True)
    parser.add_argument("--shape", type=int, nargs=4, required=True, help="of the images: N C H W")
    parser.add_argument("--file", required=True)
    options = parser.parse_args()
    side.write(export(options.network, options.shape, options.file))


if __name__ == "__main__":
    main()
