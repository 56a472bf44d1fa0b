"""sign_bits and gate_by_bits: the order of bits, special values, the derivative of leaky_relu, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import fastgan
from fastgan.functional import gate_by_bits, sign_bits
from tests.samples.sample import laid_out
from tests.tolerances import assert_close

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with fastgan.use_backend(request.param):
        yield request.param


def expected_bits(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    above = (x.movedim(1, -1) if channels_last else x) > 0
    return torch.from_numpy(np.packbits(above.numpy().ravel(), bitorder="little"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "gaps", "expanded", "transposed"])
def test_sign_bits(layout: str, dtype: torch.dtype, backend: str) -> None:
    shapes = (2, 3, 4, 4), (3, 5, 7, 11), (1, 1, 1, 1), (4, 9, 1, 1), (0, 3, 4, 4), (2, 2, 1, 257)
    for shape, channels_last in itertools.product(shapes, (False, True)):
        x = laid_out(shape, layout, lambda *size: torch.randn(size).to(dtype))
        bits = sign_bits(x, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        assert torch.equal(bits, expected_bits(x, channels_last))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values(dtype: torch.dtype, backend: str) -> None:
    tiny = torch.finfo(dtype).smallest_normal
    subnormal = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    values = [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, tiny, -tiny, subnormal, -subnormal, 1.0, -1.0]
    x = torch.tensor(values, dtype=torch.float64).to(dtype)
    bits = sign_bits(x)
    assert torch.equal(bits, expected_bits(x, False))
    for alpha in (0.0, 0.2):
        y = gate_by_bits(x.flip(0), bits, alpha)
        below = torch.zeros_like(x) if alpha == 0 else x.flip(0) * alpha
        torch.testing.assert_close(y, torch.where(x > 0, x.flip(0), below), rtol=1e-2, atol=0, equal_nan=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_equals_the_derivative_of_the_activation(
    memory_format: torch.memory_format, alpha: float, threads: int
) -> None:
    x = torch.randn(3, 13, 37, 41).contiguous(memory_format=memory_format).requires_grad_()
    grad = torch.randn(3, 13, 37, 41)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with fastgan.use_backend("cpu"):
            bits = sign_bits(x, memory_format=memory_format)
            y = gate_by_bits(grad, bits, alpha, memory_format=memory_format)
    finally:
        torch.set_num_threads(before)
    (expected,) = torch.autograd.grad(F.leaky_relu(x, alpha), x, grad)
    assert_close(y, expected, torch.float32)
    assert y.is_contiguous(memory_format=memory_format)
    assert bits.numel() == (x.numel() + 7) // 8 and not bits.requires_grad


def test_sign_bits_is_registered_as_torch_asks(backend: str) -> None:
    for shape, channels_last in (((3, 7), False), ((2, 3, 4, 5), True)):
        torch.library.opcheck(
            torch.ops.fastgan.sign_bits.default, (torch.randn(shape, requires_grad=True), channels_last, backend)
        )


@pytest.mark.parametrize("dynamic", [False, True])
def test_sign_bits_compiles(dynamic: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: sign_bits(x * 2), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for rows in (3, 5):
        x = torch.randn(rows, 7)
        assert torch.equal(compiled(x), sign_bits(x))


def test_bad_arguments_are_named() -> None:
    x = torch.randn(2, 3, 4, 4)
    bits = sign_bits(x)
    with pytest.raises(ValueError, match=r"gate_by_bits: bits must be \[12\] to match input .*got \[11\]"):
        gate_by_bits(x, bits[1:])
    with pytest.raises(TypeError, match=r"gate_by_bits: bits must be torch\.uint8, got torch\.bool"):
        gate_by_bits(x, bits.bool())
    with pytest.raises(TypeError, match="gate_by_bits: alpha must be a number, got str"):
        gate_by_bits(x, bits, "0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="gate_by_bits: gain must be a number, got str"):
        gate_by_bits(x, bits, gain="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sign_bits: input must be float32"):
        sign_bits(x.int())
    with pytest.raises(ValueError, match=r"sign_bits: memory_format must be torch\.contiguous_format for input \[6\]"):
        sign_bits(torch.randn(6), memory_format=torch.channels_last)
    with pytest.raises(ValueError, match=r"gate_by_bits: memory_format must be .*channels_last for .*preserve_format"):
        gate_by_bits(x, bits, memory_format=torch.preserve_format)
