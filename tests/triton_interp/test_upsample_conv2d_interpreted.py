"""upsample_conv2d's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops import tuned
from fastgan.ops.resampling import accumulator, moments
from fastgan.ops.upsample_conv2d import forms
from fastgan.ops.upsample_conv2d import triton as kernels
from fastgan.ops.upsample_conv2d.triton_flip import flip
from fastgan.ops.upsample_conv2d.triton_fused import fused, tile_of
from fastgan.ops.upsample_conv2d.triton_phase import phase
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter

FUSED, PHASE, BOX, MERGE, FLIP = (
    "upsample_conv2d_kernel", "upsample_conv2d_phase_kernel", "box_filter2d_kernel", "merge_moments_kernel",
    "flip_weight_kernel",
)  # fmt: skip
KERNELS = pytest.mark.parametrize("kernel", [fused, phase], ids=lambda f: f.__name__)


def layer(n: int, c_in: int, c_out: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(n, c_in, height, width, dtype=torch.float64)
    w = torch.randn(c_out, c_in, 3, 3, dtype=torch.float64) * (9 * c_in) ** -0.5
    x, w = (t.to(dtype).contiguous(memory_format=torch.channels_last) for t in (x, w))
    return x, w, torch.randn(c_out).to(dtype)


def stock(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2), w, b, padding=1)


#: Images, channels, height and width: tiles across and below, across images, masks of channels, one pixel.
SHAPES = [(2, 33, 20, 5, 9), (7, 16, 16, 4, 4), (2, 40, 70, 8, 8), (1, 3, 8, 3, 33), (3, 16, 5, 1, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@KERNELS
def test_the_kernels_that_convolve(kernel: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, w, b = layer(*shape, dtype=dtype)
    gathered = torch.empty(2, w.shape[0])
    y = kernel(x, w, b, None, gathered)
    exact = stock(x.double(), w.double(), b.double())
    assert_close(y, exact, dtype)
    assert_close(gathered, moments(y.double()), torch.float32, "statistics")
    assert torch.equal(kernel(x, w, b), y)

    def error(result: Tensor) -> float:
        return (result.double() - exact).square().mean().sqrt().item()

    assert error(y) <= 1.5 * error(stock(x, w, b))


@KERNELS
def test_what_surrounds_an_image_does_not_reach_it(kernel: Callable[..., Tensor]) -> None:
    """Rows of cells run through all images."""
    x, w, b = layer(3, 16, 16, 4, 4, torch.float32)
    alone = kernel(x[1:2], w, b)
    x[0], x[2] = torch.nan, torch.inf
    assert torch.equal(kernel(x, w, b)[1:2], alone)


def test_tiles_fit_the_image() -> None:
    x, w, _ = layer(1, 16, 16, 4, 4, torch.bfloat16)
    assert tile_of(x, w.shape[0])[:3] == (25, 5, 128)
    assert tile_of(x.new_empty(1, 16, 32, 32), 16)[:3] == (14, 9, 128)


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("form", ["stock", "quarter", "fused", "phase"])
def test_every_form(form: str, statistics: bool) -> None:
    """Forward with bias, residual and statistics, and backward, with the launches that each takes."""
    x, w, b = layer(2, 6, 5, 3, 4, torch.float32)
    residual, arguments = torch.randn(2, 5, 6, 8), ([1, 1], 1)
    with tuned.forcing(form), record_launches() as launches:
        y, gathered = kernels.upsample_conv2d(x, w, b, *arguments, residual, statistics, "auto")
        grad = torch.randn_like(y)
        grads = kernels.upsample_conv2d_backward(grad, x, w, *arguments, "auto", [True, True])
    # After a residual the box filter leaves the statistics to torch.
    forward = {"stock": [], "quarter": [FLIP, BOX], "fused": [FUSED, MERGE], "phase": [PHASE, MERGE]}[form]
    backward = [] if form == "stock" else [FLIP, BOX, FLIP]
    names = [name for name in forward if statistics or name != MERGE] + backward
    assert sorted(launch.name for launch in launches) == sorted(names)
    wide = [t.double().requires_grad_() for t in (x, w)]
    exact = stock(*wide, b.double()) + residual
    assert_close(y, exact, torch.float32)
    for ours, theirs in zip(grads, torch.autograd.grad(exact, wide, grad.double()), strict=True):
        assert_close(ours, theirs, torch.float32, "gradient")
    if statistics:
        assert_close(gathered, moments(y.double()), accumulator(y.dtype), "statistics")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_weights_are_turned_exactly(groups: int, layout: torch.memory_format) -> None:
    weight = torch.randn(140, 23, 3, 2).transpose(2, 3)
    for w in (weight, weight.contiguous(memory_format=torch.channels_last)):
        turned = flip(w, groups, layout)
        assert torch.equal(turned, forms.flipped(w, groups, layout)) and turned.is_contiguous(memory_format=layout)
        assert torch.equal(flip(turned, groups, layout), w)
