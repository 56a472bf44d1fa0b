"""Calls that leave the dispatcher out give what calls through it give, also where something is out of the ordinary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from fastgan.functional import bias_act, spectral_linear, spectral_norm
from fastgan.ops import define


def test_negative_views() -> None:
    x = torch._neg_view(torch.randn(4, 5))
    torch.testing.assert_close(bias_act(x, act="relu"), bias_act(x.resolve_neg(), act="relu"))
    u, v = torch.randn(4), torch.randn(5)
    actual, expected = (spectral_norm(w, u, v, n_power_iterations=0)[1] for w in (x, x.resolve_neg()))
    torch.testing.assert_close(actual, expected)


def test_zero_tensors() -> None:
    assert bias_act(torch._efficientzerotensor((300, 300)), act="relu").count_nonzero() == 0


def test_tracing_before_dispatch() -> None:
    u, v = torch.randn(4), torch.randn(5)
    traced = make_fx(lambda w: spectral_norm(w, u, v)[0], pre_dispatch=True)(torch.randn(4, 5))
    assert "fastgan.spectral_norm" in traced.code


def test_function_modes_see_the_op() -> None:
    class Watch(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watch() as watch:
        bias_act(torch.randn(3, 4), act="tanh")
    assert torch.ops.fastgan.bias_act.default in watch.seen


def test_the_profiler_sees_the_op() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        bias_act(torch.randn(3, 4), act="tanh")
    assert "fastgan::bias_act" in [event.key for event in profile.key_averages()]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_a_graph(mode: Any) -> None:
    x: Tensor = torch.randn(3, 4, requires_grad=True)
    with mode():
        y = bias_act(x, act="tanh", gain=2.0)
    assert not y.requires_grad
    torch.testing.assert_close(y, 2 * torch.tanh(x.detach()))


def test_ordinary_tensors_are_called_directly() -> None:
    x = torch.randn(3, 4)
    with torch.inference_mode():
        inference = torch.randn(3, 4)
    for each in (x, torch.nn.Parameter(x), x.requires_grad_(), inference, x.mT[:2]):
        assert define._ordinary([[each]])
    for each in (x.to_sparse(), x.to("meta"), torch._neg_view(x), torch._efficientzerotensor((3,))):
        assert not define._ordinary([[each]])


def test_batches_of_gradients() -> None:
    """Tensors of the plain type whose memory is not what it seems, handed in by torch's own loop."""
    x, u, v = torch.randn(4, 5, requires_grad=True), torch.randn(4), torch.randn(5)
    y, seeds = bias_act(x, act="tanh"), torch.randn(3, 4, 5)
    (actual,) = torch.autograd.grad(y, x, seeds, is_grads_batched=True, retain_graph=True)
    expected = torch.stack([torch.autograd.grad(y, x, seed, retain_graph=True)[0] for seed in seeds])
    torch.testing.assert_close(actual, expected)

    weight, u, v = torch.randn(6, 5), torch.randn(6), torch.randn(5)
    actual = torch.autograd.functional.jacobian(lambda x: spectral_linear(x, weight, None, u, v), x, vectorize=True)
    expected = torch.autograd.functional.jacobian(lambda x: spectral_linear(x, weight, None, u, v), x)
    torch.testing.assert_close(actual, expected)

    weight.requires_grad_()
    normalized = spectral_norm(weight, u, v)[0]
    with pytest.raises(NotImplementedError, match="spectral_norm_backward: is_grads_batched"):
        torch.autograd.grad(normalized, weight, torch.randn(3, 6, 5), is_grads_batched=True)
