"""sign_bits' and gate_by_bits' Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import math

import pytest
import torch

from fastgan.ops.gate_by_bits import reference
from fastgan.ops.gate_by_bits import triton as kernels
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_several_blocks(dtype: torch.dtype, channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_BLOCKS", ((1 << 62, 16),))
    x, grad = torch.randn(3, 5, 7, 11).to(dtype), torch.randn(3, 5, 7, 11).to(dtype)
    bits = kernels.sign_bits(x, channels_last)
    assert torch.equal(bits, reference.sign_bits(x, channels_last))
    for alpha in (0.0, 0.2):
        y = kernels.gate_by_bits(grad, bits, alpha, 1.0, channels_last)
        assert_close(y, torch.where(x > 0, grad.double(), alpha * grad.double()), dtype)
        assert y.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_special_values(dtype: torch.dtype) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-7, -1e-7, 1.0, -1.0]).to(dtype)
    bits = kernels.sign_bits(x, False)
    assert torch.equal(bits, reference.sign_bits(x, False))
    for alpha in (0.0, 0.2):
        expected = reference.gate_by_bits(x.flip(0), bits, alpha, 1.0, False)
        actual = kernels.gate_by_bits(x.flip(0), bits, alpha, 1.0, False)
        torch.testing.assert_close(actual, expected, equal_nan=True)


def test_nothing_of_nothing() -> None:
    assert kernels.sign_bits(torch.empty(0, 3), False).shape == (0,)
