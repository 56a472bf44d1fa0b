"""UpsampleConv2d and ConvAvgPool2d as drop-ins for torch's pairs of modules."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fastgan.nn import ConvAvgPool2d, UpsampleConv2d
from fastgan.nn.utils import spectral_norm
from tests.tolerances import assert_close


def stock_up(**options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1, **options)).double()


def stock_down(**options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, **options), nn.AvgPool2d(2)).double()


MODULES = [pytest.param(UpsampleConv2d, stock_up, 1, id="up"), pytest.param(ConvAvgPool2d, stock_down, 0, id="down")]


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    y = module(x)
    return [y, *torch.autograd.grad(y.square().sum(), [p for p in module.parameters() if p.requires_grad])]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "stock", "at"), MODULES)
def test_from_stock_shares_the_parameters(kind: Any, stock: Any, at: int, bias: bool) -> None:
    pair = stock(bias=bias).eval()
    ours = kind.from_stock(pair)
    assert ours.weight is pair[at].weight and ours.bias is pair[at].bias and not ours.training
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    for a, e in zip(gradients(ours, x), gradients(pair, x), strict=True):
        assert_close(a, e, torch.float64)


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, spectral_norm], ids=["torch", "fastgan"])
@pytest.mark.parametrize(("kind", "stock", "at"), MODULES)
def test_spectral_norm_composes_and_is_taken_over(kind: Any, stock: Any, at: int, norm: Any) -> None:
    pair = stock()
    norm(pair[at])
    ours = kind.from_stock(copy.deepcopy(pair))
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    for _ in range(2):  # the iterations go on from the same vectors
        for a, e in zip(gradients(ours, x), gradients(pair, x), strict=True):
            assert_close(a, e, torch.float64)
    assert [k.removeprefix(f"{at}.") for k in pair.state_dict()] == list(ours.state_dict())


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(("kind", "stock", "at"), MODULES)
def test_the_stock_layout_loads_wherever_the_module_is(kind: Any, stock: Any, at: int, normalised: bool) -> None:
    pair, ours = stock(), kind(3, 4, 3, dtype=torch.float64)
    if normalised:
        spectral_norm(pair[at])
        spectral_norm(ours)
    outer, stock_outer = nn.ModuleDict({"layer": ours}), nn.ModuleDict({"layer": pair})
    outer.load_state_dict(stock_outer.state_dict())
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    assert_close(outer.eval()["layer"](x), stock_outer.eval()["layer"](x), torch.float64)
    again = kind(3, 4, 3, dtype=torch.float64)
    if normalised:
        spectral_norm(again)
    again.load_state_dict(ours.state_dict())  # its own layout
    with pytest.raises(RuntimeError, match="Unexpected key"):
        again.load_state_dict({**ours.state_dict(), f"{at}.weight": torch.zeros(1)})


def test_what_is_no_such_pair_is_refused() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1)
    hooked = copy.deepcopy(conv)
    hooked.register_forward_pre_hook(lambda *_: None)

    class Doubled(nn.Conv2d):
        pass

    wrong = [
        (ConvAvgPool2d, [Doubled(3, 4, 3), nn.AvgPool2d(2)], "a torch.nn.Conv2d itself"),
        (UpsampleConv2d, [conv], "expected nn.Sequential"),
        (UpsampleConv2d, [nn.Upsample(scale_factor=3), conv], "nearest and by 2"),
        (UpsampleConv2d, [nn.Upsample(scale_factor=2, mode="bilinear"), conv], "nearest and by 2"),
        (UpsampleConv2d, [nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, stride=2)], "stride 1"),
        (UpsampleConv2d, [nn.Upsample(scale_factor=2), hooked], "no hooks"),
        (ConvAvgPool2d, [conv, nn.AvgPool2d(3)], r"AvgPool2d\(2\)"),
        (ConvAvgPool2d, [conv, nn.AvgPool2d(2, ceil_mode=True)], "ceil_mode"),
        (ConvAvgPool2d, [nn.Upsample(scale_factor=2), conv], "expected nn.Sequential"),
    ]
    for kind, modules, message in wrong:
        with pytest.raises(ValueError, match=f"{kind.__name__}.from_stock: .*{message}"):
            kind.from_stock(nn.Sequential(*modules))


def test_the_fir_mode_compiles_too_and_wrong_options_are_refused() -> None:
    torch._dynamo.reset()
    module = UpsampleConv2d(3, 4, 3, mode="fir")
    x = torch.randn(2, 3, 6, 4)
    assert_close(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x), torch.float32)
    with pytest.raises(ValueError, match="UpsampleConv2d: mode must be one of nearest, fir, got 'bicubic'"):
        UpsampleConv2d(3, 4, 3, mode="bicubic")
    with pytest.raises(ValueError, match="ConvAvgPool2d: pool_size must be an integer of at least 1, got 0"):
        ConvAvgPool2d(3, 4, 3, pool_size=0)
    for padding in (-1, (1,)):
        with pytest.raises(ValueError, match="UpsampleConv2d: padding must be 'same', 'valid' or"):
            UpsampleConv2d(3, 4, 3, padding=padding)


@pytest.mark.parametrize(("kind", "stock", "at"), MODULES)
def test_compiles_fullgraph_and_under_autocast(kind: Any, stock: Any, at: int) -> None:
    torch._dynamo.reset()
    ours = kind(3, 4, 3)
    x = torch.randn(2, 3, 6, 4)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for a, e in zip(gradients(compiled, x), gradients(ours, x), strict=True):
        assert_close(a, e, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16
