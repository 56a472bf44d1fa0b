"""The activation modules as replacements of torch's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan.nn
from fastgan.functional import bias_act
from tests.tolerances import assert_close

PAIRS = {
    "relu": (nn.ReLU, fastgan.nn.ReLU, ()),
    "relu-inplace": (nn.ReLU, fastgan.nn.ReLU, (True,)),
    "leaky_relu": (nn.LeakyReLU, fastgan.nn.LeakyReLU, ()),
    "leaky_relu-0.2": (nn.LeakyReLU, fastgan.nn.LeakyReLU, (0.2,)),
    "leaky_relu-negative": (nn.LeakyReLU, fastgan.nn.LeakyReLU, (-0.3,)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_torch_s_module(name: str) -> None:
    stock_class, our_class, arguments = PAIRS[name]
    stock, ours = stock_class(*arguments), our_class(*arguments)
    assert isinstance(ours, stock_class) and repr(ours) == repr(stock)
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    outputs = [module(x * 1) for module in (ours, stock)]  # torch's may write into its input
    grad = torch.randn_like(x)
    gradients = [torch.autograd.grad(y, x, grad)[0] for y in outputs]
    assert_close(outputs[0], outputs[1], torch.float64)
    assert_close(gradients[0], gradients[1], torch.float64)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("stock_class", [nn.ReLU, nn.LeakyReLU])
def test_inplace_means_what_it_means_in_torch(stock_class: type[nn.Module], inplace: bool) -> None:
    our_class = getattr(fastgan.nn, stock_class.__name__)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for module in (our_class(inplace=inplace), stock_class(inplace=inplace)):
        hidden = x * 2
        y = module(hidden) + hidden  # the shortcut sees the activation where it is in place
        results.append([y, *torch.autograd.grad(y.square().sum(), x)])
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, torch.float64)


def test_bias_act_is_the_function_with_a_parameter() -> None:
    module = fastgan.nn.BiasAct(5, "lrelu", alpha=0.1, gain=1.5, clamp=2.0, dim=-1, dtype=torch.float64)
    nn.init.normal_(module.bias)
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = bias_act(x, module.bias, act="lrelu", alpha=0.1, gain=1.5, clamp=2.0, dim=-1)
    assert torch.equal(module(x), expected)
    assert list(module.state_dict()) == ["bias"] and module.bias.shape == (5,)
    assert repr(module) == "BiasAct(5, act='lrelu', alpha=0.1, gain=1.5, clamp=2.0, dim=-1)"
    assert fastgan.nn.BiasAct(5, bias=False).bias is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies(copied: Callable[[nn.Module], nn.Module]) -> None:
    module = nn.Sequential(fastgan.nn.BiasAct(4, "swish"), fastgan.nn.LeakyReLU(0.2), fastgan.nn.ReLU())
    x = torch.randn(2, 4)
    assert torch.equal(copied(module)(x), module(x))


class _Convolutions(TorchDispatchMode):
    """How many convolutions run, forward and backward ones together, and how many of each product."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.products += 1
        elif func is torch.ops.aten.convolution_backward.default:
            self.products += sum(args[-1][:2])  # output_mask: input gradient, weight gradient
        return func(*args, **(kwargs or {}))


def _penalty_step(activation: Callable[[], nn.Module]) -> tuple[int, list[Tensor]]:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (3, 4, 4, 4, 4):
        layers += [nn.Conv2d(channels, 4, 3, padding=1), activation()]
    critic = nn.Sequential(*layers, nn.Conv2d(4, 1, 8)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    with _Convolutions() as counted:
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        gradients = torch.autograd.grad(gradient.square().sum(), list(critic.parameters()), allow_unused=True)
    parameters = list(critic.parameters())
    return counted.products, [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)
    ]


def test_a_gradient_penalty_runs_no_pass_over_zeros() -> None:
    stock_products, stock = _penalty_step(lambda: nn.LeakyReLU(0.2))
    our_products, ours = _penalty_step(lambda: fastgan.nn.LeakyReLU(0.2))
    for actual, expected in zip(ours, stock, strict=True):
        assert_close(actual, expected, torch.float64)
    # Six layers, four products each: forward, input gradient, that one's tangent, weight gradient. torch's double
    # backward of the activation adds defined zeros, which travel back through the layers below it.
    assert (our_products, stock_products) == (24, 33)
