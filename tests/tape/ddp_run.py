"""One of two processes (started by torchrun) whose penalised steps are compared with one process's on both batches."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, R2
from tests.tape.networks import DCGAN, BatchNorm, PatchGAN


def step(module: nn.Module, x: torch.Tensor, fake: torch.Tensor) -> None:
    out, fake_out, penalty = module(x, fake=fake)
    (F.softplus(-out).mean() + F.softplus(fake_out).mean() + penalty).backward()


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    for net in (DCGAN(), PatchGAN(), BatchNorm().eval()):
        size = 16 if isinstance(net, BatchNorm) else 64
        x, fake = torch.randn(2, 4, 3, size, size)
        alone = copy.deepcopy(net)
        penalties = [R1(2.0), R2(3.0)]
        mine = slice(2 * rank, 2 * rank + 2)
        replica = DistributedDataParallel(PenalizedDiscriminator(net, penalties), bucket_cap_mb=0.001)
        for _ in range(2):
            step(replica, x[mine], fake[mine])
            step(PenalizedDiscriminator(alone, penalties), x, fake)
        for p, q in zip(net.parameters(), alone.parameters(), strict=True):
            assert (p.grad - q.grad).norm() <= 1e-10 * q.grad.norm().clamp_min(1e-5)
    print(f"process {rank} agrees")
    dist.destroy_process_group()
