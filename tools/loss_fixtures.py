"""Writes crates/resnet-core/tests/fixtures/losses.safetensors: losses of training and their gradients, by PyTorch.

    python3 tools/loss_fixtures.py

Python 3.11, torch 2.13.0, numpy 2, safetensors. The test `crates/resnet-core/src/loss/tests.rs` computes the same and compares. Logits and
labels are not stored: both sides draw them from the hash of names that tools/pytorch_fixtures.py defines, for N = 9 samples and K = 19
classes:

    logits                     4 * (2 * unit("logits", i) - 1), rounded to f32
    labels, others             floor(K * unit("labels", i)) and of "others", (N,), a class for each
    matrix, other matrix       unit("matrix", i) < 0.3 and of "other matrix", (N, K), any number of classes for each

A tensor's name is what the test reads: "single" or "multi", which tells the labels, the settings as JSON, as `Loss` takes them, then a space and the share of the labels where others
are mixed in, or "-", then a space and the type that PyTorch computed in, f64 or f32. It holds the mean loss and then its gradient by the
logits, row by row, in f64 (1 + N K,).

Cross-entropy is torch.nn.functional.cross_entropy, of indices or, where classes are mixed, of probabilities; binary cross-entropy is
torch.nn.functional.binary_cross_entropy_with_logits, of labels that are smoothed towards a half first, as Keras has it. The focal loss,
which PyTorch has not, is written here: the sum over classes of -w t (1 - p)^gamma log p, divided by what cross-entropy is divided by.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from pytorch_fixtures import unit

N, K = 9, 19
WEIGHTS = [(i % 5 + 1) / 4 for i in range(K)]
POSITIVE = [(i % 7 + 1) / 2 for i in range(K)]
BINARY = {"type": "binary_cross_entropy"}
SINGLE = [
    {},
    {"class_weights": WEIGHTS},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.3, "class_weights": WEIGHTS},
    {"of": {"type": "focal", "gamma": 2.0}},
    {"of": {"type": "focal", "gamma": 0.5}, "class_weights": WEIGHTS},
    {"of": {"type": "focal", "gamma": 1.0}, "label_smoothing": 0.1, "class_weights": WEIGHTS},
]
MULTI = [
    {},
    {"label_smoothing": 0.1},
    {"of": BINARY | {"positive_weights": POSITIVE}},
    {"of": BINARY | {"positive_weights": POSITIVE}, "label_smoothing": 0.2, "class_weights": WEIGHTS},
]


def classes(name):
    return torch.from_numpy((K * unit(name, N)).astype("int64"))


def matrix(name):
    return torch.from_numpy(unit(name, N * K) < 0.3).reshape(N, K)


def weight_of(case, dtype):
    return torch.tensor(case["class_weights"], dtype=dtype) if "class_weights" in case else None


def single(case, share, logits):
    smoothing, weight = case.get("label_smoothing", 0.0), weight_of(case, logits.dtype)
    labels, one_hot = classes("labels"), lambda name: torch.nn.functional.one_hot(classes(name), K).to(logits.dtype)
    mixed = None if share is None else share * one_hot("labels") + (1 - share) * one_hot("others")
    if "of" not in case:
        target = labels if mixed is None else mixed
        return torch.nn.functional.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
    target = one_hot("labels") if mixed is None else mixed
    weight = torch.ones(K, dtype=logits.dtype) if weight is None else weight
    target = (1 - smoothing) * target + smoothing / K
    log_p = torch.log_softmax(logits, 1)
    total = -(weight * target * (1 - log_p.exp()) ** case["of"]["gamma"] * log_p).sum()
    return total / (weight[labels].sum() if mixed is None else N)


def multi(case, share, logits):
    smoothing = case.get("label_smoothing", 0.0)
    target = matrix("matrix").to(logits.dtype)
    if share is not None:
        target = share * target + (1 - share) * matrix("other matrix").to(logits.dtype)
    target = (1 - smoothing) * target + smoothing / 2
    positive = case.get("of", {}).get("positive_weights")
    positive = None if positive is None else torch.tensor(positive, dtype=logits.dtype)
    weight = weight_of(case, logits.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight=weight, pos_weight=positive)


def main():
    tensors = {}
    drawn = torch.from_numpy(4 * (2 * unit("logits", N * K) - 1)).float().reshape(N, K)
    for kind, cases, compute in [("single", SINGLE, single), ("multi", MULTI, multi)]:
        for case in cases:
            for share in [None, 0.7, 0.25]:
                for name, dtype in [("f64", torch.float64), ("f32", torch.float32)]:
                    logits = drawn.to(dtype).detach().clone().requires_grad_()
                    loss = compute(case, share, logits)
                    loss.backward()
                    found = torch.cat([loss.detach()[None], logits.grad.flatten()]).double()
                    tensors[f"{kind} {json.dumps(case, separators=(',', ':'))} {share or '-'} {name}"] = found
    save_file(tensors, Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/losses.safetensors")


if __name__ == "__main__":
    main()
