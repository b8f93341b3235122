"""Writes crates/resnet-core/tests/fixtures/hub.json: what timm says of the architectures that folders may name.

    pip install timm==1.0.31 torch==2.13.0 torchvision==0.28.0 huggingface_hub safetensors
    python tools/hub_fixture.py

`configs` has config.json as timm's save_for_hf writes it, of networks with five classes that have names. `parameters` has the number of
parameters of each architecture for 3 channels and 5 classes; `names`, of some, the SHA-256 of the lines "NAME SHAPE" of the state dict, in the
order of names, without num_batches_tracked, for which a head that is a convolution counts as a linear layer.
"""

import hashlib
import json
import re
import tempfile
from pathlib import Path

import timm
import torch
from timm.models._hub import save_config_for_hf

ROOT = Path(__file__).parent.parent
CLASSES = 5
CONFIGS = {"resnet18": {}, "resnet50d": {"in_chans": 1}}
NAMED = ["resnet18", "resnet18d", "resnet26d", "resnetv2_18"]


def config(architecture, **arguments):
    model = timm.create_model(architecture, num_classes=CLASSES, **arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        save_config_for_hf(model, file, model_config={"label_names": [f"class {i}" for i in range(CLASSES)]})
        return json.loads(file.read_text())


def names(model):
    state = {name: list(value.shape) for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    lines = [f"{name} {shape[:2] if name.endswith('fc.weight') else shape}\n".replace(", ", ",") for name, shape in sorted(state.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main():
    text = (ROOT / "__test__/folders.test.ts").read_text()
    [listed] = re.findall(r'const NAMES = "([\w ]*)"', text)
    parameters, digests = {}, {}
    for architecture in listed.split():
        # Without memory: only shapes are looked at.
        with torch.device("meta"):
            model = timm.create_model(architecture, num_classes=CLASSES)
        parameters[architecture] = sum(value.numel() for value in model.parameters())
        if architecture in NAMED:
            digests[architecture] = names(model)
    found = {"timm": timm.__version__, "configs": {name: config(name, **arguments) for name, arguments in CONFIGS.items()}, "parameters": parameters, "names": digests}
    (ROOT / "crates/resnet-core/tests/fixtures/hub.json").write_text(json.dumps(found, indent=1) + "\n")


main()
