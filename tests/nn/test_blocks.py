"""The residual blocks against stock ones in a few plain lines."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.nn import BatchNormAct2d, ConditionalBatchNorm2d, InstanceNormAct2d, PixelNorm, ResBlockDown, ResBlockUp
from fastgan.nn.utils import spectral_norm
from tests.tolerances import assert_close
from tests.trainers.runs import run_python


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)


def stock_norm(norm: Any, x: Tensor, conditions: tuple[Tensor, ...]) -> Tensor:
    """What a norm of ours does, by torch's functions on its parameters and buffers."""
    if isinstance(norm, ConditionalBatchNorm2d):
        inner, scale, shift = norm.norm, norm.weight(*conditions), norm.bias(*conditions)
    else:
        inner, scale, shift = norm, norm.weight, norm.bias
    if inner.training:
        inner.num_batches_tracked.add_(1)
    y = F.batch_norm(x, inner.running_mean, inner.running_var, None, None, inner.training, inner.momentum, inner.eps)
    scale, shift = (p[..., None, None] for p in (scale, shift))
    return F.relu(y * scale + shift)


def stock_sngan_up(block: ResBlockUp, x: Tensor, *conditions: Tensor) -> Tensor:
    h = block.conv1._conv_forward(up(stock_norm(block.norm1, x, conditions)), block.conv1.weight, block.conv1.bias)
    h = block.conv2(stock_norm(block.norm2, h, conditions))
    return h + block.shortcut(up(x))


def stock_deep_up(block: ResBlockUp, x: Tensor, *conditions: Tensor) -> Tensor:
    h = block.conv1(stock_norm(block.norm1, x, conditions))
    h = block.conv2._conv_forward(up(stock_norm(block.norm2, h, conditions)), block.conv2.weight, block.conv2.bias)
    h = block.conv3(stock_norm(block.norm3, h, conditions))
    h = block.conv4(stock_norm(block.norm4, h, conditions))
    return h + up(x[:, : block.out_channels])


def stock_sngan_down(block: ResBlockDown, x: Tensor) -> Tensor:
    h = block.conv1(F.relu(x) if block.preactivation else x)
    h = block.conv2._conv_forward(F.relu(h), block.conv2.weight, block.conv2.bias)
    shortcut = block.shortcut
    return F.avg_pool2d(h, 2) + F.avg_pool2d(shortcut._conv_forward(x, shortcut.weight, shortcut.bias), 2)


def stock_deep_down(block: ResBlockDown, x: Tensor) -> Tensor:
    h = block.conv3(F.relu(block.conv2(F.relu(block.conv1(F.relu(x))))))
    h = block.conv4._conv_forward(F.avg_pool2d(F.relu(h), 2), block.conv4.weight, block.conv4.bias)
    x = F.avg_pool2d(x, 2)
    return h + torch.cat([x, block.shortcut(x)], 1)


Case = tuple[Callable[[], nn.Module], Callable[..., Tensor], int, bool]
conditional = partial(ConditionalBatchNorm2d, num_classes=3, act="relu")
CASES: dict[str, Case] = {
    "sngan-up": (lambda: ResBlockUp(4, 6), stock_sngan_up, 4, False),
    "biggan-up": (lambda: ResBlockUp(6, 4, norm=conditional, wrap=spectral_norm), stock_sngan_up, 6, True),
    "biggan-deep-up": (lambda: ResBlockUp(8, 4, norm=conditional, bottleneck=True), stock_deep_up, 8, True),
    "sngan-down": (lambda: ResBlockDown(4, 6, wrap=spectral_norm), stock_sngan_down, 4, False),
    "sngan-first": (lambda: ResBlockDown(3, 6, preactivation=False), stock_sngan_down, 3, False),
    "biggan-deep-down": (lambda: ResBlockDown(4, 8, bottleneck=True, wrap=spectral_norm), stock_deep_down, 4, False),
}
PARAMETERS = [pytest.param(*case, id=name) for name, case in CASES.items()]


def inputs(channels: int, has_labels: bool, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    x = torch.randn(3, channels, 6, 8, dtype=torch.float64).to(dtype)
    return (x, torch.tensor([0, 2, 1])) if has_labels else (x,)


def step(forward: Callable[..., Tensor], block: nn.Module, arguments: tuple[Tensor, ...]) -> list[Tensor]:
    """The output, gradients of input and parameters, and the buffers afterwards."""
    x = arguments[0].detach().requires_grad_()
    y = forward(x, *arguments[1:])
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype)
    grads = torch.autograd.grad((y * weights).sum(), [x, *block.parameters()])
    return [y, *grads, *(b.clone() for b in block.buffers())]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("make", "stock", "channels", "has_labels"), PARAMETERS)
def test_equals_the_stock_block(
    make: Any, stock: Callable[..., Tensor], channels: int, has_labels: bool, layout: torch.memory_format
) -> None:
    ours = make().double().to(memory_format=layout)
    theirs = copy.deepcopy(ours)
    for training in (True, True, False):  # and eval after train
        ours.train(training)
        theirs.train(training)
        x, *labels = inputs(channels, has_labels)
        arguments = (x.contiguous(memory_format=layout), *labels)
        actual, expected = step(ours, ours, arguments), step(partial(stock, theirs), theirs, arguments)
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_close(a.double(), e.double(), torch.float64, f"tensor {i}, training={training}")
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_fifty_training_steps_equal_stock_s() -> None:
    """In float64, where the bound of 1e-9 after 200 steps is a stricter one than chaos leaves to float32."""
    ours = nn.ModuleList([ResBlockUp(4, 4), ResBlockDown(4, 6, wrap=spectral_norm)]).double()
    theirs = copy.deepcopy(ours)
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3, betas=(0.0, 0.9)) for m in (ours, theirs)]
    for _ in range(50):
        x, target = torch.randn(4, 4, 4, 4, dtype=torch.float64), torch.randn(4, 6, 4, 4, dtype=torch.float64)
        losses = []
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            stock = partial(stock_sngan_up, module[0]), partial(stock_sngan_down, module[1])
            first, second = module if module is ours else stock
            loss = F.mse_loss(second(first(x)), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert abs(losses[0] - losses[1]) <= 1e-9
    for a, e in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert (a.double() - e.double()).abs().max() <= 1e-9


def test_statistics_travel_from_block_to_block() -> None:
    blocks = nn.ModuleList([ResBlockUp(3, 4), ResBlockUp(4, 5)]).double()
    x = torch.randn(2, 3, 3, 5, dtype=torch.float64)
    separate = blocks[1](blocks[0](x))
    y, statistics = blocks[0](x, return_statistics=True)
    assert_close(blocks[1](y, statistics=statistics), separate, torch.float64)
    assert_close(statistics[0], y.mean((0, 2, 3)), torch.float64)


@pytest.mark.parametrize(("make", "stock", "channels", "has_labels"), PARAMETERS)
def test_gradient_penalty_through_a_block(
    make: Any, stock: Callable[..., Tensor], channels: int, has_labels: bool
) -> None:
    ours = make().double().eval()
    results = []
    for forward in (ours, partial(stock, ours)):
        x, *labels = inputs(channels, has_labels)
        x = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).sin().view_as(x).requires_grad_()
        (g,) = torch.autograd.grad(forward(x, *labels).square().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(g.square().sum(), [x, *ours.parameters()], allow_unused=True))
    for a, e in zip(*results, strict=True):
        if e is not None and e.any():
            assert_close(a, e, torch.float64)


class _CountConvolutions(TorchDispatchMode):
    """Backward convolutions of same-size layers, torch's and ours, one for each gradient."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            self.count += sum(args[-1][:2])
        if func is torch.ops.fastgan.conv2d_backward.default:
            self.count += sum(args[-2])
        return func(*args, **(kwargs or {}))


def test_a_gradient_penalty_runs_no_pass_over_zeros() -> None:
    blocks = nn.Sequential(ResBlockDown(3, 4, preactivation=False), ResBlockDown(4, 4, downsample=False)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    with fastgan.use_backend("cpu"), _CountConvolutions() as counted:
        (g,) = torch.autograd.grad(blocks(x).sum(), x, create_graph=True)
        grads = torch.autograd.grad(g.square().sum(), list(blocks.parameters()), allow_unused=True)
    # No bias has a gradient, not even one of zeros, and the three same-size convolutions ran back once, for g. Double
    # backward is made of forward convolutions for torch's one; for our two, of a forward and a weight gradient.
    assert [grad is None for grad in grads] == [name.endswith("bias") for name, _ in blocks.named_parameters()]
    assert counted.count == 3 + 2


def test_a_hook_on_the_norm_sees_what_the_norm_makes() -> None:
    block, x, seen = ResBlockUp(4, 6), torch.randn(2, 4, 5, 5), []
    with fastgan.use_backend("cpu"):
        expected = copy.deepcopy(block)(x)
        block.norm1.register_forward_hook(lambda norm, arguments, y: seen.append(y.shape))
        torch.testing.assert_close(block(x), expected)
    assert seen == [x.shape]


def reflected(conv: nn.Conv2d) -> nn.Conv2d:
    conv.padding_mode = "reflect"
    conv._reversed_padding_repeated_twice = [p for p in conv.padding for _ in range(2)]
    return conv


class _Plain(fastgan.nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


def subclassed(conv: nn.Conv2d) -> nn.Conv2d:
    if type(conv) is fastgan.nn.Conv2d:
        conv.__class__ = _Plain
    return conv


@pytest.mark.parametrize(
    "block",
    [
        lambda wrap: ResBlockUp(4, 4, wrap=wrap, upsample=False),
        lambda wrap: ResBlockDown(4, 4, wrap=wrap, downsample=False),
        lambda wrap: ResBlockDown(4, 4, wrap=wrap, downsample=False, norm=fastgan.nn.BatchNormAct2d),
    ],
    ids=["up", "down", "down with norms"],
)
@pytest.mark.parametrize("wrap", [reflected, subclassed])
def test_convolutions_that_are_not_as_made_are_called_as_torch_s(block: Any, wrap: Any) -> None:
    ours = block(wrap)
    stock = copy.deepcopy(ours)
    for i in (1, 2):
        conv = stock.get_submodule(f"conv{i}")
        twin = nn.Conv2d(4, 4, 3, padding=1, padding_mode=conv.padding_mode)
        twin.load_state_dict(conv.state_dict())
        stock.add_module(f"conv{i}", twin)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(ours(x), stock(x))


@pytest.mark.parametrize(
    "block", [ResBlockUp(4, 4), ResBlockDown(4, 4, norm=fastgan.nn.BatchNormAct2d)], ids=["up", "down"]
)
def test_hooks_on_convolutions_see_what_is_convolved_and_what_that_gives(block: nn.Module) -> None:
    x = torch.randn(2, 4, 6, 6)
    expected = copy.deepcopy(block)(x)
    seen: list[Tensor] = []
    last = 2 if isinstance(block, ResBlockUp) else 1
    conv = block.get_submodule(f"conv{last}")
    hook = conv.register_forward_hook(lambda module, arguments, y: seen.extend((arguments[0], y)))
    torch.testing.assert_close(block(x), expected)
    hook.remove()
    given, output = seen
    torch.testing.assert_close(output, F.conv2d(given, conv.weight, conv.bias, padding=1))
    if isinstance(block, ResBlockUp):
        assert given.min() >= 0, "activated"


def test_statistics_that_nobody_gathers_are_none() -> None:
    x = torch.randn(2, 4, 4, 4)
    for options in ({"residual": False}, {"upsample": False}):
        y, statistics = ResBlockUp(4, 4, **options)(x, return_statistics=True)
        assert statistics is None and y.shape[:2] == x.shape[:2]


def test_progressive_growing_s_pair_of_convolutions() -> None:
    def norm(channels: int) -> nn.Module:
        return nn.Sequential(nn.LeakyReLU(0.2), PixelNorm())

    block = ResBlockUp(5, 3, norm=norm, residual=False).double()
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)

    def stock(x: Tensor) -> Tensor:
        x = F.leaky_relu(x, 0.2)
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)

    h = F.conv2d(up(stock(x)), block.conv1.weight, block.conv1.bias, padding=1)
    assert_close(block(x), block.conv2(stock(h)), torch.float64)
    assert block.shortcut is None


def test_norm_in_a_down_block_and_no_change_of_resolution() -> None:
    norm = partial(InstanceNormAct2d, act="lrelu")
    block = ResBlockDown(4, 4, norm=norm, downsample=False).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    h = block.conv2(F.leaky_relu(F.instance_norm(block.conv1(F.leaky_relu(F.instance_norm(x), 0.2))), 0.2))
    assert_close(block(x), h + x, torch.float64)
    assert_close(
        ResBlockUp(4, 4, upsample=False).double()(x).shape[2] * torch.ones(1), 5 * torch.ones(1), torch.float32
    )


@pytest.mark.parametrize(("make", "stock", "channels", "has_labels"), PARAMETERS)
def test_autocast_and_fullgraph_compile(
    make: Any, stock: Callable[..., Tensor], channels: int, has_labels: bool
) -> None:
    torch._dynamo.reset()
    ours, arguments = make(), inputs(channels, has_labels, torch.float32)
    twin = copy.deepcopy(ours)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for a, e in zip(step(compiled, ours, arguments), step(twin, twin, arguments), strict=True):
        assert_close(a, e, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(*arguments)
        assert_close(y, stock(twin, *arguments), torch.bfloat16)
        assert y.dtype == stock(twin, *arguments).dtype


@pytest.mark.parametrize("kind", [ResBlockUp, ResBlockDown])
def test_wrong_channels_inputs_and_conditions_are_named(kind: Any) -> None:
    name = kind.__name__
    for options, message in (
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"hidden_channels": 0}, "hidden_channels must be at least 1, got 0"),
        ({"in_channels": 2, "out_channels": 2, "bottleneck": True}, "hidden_channels must be given for a bottleneck"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            kind(**{"in_channels": 4, "out_channels": 4, **options})
    x, labels = torch.randn(2, 4, 4, 4), torch.tensor([0, 1])
    conditional = kind(4, 4, norm=partial(ConditionalBatchNorm2d, num_classes=3))
    for block, arguments, message in (
        (kind(4, 4), (x[:, :3],), r"x must be \[N, 4, H, W\], got \[2, 3, 4, 4\]"),
        (kind(4, 4), (x, labels), "conditions must be left out, as no norm is conditional, got 1"),
        (conditional, (x,), "conditions must be one tensor for its conditional norms, got 0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            block(*arguments)


def test_a_bottleneck_that_would_have_to_add_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ResBlockUp: out_channels must be at most in_channels.*got 8 > 4"):
        ResBlockUp(4, 8, bottleneck=True)
    with pytest.raises(ValueError, match=r"ResBlockDown: out_channels must be at least in_channels.*got 4 < 8"):
        ResBlockDown(8, 4, bottleneck=True)
    assert isinstance(ResBlockUp(4, 4).norm1, BatchNormAct2d)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"act": "gelu"}, "act must be one of"), ({"act": "relu", "alpha": 0.1}, "alpha must be None for act='relu'")],
)
def test_a_wrong_activation_is_refused_when_the_block_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"ResBlockDown: {message}"):
        ResBlockDown(4, 4, **options)


def test_compiles_for_batches_of_any_size() -> None:
    torch._dynamo.reset()
    block = ResBlockUp(4, 4)
    twin = copy.deepcopy(block)
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch in (2, 3):
        x = torch.randn(batch, 4, 4, 6)
        assert_close(compiled(x), twin(x), torch.float32)


def test_two_processes_train_as_stock_s_do() -> None:
    script = str(Path(__file__).with_name("blocks_ddp_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout
