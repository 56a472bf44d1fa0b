"""The convolving kernels with normalisation and activation before the products, interpreted on the CPU."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import norm_act, norm_act_upsample_conv2d, upsample_conv2d
from fastgan.nn import ConditionalBatchNorm2d, ResBlockUp
from fastgan.ops import tuned
from fastgan.ops.upsample_conv2d import triton_plan
from fastgan.ops.upsample_conv2d.triton import KERNELS
from fastgan.ops.upsample_conv2d.triton_parts import Prologue
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


def layer(n: int, c_in: int, c_out: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x, w = torch.randn(n, c_in, height, width) + 1, torch.randn(c_out, c_in, 3, 3) * (9 * c_in) ** -0.5
    x, w = (t.to(dtype).contiguous(memory_format=torch.channels_last) for t in (x, w))
    return x, w, torch.randn(c_out).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(2, 33, 20, 5, 9), (7, 16, 16, 4, 4), (3, 16, 5, 1, 1)], ids=str)
@pytest.mark.parametrize("form", KERNELS)
def test_zeros_stay_zeros_around_an_activated_image(form: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """A shift makes something else of zero; halos, images side by side and channels beyond the last are masked."""
    x, w, b = layer(*shape, dtype=dtype)
    n, c = x.shape[:2]
    mean, variance = torch.randn(c), torch.rand(c) + 0.5
    residual = torch.randn(n, w.shape[0], *(2 * s for s in shape[3:]))
    channel, sample = torch.randn(c), torch.randn(n, c)
    for scale, shift in ((sample, channel.to(dtype)), (channel, sample), (None, None)):
        prologue = Prologue(mean, variance, scale, shift, "lrelu", 0.2, -1.3, 1e-3)
        y = KERNELS[form](x, w, b, residual.to(dtype), None, prologue)

        def stock(dtype: torch.dtype, scale: Any = scale, shift: Any = shift) -> Tensor:
            affine = (None if p is None else p.double() for p in (scale, shift))
            a = norm_act(x.double(), mean.double(), variance.double(), *affine, eps=1e-3, act="lrelu", gain=-1.3)
            with fastgan.use_backend("reference"):
                return upsample_conv2d(a.to(dtype), w.to(dtype), b.to(dtype), residual=residual.to(x.dtype).to(dtype))

        exact, rounded = stock(torch.float64), stock(dtype)
        assert_close(y, exact, dtype)

        def error(result: Tensor, exact: Tensor = exact) -> float:
            return (result.double() - exact).square().mean().sqrt().item()

        assert error(y) <= 1.5 * error(rounded)


def leaves(dtype: torch.dtype) -> dict[str, Tensor]:
    x, w, b = layer(2, 20, 6, 3, 4, dtype)
    parameters = {"input": x, "weight": w, "bias": b, "scale": torch.randn(2, 20), "shift": torch.randn(2, 20)}
    parameters["residual"] = torch.randn(2, 6, 6, 8).to(dtype)
    return {name: t.requires_grad_() for name, t in parameters.items()}


def derivatives(function: Any, tensors: dict[str, Tensor], **options: Any) -> list[Tensor]:
    """Outputs, first and second derivatives along random directions, and the running statistics."""
    generator = torch.Generator().manual_seed(1)

    def like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator).to(x)

    wide = torch.promote_types(tensors["scale"].dtype, torch.float32)
    running = {"running_mean": torch.ones(20, dtype=wide), "running_var": torch.ones(20, dtype=wide)}
    y, statistics = function(**tensors, **running, act="relu", return_statistics=True, **options)
    direction = like(y)
    plain = torch.autograd.grad(y, list(tensors.values()), direction, retain_graph=True)
    first = torch.autograd.grad(y, list(tensors.values()), direction, create_graph=True)
    directions = [like(g) for g in first]
    inputs = [tensors[name] for name in ("input", "weight", "scale")]
    second = torch.autograd.grad([g for g in first if g.requires_grad], inputs,
                                 [d for d, g in zip(directions, first, strict=True) if g.requires_grad])  # fmt: skip
    return [y, statistics, *plain, *first, *second, *running.values()]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", [None, "quarter", *KERNELS])
def test_the_op_equals_its_two_ops(form: str | None, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a table; float32 shows what bfloat16 would hide."""
    monkeypatch.setitem(triton_plan._FUSED_CHANNELS, torch.float32, 64)
    monkeypatch.setattr(tuned, "_forced", form)
    tensors = leaves(torch.float32)
    with fastgan.use_backend("triton"), record_launches() as launches:
        actual = derivatives(norm_act_upsample_conv2d, tensors, training=training)
    exact = {name: t.detach().double().requires_grad_() for name, t in tensors.items()}
    with fastgan.use_backend("reference"):
        expected = derivatives(norm_act_upsample_conv2d, exact, training=training)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_close(a, e, torch.float32, f"tensor {i}")
    names = [launch.name for launch in launches]
    normalised = ["norm_act_statistics_kernel", "norm_act_merge_kernel"] * training
    if form == "quarter":
        assert names[: len(normalised) + 1] == [*normalised, "norm_act_fwd_kernel"]
    else:
        kernel = "upsample_conv2d_phase_kernel" if form == "phase" else "upsample_conv2d_kernel"
        assert names[: len(normalised) + 1] == [*normalised, kernel]
        assert "norm_act_fwd_kernel" in names, "made again for the weight's gradient"


def test_what_is_not_written_is_not_saved_and_made_again_only_for_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = leaves(torch.bfloat16)
    saved: list[Tensor] = []
    with (
        fastgan.use_backend("triton"),
        torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t),
        record_launches() as launches,
    ):
        y = norm_act_upsample_conv2d(**tensors, training=True, act="relu")
        assert sum(t.numel() > 200 and t.shape == tensors["input"].shape for t in saved) == 1
        torch.autograd.grad(y, tensors["input"], torch.ones_like(y), retain_graph=True)
        assert "norm_act_fwd_kernel" not in [launch.name for launch in launches]
        torch.autograd.grad(y, tensors["weight"], torch.ones_like(y))
        assert [launch.name for launch in launches].count("norm_act_fwd_kernel") == 1


@pytest.mark.parametrize("training", [False, True])
def test_a_block_hands_its_norm_to_the_kernel(training: bool) -> None:
    block = ResBlockUp(16, 8, norm=partial(ConditionalBatchNorm2d, num_classes=3, act="relu")).train(training)
    exact = copy.deepcopy(block).double()
    block = block.bfloat16().to(memory_format=torch.channels_last)
    x, labels = torch.randn(2, 16, 4, 4).bfloat16(), torch.tensor([0, 2])
    with fastgan.use_backend("triton"), record_launches() as launches, torch.no_grad():
        y = block(x.contiguous(memory_format=torch.channels_last), labels)
    names = [launch.name for launch in launches]
    assert "upsample_conv2d_kernel" in names
    assert names.count("norm_act_fwd_kernel") == 1, "the second norm's"
    with fastgan.use_backend("reference"), torch.no_grad():
        assert_close(y, exact(x.double(), labels), torch.bfloat16)
    if training:
        assert_close(block.norm1.norm.running_mean, exact.norm1.norm.running_mean, torch.bfloat16)
