"""A rank of PyTorch's DistributedDataParallel on gloo for `npm run bench -- machines`.

    python3 torch_ddp.py --network resnet18 … --steps N --interface eth0      with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT

The first three steps do not count. Writes a line of JSON: the seconds of each other step, and the bytes that this machine sent in one. The
batch size is one rank's. Written for Python 3.11 with PyTorch 2.13.
"""

import os
import time

import torch
from torch.nn.parallel import DistributedDataParallel

import side
import torch_step

WARM_UP = 3


def sent(interface):
    """Bytes that have left by the interface."""
    with open("/proc/self/net/dev") as file:
        return next(int(line.split(":")[1].split()[8]) for line in file if line.strip().startswith(f"{interface}:"))


def main():
    parser = side.parser("a rank of PyTorch's DistributedDataParallel")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--interface", required=True, help="the one whose bytes are counted")
    options = parser.parse_args()
    options.channels_last, options.compile, options.bf16 = True, False, False
    torch.set_num_threads(options.threads)
    bench = torch_step.Bench(options)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group("gloo")
        bench.network = DistributedDataParallel(bench.network)
    seconds = []
    for step in range(WARM_UP + options.steps):
        if step == WARM_UP:
            before = sent(options.interface)
        start = time.perf_counter()
        bench.train()
        seconds.append(time.perf_counter() - start)
    sent_bytes = (sent(options.interface) - before) / options.steps
    side.write({"rank": int(os.environ.get("RANK", "0")), "seconds": seconds[WARM_UP:], "bytes": sent_bytes, "parameters": bench.parameters})
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
