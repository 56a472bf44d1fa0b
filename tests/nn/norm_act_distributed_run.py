"""One of two processes (started by torchrun): batch norm shared by both, compared with that of the whole batch."""

from __future__ import annotations

import gc

import torch
import torch.distributed as dist
from torch import Tensor

import fastgan
from fastgan.functional import norm_act
from fastgan.nn import BatchNormAct2d, UpsampleConv2d
from tests.tolerances import assert_close

SIZES = (3, 5)  # of the two batches
CHANNELS = 4


def _derivatives(
    norm: BatchNormAct2d,
    then: UpsampleConv2d | None,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    cotangents: list[Tensor],
) -> list[Tensor]:
    """The output, its first derivatives, and those of the sum of these times `cotangents`."""
    grad, *second_cotangents = cotangents
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias, grad)]
    y = norm.apply_with(*leaves[:3], then=then)
    first = torch.autograd.grad(y, leaves[:3], leaves[3], create_graph=True)
    second = torch.autograd.grad(first, [leaves[0], leaves[1], leaves[3]], second_cotangents)
    return [y, *first, *second]


def _compare(rank: int, backend: str) -> None:
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    n = sum(SIZES)
    x = normal(n, CHANNELS, 5, 3).contiguous(memory_format=torch.channels_last) * 2 + 1
    weight, bias = normal(n, CHANNELS), normal(n, CHANNELS)
    cotangents = [normal(*x.shape), normal(n, CHANNELS), normal(n, CHANNELS)]
    torch.manual_seed(0)
    conv = UpsampleConv2d(CHANNELS, 2, 3, dtype=torch.float64)
    alone = BatchNormAct2d(CHANNELS, affine=False, act="lrelu", dtype=torch.float64)
    shared = BatchNormAct2d(CHANNELS, affine=False, act="lrelu", dtype=torch.float64, process_group=dist.group.WORLD)
    mine = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], n)
    with fastgan.use_backend(backend):
        for then, grad in ((None, normal(*x.shape)), (conv, normal(n, 2, 10, 6))):
            expected = _derivatives(alone, then, x, weight, bias, [grad, *cotangents])
            own = [c[mine] for c in (grad, *cotangents)]
            actual = _derivatives(shared, then, x[mine], weight[mine], bias[mine], own)
            for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
                assert_close(a, e[mine], torch.float64, f"{backend}: tensor {i}")
        for name, buffer in shared.named_buffers():
            assert_close(buffer, alone.get_buffer(name), torch.float64, f"{backend}: {name}")
        # Each process's statistics from elsewhere, and parameters that all samples share.
        local = x[mine]
        statistics = torch.stack([local.mean((0, 2, 3)), local.var((0, 2, 3), correction=0) * local[:, 0].numel()])
        y = norm_act(local, None, None, weight[0], training=True, statistics=statistics, process_group=dist.group.WORLD)
        assert_close(y, norm_act(x, None, None, weight[0], training=True)[mine], torch.float64, f"{backend}: sums")
        # One process has nothing: it still takes part.
        part = x[:0] if rank else x
        part = part.detach().requires_grad_()
        y = norm_act(part, training=True, process_group=dist.group.WORLD)
        (grad,) = torch.autograd.grad(y, part, cotangents[0][: len(part)])
        whole = x.detach().requires_grad_()
        (expected_grad,) = torch.autograd.grad(norm_act(whole, training=True), whole, cotangents[0])
        assert_close(grad, expected_grad[: len(part)], torch.float64, f"{backend}: beside an empty batch")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    for name in ("reference", "cpu"):
        _compare(dist.get_rank(), name)
    # The same numbers far from zero, in float32: the mean of one process is far from the other's.
    torch.manual_seed(0)
    samples = torch.randn(8, CHANNELS, 9, 9)
    samples[4:] += 1e4
    half = samples[4 * dist.get_rank() :][:4]
    mean, var = torch.zeros(CHANNELS), torch.zeros(CHANNELS)
    norm_act(half, mean, var, training=True, momentum=1.0, process_group=dist.group.WORLD)
    exact = samples.double().var((0, 2, 3))
    assert ((var - exact) / exact).abs().max() < 1e-6
    print(f"process {dist.get_rank()} agrees")
    # What keeps the group alive keeps its threads, which let go of the last tensors: too late once Python shuts down.
    gc.collect()
    dist.destroy_process_group()
