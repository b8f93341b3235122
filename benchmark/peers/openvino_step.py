"""OpenVINO as a side of `npm run bench`: inference of the network that export_onnx.py writes, whose logits it must reproduce.

    python3 openvino_step.py --network resnet18 … [--precision f32]

side.py tells the other options, requests and answers. Written for Python 3.11 with OpenVINO 2026.4, PyTorch 2.13, onnx 1.23 and
onnxscript 0.7.
"""

import os
import platform
import tempfile

import numpy as np
import openvino
import torch

import export_onnx
import side
import torch_step

# How far its logits may be from PyTorch's, relative to the largest.
TOLERANCE = {"f32": 1e-3, "bf16": 5e-2, "int8": 0.2}


class Bench:
    """The compiled network and its batches."""

    def __init__(self, options):
        self.batches = side.Batches(options)
        self.size = (options.size, options.size)
        shape = (options.batch_size, options.channels, *self.size)
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "network.onnx")
            int8 = options.precision == "int8"
            self.exported = export_onnx.export(options.network, shape, file, int8)
            settings = {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1}
            if not int8:
                settings["INFERENCE_PRECISION_HINT"] = options.precision
            compiled = openvino.Core().compile_model(file, "CPU", settings)
        self.request = compiled.create_infer_request()
        expected = np.array(self.exported.pop("logits")).reshape(options.batch_size, -1)
        counting = (np.arange(np.prod(shape)) % 251).astype(np.float32).reshape(shape) / 251
        self.difference = float(np.abs(self.logits(counting) - expected).max() / np.abs(expected).max())
        if not self.difference < TOLERANCE[options.precision]:
            raise ValueError(f"logits differ from PyTorch's by {self.difference}")

    def logits(self, images):
        """Those of images (N, C, H, W) in [0, 1]."""
        return self.request.infer({"images": images}, share_inputs=True)["logits"]

    def predict(self):
        """The logits of one batch."""
        images = torch.from_numpy(self.batches.next()[0])
        return self.logits(torch_step.scaled(images, self.size).numpy())


def main():
    parser = side.parser("OpenVINO as a side of `npm run bench`")
    parser.add_argument("--precision", choices=TOLERANCE, default="f32", help="of inference")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    parameters = bench.exported.pop("parameters")
    versions = {"openvino": openvino.__version__, "python": platform.python_version(), "exported": bench.exported}
    hello = {**versions, "threads": options.threads, "parameters": parameters, "difference": bench.difference}
    side.serve(hello, {"predict": bench.predict})


if __name__ == "__main__":
    main()
