"""One of two processes (started by torchrun) that trains residual blocks: ours beside stock's, and both replicas."""

from __future__ import annotations

import gc
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fastgan
from fastgan.models.layers import Layers, fast_layers, stock_layers

CLASSES = 3
CONVOLUTIONS = {
    "fastgan::norm_act_upsample_conv2d",
    "fastgan::upsample_conv2d_backward",
    "fastgan::conv2d_avg_pool2d",
    "fastgan::conv2d_avg_pool2d_backward",
}


class _Critic(nn.Module):
    """An up block and a down block, so that labels, batch norm and spectral norm all take part."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        norm = partial(layers.batch_norm, num_classes=CLASSES)
        self.up = layers.block_up(4, 6, norm=norm, wrap=layers.spectral_norm)
        self.down = layers.block_down(6, 5, wrap=layers.spectral_norm)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.down(self.up(x, labels))


def _train(layers: Layers, state: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    critic = _Critic(layers).double()
    critic.load_state_dict(state)
    replica = DistributedDataParallel(critic)
    optimizer = torch.optim.Adam(replica.parameters(), lr=1e-2, betas=(0.0, 0.9))
    generator = torch.Generator().manual_seed(rank)
    for _ in range(4):
        x = torch.randn(3, 4, 5, 4, dtype=torch.float64, generator=generator)
        labels = torch.randint(CLASSES, (3,), generator=generator)
        optimizer.zero_grad()
        F.relu(1 - replica(x, labels)).mean().backward()
        optimizer.step()
    return critic.state_dict()


if __name__ == "__main__":
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    rank = dist.get_rank()
    torch.manual_seed(0)
    start = _Critic(stock_layers()).double().state_dict()
    # By our convolutions, to which work as small as this is not given otherwise.
    with fastgan.use_backend("cpu"), torch.profiler.profile() as profile:
        ours = _train(fast_layers(), start, rank)
    ran = {event.key for event in profile.key_averages()}
    assert ran >= CONVOLUTIONS, f"not run: {CONVOLUTIONS - ran}"
    stock = _train(stock_layers(), start, rank)
    assert list(ours) == list(stock)
    for key, tensor in ours.items():
        # The bound for training in float64: Adam makes steps of the rounding errors that are conv1.bias's gradient.
        assert (tensor.double() - stock[key].double()).abs().max() <= 1e-9, f"{key} beside stock"
        if "running" in key or "num_batches" in key:
            continue  # each process has those of its own batches until DDP hands out the first one's
        others = [torch.empty_like(tensor) for _ in range(2)]
        dist.all_gather(others, tensor.contiguous())
        assert torch.equal(*others), f"{key} differs between the processes"
    print(f"process {rank} agrees")
    # What keeps the group alive keeps its threads, which let go of the last tensors: too late once Python shuts down.
    gc.collect()
    dist.destroy_process_group()
