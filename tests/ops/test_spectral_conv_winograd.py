"""spectral_conv where Winograd's algorithm serves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import spectral_conv
from fastgan.ops import native
from fastgan.ops.conv2d.choice import LANES
from tests.tolerances import WINOGRAD_ERROR


@pytest.mark.parametrize("input_layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("weight_layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_by_winograd_s_algorithm(input_layout: torch.memory_format, weight_layout: torch.memory_format) -> None:
    """It divides the weight by sigma; the layouts of results are those that a compiler foresees."""
    if native.isa_level() not in LANES:
        pytest.skip("the choice was not measured at this level")
    x = torch.randn(8, 256, 16, 16).contiguous(memory_format=input_layout)
    weight = (torch.randn(256, 256, 3, 3) / 48).contiguous(memory_format=weight_layout)
    bias, u, v = torch.randn(256), F.normalize(torch.randn(256), dim=0), F.normalize(torch.randn(2304), dim=0)
    grad = torch.randn(8, 256, 16, 16)

    def run(dtype: torch.dtype, compiled: bool = False) -> list[Tensor]:
        leaves = [t.to(dtype).requires_grad_() for t in (x, weight, bias)]

        def call(*leaves: Tensor) -> Tensor:
            return spectral_conv(*leaves, u.to(dtype), v.to(dtype), padding=1)

        y = (torch.compile(call, fullgraph=True) if compiled else call)(*leaves)
        return [y.detach(), *torch.autograd.grad(y, leaves, grad.to(dtype))]

    ours = run(torch.float32)
    with fastgan.exact_convolutions():
        assert not torch.equal(run(torch.float32)[0], ours[0]), "it was Winograd's"
    with fastgan.use_backend("reference"):
        exact = run(torch.float64)
    for actual, compiled, expected in zip(ours, run(torch.float32, compiled=True), exact, strict=True):
        assert compiled.stride() == actual.stride()
        for result in (actual, compiled):
            assert (result.double() - expected).abs().max() <= WINOGRAD_ERROR * expected.abs().max()


@pytest.mark.parametrize("size", [16, 1])
def test_padding_that_torch_refuses_is_refused(size: int) -> None:
    x, weight = torch.randn(64, 128, size, size), torch.randn(128, 128, 3, 3)
    u, v = F.normalize(torch.randn(128), dim=0), F.normalize(torch.randn(1152), dim=0)
    with pytest.raises((RuntimeError, ValueError), match=r"padding|[Kk]ernel size"):
        spectral_conv(x, weight, None, u, v, padding=-1 if size > 1 else 0)
