"""The normalisation modules as replacements of torch's, and those that generators add."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan.nn as ours_nn
from fastgan.functional import norm_act
from fastgan.models.blocks import ConditionalBatchNormReLU
from tests.tolerances import assert_close
from tests.trainers.runs import run_python

PAIRS = {
    "batch": (nn.BatchNorm2d, ours_nn.BatchNormAct2d, {}),
    "batch-cumulative": (nn.BatchNorm2d, ours_nn.BatchNormAct2d, {"momentum": None}),
    "batch-no-statistics": (nn.BatchNorm2d, ours_nn.BatchNormAct2d, {"track_running_stats": False, "affine": False}),
    "instance": (nn.InstanceNorm2d, ours_nn.InstanceNormAct2d, {}),
    "instance-tracked": (nn.InstanceNorm2d, ours_nn.InstanceNormAct2d, {"track_running_stats": True, "affine": True}),
}


def _modules(name: str, **options: Any) -> tuple[nn.Module, nn.Module]:
    stock_class, our_class, arguments = PAIRS[name]
    stock = stock_class(5, **arguments).double()
    for parameter in stock.parameters():
        nn.init.normal_(parameter)
    ours = our_class(5, **arguments, **options).double()
    ours.load_state_dict(stock.state_dict())
    return stock, ours


@pytest.mark.parametrize("name", PAIRS)
def test_equals_torch_s_module_in_training_and_after(name: str) -> None:
    stock, ours = _modules(name)
    assert isinstance(ours, type(stock)) and ours.extra_repr() == stock.extra_repr()
    for training in (True, True, False):
        x = torch.randn(3, 5, 4, 6, dtype=torch.float64, requires_grad=True)
        grad = torch.randn_like(x)
        results = []
        for module in (ours.train(training), stock.train(training)):
            y = module(x)
            results.append([y, *torch.autograd.grad(y, [x, *module.parameters()], grad)])
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, torch.float64)
    assert list(ours.state_dict()) == list(stock.state_dict())
    for key, tensor in ours.state_dict().items():
        assert_close(tensor, stock.state_dict()[key], torch.float64, key)
    stock.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("name", ["batch", "instance"])
def test_constructors_take_torch_s_arguments_in_torch_s_order(name: str) -> None:
    stock_class, our_class, _ = PAIRS[name]
    stock, ours = (inspect.signature(c.__init__).parameters for c in (stock_class, our_class))
    positional = [p for p in stock.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in list(ours.values())[: len(positional)]] == [
        (p.name, p.default) for p in positional
    ]
    extra = [p for p in stock.values() if p.kind is p.KEYWORD_ONLY]
    for parameter in extra:  # those of this torch's version
        our_class(3, affine=True, **{parameter.name: parameter.default})


def test_the_activation_is_applied_and_named() -> None:
    stock, ours = _modules("batch", act="lrelu", alpha=0.3)
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    assert_close(ours(x), F.leaky_relu(stock(x), 0.3), torch.float64)
    assert ours.extra_repr() == stock.extra_repr() + ", act='lrelu', alpha=0.3"
    with pytest.raises(ValueError, match="BatchNormAct2d: act must be one of linear, relu, lrelu, got 'gelu'"):
        ours_nn.BatchNormAct2d(5, act="gelu")
    unbatched = torch.randn(5, 4, 6)
    assert_close(ours_nn.InstanceNormAct2d(5)(unbatched), nn.InstanceNorm2d(5)(unbatched), torch.float32)


def test_statistics_from_the_layer_before_are_used_in_training_only() -> None:
    _, ours = _modules("batch")
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    sums = torch.stack([x.mean((0, 2, 3)) + 1, x.var((0, 2, 3), correction=0) * 72])
    bias = ours.bias[:, None, None]
    shifted = (ours(x, sums) - bias) + ours.weight[:, None, None] / (x.var((0, 2, 3), correction=0) + 1e-5).sqrt()[
        :, None, None
    ]
    assert_close(shifted + bias, nn.functional.batch_norm(x, None, None, ours.weight, ours.bias, True), torch.float64)
    ours.eval()
    assert torch.equal(ours(x, sums), ours(x))


def test_one_value_per_channel_is_torch_s_error() -> None:
    x = torch.randn(1, 5, 1, 1)
    for module in (nn.BatchNorm2d(5), ours_nn.BatchNormAct2d(5)):
        with pytest.raises(ValueError, match="xpected more than 1 value per channel when training"):
            module(x)
        module.eval()(x)


def test_conditional_batch_norm_loads_the_stock_generator_s() -> None:
    stock = ConditionalBatchNormReLU(5, 7).double()
    for table in (stock.weight, stock.bias):
        nn.init.normal_(table.weight)
    ours = ours_nn.ConditionalBatchNorm2d(5, 7, act="relu").double()
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert [p.sum().item() for p in ours.parameters()] == [35, 0]
    ours.load_state_dict(stock.state_dict())
    labels = torch.tensor([6, 0, 6])
    for training in (True, False):
        x = torch.randn(3, 5, 4, 6, dtype=torch.float64, requires_grad=True)
        results = []
        for module in (ours, stock):
            y = module.train(training)(x, labels)
            results.append([y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])])
        for actual, expected in zip(*results, strict=True):
            assert_close(actual, expected, torch.float64)
    for key, tensor in ours.state_dict().items():
        assert_close(tensor, stock.state_dict()[key], torch.float64, key)


def test_conditions_and_styles_are_linear() -> None:
    x, y = torch.randn(3, 5, 4, 6, dtype=torch.float64), torch.randn(3, 11, dtype=torch.float64)

    def modulate(normed: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return F.relu(normed * (1 + scale)[:, :, None, None] + shift[:, :, None, None])

    conditioned = ours_nn.ConditionedBatchNorm2d(5, 11, act="relu").double()
    assert list(dict(conditioned.named_parameters())) == ["gain.weight", "bias.weight"]
    expected = modulate(nn.BatchNorm2d(5, affine=False).double()(x), conditioned.gain(y), conditioned.bias(y))
    assert_close(conditioned(x, y), expected, torch.float64)
    normed = ours_nn.ConditionedBatchNorm2d(5, 11, linear=lambda *a, **k: nn.utils.spectral_norm(nn.Linear(*a, **k)))
    assert "gain.weight_orig" in normed.state_dict()

    adaptive = ours_nn.AdaptiveInstanceNorm2d(5, 11, act="relu").double()
    expected = modulate(nn.InstanceNorm2d(5)(x), *adaptive.style(y).chunk(2, 1))
    assert_close(adaptive(x, y), expected, torch.float64)
    assert_close(ours_nn.PixelNorm()(x), x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt(), torch.float64)


def test_conditions_that_do_not_match_are_named() -> None:
    x = torch.randn(3, 5, 4, 6)
    labelled, linear = ours_nn.ConditionalBatchNorm2d(5, 7), ours_nn.ConditionedBatchNorm2d(5, 11)
    adaptive = ours_nn.AdaptiveInstanceNorm2d(5, 11)
    wrong: list[tuple[nn.Module, Any, type[Exception], str]] = [
        (labelled, torch.zeros(2, dtype=torch.int64), ValueError, r"labels must be \[3\] to match input.*got \[2\]"),
        (labelled, torch.zeros(3, 1, dtype=torch.int64), ValueError, r"labels must be \[3\].*got \[3, 1\]"),
        (labelled, torch.zeros(3), TypeError, "labels must be a Tensor of int64 or int32, got torch.float32"),
        (labelled, [0, 1, 2], TypeError, "labels must be a Tensor of int64 or int32, got list"),
        (linear, torch.zeros(2, 11), ValueError, r"condition must be \[3, 11\] to match input.*got \[2, 11\]"),
        (adaptive, torch.zeros(3, 10), ValueError, r"style must be \[3, 11\].*got \[3, 10\]"),
    ]
    for module, condition, error, message in wrong:
        with pytest.raises(error, match=f"{type(module).__name__}: {message}"):
            module(x, condition)


def test_autocast_is_torch_s() -> None:
    stock, ours = nn.BatchNorm2d(5), ours_nn.BatchNormAct2d(5)
    conditioned = ours_nn.ConditionedBatchNorm2d(5, 11)
    x, y = torch.randn(3, 5, 4, 6), torch.randn(3, 11)
    for dtype in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", torch.bfloat16):
            actual, expected = ours(x.to(dtype)), stock(x.to(dtype))
            made = conditioned(x.to(dtype), y)  # with a scale that the linear layer gives in bfloat16
        assert actual.dtype == expected.dtype == made.dtype == dtype
        assert_close(actual, expected, torch.bfloat16)
        actual.sum().backward()
        assert ours.weight.grad is not None and ours.weight.grad.dtype == torch.float32
    assert all(b.dtype in (torch.float32, torch.int64) for b in ours.buffers())
    half = ours_nn.BatchNormAct2d(5).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16 and half.running_var.dtype == torch.bfloat16


def test_modules_compile_into_one_graph_and_move_their_statistics() -> None:
    torch._dynamo.reset()
    labels = torch.tensor([1, 0, 1])
    module, eager = (ours_nn.ConditionalBatchNorm2d(5, 2, act="relu").double() for _ in range(2))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        x = torch.randn(3, 5, 4, 6, dtype=torch.float64)
        assert_close(compiled(x, labels), eager(x, labels), torch.float64)
    for actual, expected in zip(module.buffers(), eager.buffers(), strict=True):
        assert_close(actual, expected, torch.float64)


def test_a_process_group_is_for_batch_norm() -> None:
    class Group:
        """Stands for one, as far as the check looks."""

    with pytest.raises(ValueError, match="norm_act: process_group must be None for norm='instance'"):
        norm_act(torch.randn(2, 3, 4, 4), norm="instance", process_group=Group())  # type: ignore[arg-type]


def test_two_processes_are_one_on_the_whole_batch() -> None:
    script = str(Path(__file__).with_name("norm_act_distributed_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout
