"""One of two processes (started by torchrun) whose penalised steps are compared with one process's on both batches."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, R2
from tests.tape.networks import BatchNorm, PatchGAN, dcgan


def step(module: nn.Module, x: Tensor, fake: Tensor) -> None:
    out, fake_out, penalty = module(x, fake=fake)
    (F.softplus(-out).mean() + F.softplus(fake_out).mean() + penalty).backward()


def replicated(module: nn.Module) -> nn.Module:
    return DistributedDataParallel(module, bucket_cap_mb=0.001)


def sharded(module: nn.Module) -> nn.Module:
    return fully_shard(module, mesh=init_device_mesh("cpu", (2,)))


def compare(net: nn.Module, size: int, distribute: Callable[[nn.Module], nn.Module]) -> None:
    x, fake = torch.randn(2, 4, 3, size, size)
    alone = copy.deepcopy(net)
    penalties = [R1(2.0), R2(3.0)]
    mine = slice(2 * dist.get_rank(), 2 * dist.get_rank() + 2)
    module = distribute(PenalizedDiscriminator(net, penalties))
    for _ in range(2):
        step(module, x[mine], fake[mine])
        step(PenalizedDiscriminator(alone, penalties), x, fake)
    for p, q in zip(net.parameters(), alone.parameters(), strict=True):
        grad = p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
        assert (grad - q.grad).norm() <= 1e-10 * q.grad.norm().clamp_min(1e-5)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    for distribute in (replicated, sharded):
        compare(dcgan(), 64, distribute)
        compare(PatchGAN(), 64, distribute)
        compare(BatchNorm().eval(), 16, distribute)
    print(f"process {dist.get_rank()} agrees")
    dist.destroy_process_group()
