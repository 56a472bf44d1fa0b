"""One of two processes (started by torchrun): trains a critic with spectral norm, then compares the replicas."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

from fastgan.nn.utils import group_spectral_norm, spectral_norm


def _train(
    norm: Callable[[nn.Module], nn.Module],
    broadcast_buffers: bool,
    rank: int,
    finish: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> DistributedDataParallel:
    # DDP starts all replicas from the first process's parameters, but from its buffers only where it broadcasts them.
    torch.manual_seed(rank if broadcast_buffers else 0)
    critic = nn.Sequential(
        norm(nn.Conv2d(3, 6, 3, padding=1).double()),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        norm(nn.Linear(6 * 16, 1).double()),
    )
    replica = DistributedDataParallel(finish(critic), broadcast_buffers=broadcast_buffers)
    optimizer = torch.optim.Adam(replica.parameters(), lr=1e-2, betas=(0.0, 0.9))
    images = torch.Generator().manual_seed(rank)
    for _ in range(4):
        real, fake = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64, generator=images)
        optimizer.zero_grad()
        (F.relu(1 - replica(real)).mean() + F.relu(1 + replica(fake)).mean()).backward()
        optimizer.step()
    return replica


def _everywhere(tensor: Tensor) -> list[Tensor]:
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, tensor.detach().contiguous())
    return gathered


if __name__ == "__main__":
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    rank, broadcast_buffers = dist.get_rank(), sys.argv[1] == "True"
    stock = _train(parametrizations.spectral_norm, broadcast_buffers, rank).state_dict()
    once_per_step = partial(group_spectral_norm, once_per_step=True)
    for finish in (None, group_spectral_norm, once_per_step):
        ours = _train(spectral_norm, broadcast_buffers, rank, finish or (lambda model: model)).state_dict()
        assert list(ours) == list(stock) and sum(key.endswith(("._u", "._v")) for key in ours) == 4
        for key, tensor in ours.items():
            first, second = _everywhere(tensor)
            assert torch.equal(first, second), f"{key} differs between processes"
            if finish is not once_per_step:  # which is another training
                close = torch.allclose(tensor, stock[key], rtol=1e-9, atol=1e-9)
                assert close, f"{key} is not what torch's leads to"
    print(f"process {rank} agrees")
    # DDP's cycles keep the group alive, whose threads let go of the last tensors: too late once Python shuts down.
    gc.collect()
    dist.destroy_process_group()
