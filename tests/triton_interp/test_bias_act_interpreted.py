"""bias_act's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import math

import pytest
import torch

import fastgan
from fastgan.functional import bias_act
from fastgan.ops.bias_act import reference
from fastgan.ops.bias_act import triton as kernels
from fastgan.ops.bias_act.activations import ACTIVATIONS
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


def check(x: torch.Tensor, act: str, dim: int = 1) -> None:
    """Forward and backward with a bias, against the reference in float64."""
    bias, grad, args = torch.randn(x.shape[dim]).to(x.dtype), torch.randn_like(x), (act, 0.2, 1.25, 1.5, dim)
    y = kernels.bias_act(x, bias, *args)
    assert_close(y, reference.bias_act(x.double(), bias.double(), *args), x.dtype)
    saved, bias = (x, bias) if act == "swish" else (y, None)
    actual = kernels.bias_act_backward(grad, saved, bias, *args, True)
    wide = None if bias is None else bias.double()
    expected = reference.bias_act_backward(grad.double(), saved.double(), wide, *args, True)
    assert_close(actual[0], expected[0], x.dtype, "input's gradient")
    assert_close(actual[1], expected[1], x.dtype, "bias's gradient")


@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize(
    ("shape", "dim"),
    [((4, 9), 0), ((2, 3, 4), 2), ((3, 7, 33, 33), 1), ((33, 13, 9, 3), 1), ((70, 300), 1), ((1, 3, 1040), 1)],
    ids=str,
)
def test_several_blocks(shape: tuple[int, ...], dim: int, act: str) -> None:
    check(torch.randn(shape), act, dim)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_programs_that_take_several_steps(layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_REDUCING_PROGRAMS", 2)
    x = torch.randn(11, 6, 13, 11).contiguous(memory_format=layout)
    assert kernels.plan(x, 1, by_channel=True, reduces=True).steps > 1
    check(x, "sigmoid")


def test_more_partial_sums_than_one_block_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_BLOCKS", ((1 << 62, 4),))
    x = torch.randn(300, 2, 2, dtype=torch.float64)  # float64 blocks have half the elements
    assert kernels.plan(x, 1, by_channel=True, reduces=True).partials == 300
    check(x, "lrelu")


def test_strided_bias() -> None:
    x, bias = torch.randn(3, 4, 5), torch.randn(8)[::2]
    expected = torch.relu(x + bias[:, None])
    assert torch.equal(kernels.bias_act(x, bias, "relu", 0.0, 1.0, None, 1), expected)


def test_backward_outside_the_block_uses_the_same_backend() -> None:
    x, bias = torch.randn(2, 3, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    with fastgan.use_backend("triton"):
        y = bias_act(x, bias, act="tanh")
    with record_launches() as launches:
        y.sum().backward()
    assert [launch.name for launch in launches] == ["bias_act_bwd_kernel", "bias_act_bias_grad_kernel"]
    expected = torch.autograd.grad(torch.tanh(x + bias[:, None]).sum(), (x, bias))
    torch.testing.assert_close((x.grad, bias.grad), expected)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [None, 256.0])
def test_special_values(act: str, clamp: float | None) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e30, -1e30, 1e-38])
    args = (act, 0.2, 1.0, clamp, 0)
    y = kernels.bias_act(x, None, *args)
    torch.testing.assert_close(y, reference.bias_act(x, None, *args), equal_nan=True, rtol=1e-6, atol=0)
    saved, grad = (x if act == "swish" else y), torch.ones(8)
    actual, _ = kernels.bias_act_backward(grad, saved, None, *args, False)
    expected, _ = reference.bias_act_backward(grad, saved, None, *args, False)
    torch.testing.assert_close(actual, expected, equal_nan=True, rtol=1e-6, atol=0)


@pytest.mark.parametrize("act", ["tanh", "elu", "selu", "softplus", "swish", "sigmoid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_relative_error(act: str, dtype: torch.dtype) -> None:
    """Every digit counts near zero and in the tails too, where an absolute tolerance would hide a wrong formula."""
    magnitudes = torch.logspace(-25, 1.3, 3000, dtype=torch.float64)
    x = torch.cat([-magnitudes, magnitudes]).to(dtype)
    exact = {
        "tanh": torch.tanh,
        "elu": lambda z: torch.where(z > 0, z, torch.expm1(z)),
        "selu": lambda z: reference.SELU_SCALE * torch.where(z > 0, z, reference.SELU_ALPHA * torch.expm1(z)),
        "softplus": lambda z: torch.where(z > 0, z, 0) + torch.log1p(torch.exp(-z.abs())),
        "swish": lambda z: z / (1 + torch.exp(-z)),
        "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
    }[act](x.double())
    y = kernels.bias_act(x, None, act, 0.0, 1.0, None, 0)
    assert ((y.double() - exact) / exact).abs().max() < 6 * torch.finfo(dtype).eps
