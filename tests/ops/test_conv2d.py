"""Winograd's convolution against torch's in float64: sizes, channels, threads, scales, and what is not finite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan
from fastgan.functional import conv2d, norm_act_conv2d
from fastgan.ops import native
from fastgan.ops.conv2d import choice, winograd
from tests.tolerances import WINOGRAD_ERROR

#: Batch, channels in and out, height and width.
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 5, 1, 7),
    (3, 17, 33, 2, 2),
    (2, 16, 32, 5, 6),
    (1, 7, 600, 9, 4),
    (2, 600, 7, 3, 11),
    (4, 64, 48, 13, 16),
    (16, 40, 24, 32, 30),
    (1, 5, 3, 130, 70),
    (1, 600, 600, 8, 9),  # filters in more than one round
    (2, 256, 256, 8, 8),
    (0, 3, 4, 8, 8),
]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=[4, 2])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(winograd, "tile_size", lambda height, width: request.param)
    return request.param


def make(shape: tuple[int, ...], layout: torch.memory_format, kind: str = "random") -> tuple[Tensor, ...]:
    """Input, weight, bias and cotangent; a `kind` other than random is rectified, or scaled by 1e-4 to 1e4."""
    n, c_in, c_out, h, w = shape
    x, grad = torch.randn(n, c_in, h, w), torch.randn(n, c_out, h, w)
    weight, bias = torch.randn(c_out, c_in, 3, 3) * (9 * c_in) ** -0.5, torch.randn(c_out)
    if kind == "rectified":
        x, grad = x.relu(), grad.relu()
    if kind == "scaled":
        x, grad = (t * 10 ** (8 * torch.rand(t.shape[1], 1, 1) - 4) for t in (x, grad))
    x, weight, grad = (t.contiguous(memory_format=layout) for t in (x, weight, grad))
    return x, weight, bias, grad


def results(x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor, function: Any, **options: Any) -> list[Tensor]:
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    y = function(*leaves, padding=1, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def worst(actual: Tensor, expected: Tensor) -> float:
    """The largest error, relative to the largest magnitude."""
    if expected.numel() == 0:
        return 0.0
    return (actual.double() - expected).abs().max().item() / (expected.abs().max().item() or 1.0)


@pytest.mark.parametrize("kind", ["random", "rectified", "scaled"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_are_within_the_documented_error(
    shape: tuple[int, ...], kind: str, threads: int, tile: int
) -> None:
    given = make(shape, torch.channels_last, kind)
    actual = results(*given, conv2d, algorithm="winograd")
    expected = results(*(t.double() for t in given), F.conv2d)
    for name, a, e in zip(("output", "input", "weight", "bias"), actual, expected, strict=True):
        assert a.shape == e.shape
        assert worst(a, e) <= WINOGRAD_ERROR, name


def fused(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, act: str, **options: Any) -> Any:
    return conv2d(x, weight, bias, act=act, alpha=0.3 if act == "lrelu" else None, residual=residual, **options)


def normalised(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, act: str, **options: Any) -> Any:
    scale, shift = (torch.linspace(a, b, x.shape[1], dtype=x.dtype) for a, b in ((-1, 2), (1, -1)))
    by_sample = torch.linspace(0.5, 1.5, max(x.shape[0], 1), dtype=x.dtype)[: x.shape[0], None] * shift
    return norm_act_conv2d(
        x, weight, bias, None, None, scale, by_sample, True, act=act, alpha=0.3 if act == "lrelu" else None,
        residual=residual, **options,
    )  # fmt: skip


@pytest.mark.parametrize("act", ["relu", "lrelu"])
@pytest.mark.parametrize("function", [fused, normalised])
@pytest.mark.parametrize(
    ("shape", "half"),
    [
        (s, half)
        for s in SHAPES
        for half in (False, True)
        if s[0] * s[3] * s[4] > 1 and not (half and (s[3] % 2 or s[4] % 2))
    ],
    ids=str,
)
def test_what_is_fused_is_within_the_documented_error(
    shape: tuple[int, ...], function: Any, act: str, half: bool, tile: int
) -> None:
    """Against the reference in float64, with outputs that are statistics, and what those are of."""
    x, weight, bias, grad = make(shape, torch.channels_last)
    residual = torch.randn(*grad.shape[:2], *(s // 2 if half else s for s in grad.shape[2:]))

    def run(dtype: torch.dtype, **options: Any) -> list[Tensor]:
        leaves = [t.to(dtype).requires_grad_() for t in (x, weight, bias, residual)]
        y, statistics = function(*leaves, act, return_statistics=True, **options)
        return [y.detach(), *torch.autograd.grad(y, leaves, grad.to(dtype)), *statistics]

    actual = run(torch.float32, algorithm="winograd")
    with fastgan.use_backend("reference"):
        expected = run(torch.float64)
    names = ("output", "input", "weight", "bias", "residual", "means", "deviations")
    for name, a, e in zip(names, actual, expected, strict=True):
        # A gradient through a normalisation is a difference: its error is that of what it is the difference of.
        size = max(e.abs().max().item(), grad.abs().max().item() if name == "input" else 0.0)
        assert (a.double() - e).abs().max().item() <= WINOGRAD_ERROR * max(size, 1e-30), name


def test_the_statistics_are_the_same_bits_again(threads: int) -> None:
    x, weight, bias, _ = make((4, 40, 70, 19, 23), torch.channels_last)
    once, again = (conv2d(x, weight, bias, algorithm="winograd", return_statistics=True)[1] for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("where", ["input", "residual", "shift"])
def test_nan_stays_where_it_belongs_with_everything_fused(where: str) -> None:
    x, weight, bias, grad = make((2, 5, 6, 9, 9), torch.channels_last)
    residual, shift = torch.randn_like(grad), torch.randn(5)
    {"input": x[1, 2, 3], "residual": residual[1, 2, 3], "shift": shift}[where][1] = float("nan")
    running = torch.zeros(5), torch.ones(5)
    options: dict[str, Any] = {"shift": shift, "act": "relu", "residual": residual}
    actual = norm_act_conv2d(x, weight, bias, *running, algorithm="winograd", **options)
    expected = norm_act_conv2d(x, weight, bias, *running, algorithm="direct", **options)
    assert torch.equal(actual.isnan(), expected.isnan()) and actual.isnan().any()
    rest = ~expected.isnan()
    assert worst(actual[rest], expected[rest].double()) <= 2 * WINOGRAD_ERROR


def test_the_error_of_a_weight_gradient_does_not_grow_with_the_number_of_pixels(threads: int) -> None:
    given = make((24, 16, 16, 96, 96), torch.channels_last)
    actual = results(*given, conv2d, algorithm="winograd")[2]
    assert worst(actual, results(*(t.double() for t in given), F.conv2d)[2]) <= WINOGRAD_ERROR / 2


def test_the_same_bits_again_and_the_same_output_whatever_the_number_of_threads() -> None:
    given = make((4, 40, 70, 19, 23), torch.channels_last)
    before, by_threads = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            once, again = (results(*given, conv2d, algorithm="winograd") for _ in range(2))
            assert all(map(torch.equal, once, again))
            by_threads.append(once[:2])
    finally:
        torch.set_num_threads(before)
    for others in by_threads[1:]:
        assert all(map(torch.equal, by_threads[0], others))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["input", "weight", "grad"])
def test_nan_and_infinity_are_where_direct_convolution_has_them(value: float, where: str) -> None:
    x, weight, bias, grad = make((2, 5, 6, 9, 9), torch.channels_last)
    {"input": x, "weight": weight, "grad": grad}[where][1, 2, 1, 1] = value
    actual = results(x, weight, bias, grad, conv2d, algorithm="winograd")
    for a, e in zip(actual, results(x, weight, bias, grad, F.conv2d), strict=True):
        assert torch.equal(a.isnan(), e.isnan()) and torch.equal(a.isinf(), e.isinf())


def test_nothing_overflows_that_direct_convolution_can_hold() -> None:
    x, weight, bias, grad = make((1, 16, 16, 8, 8), torch.channels_last)
    x, weight = x.sign() * 2e38, weight * 1e-2
    assert results(x, weight, bias, grad * 1e-3, F.conv2d)[0].isfinite().all()
    for part in results(x, weight, bias, grad * 1e-3, conv2d, algorithm="winograd"):
        assert part.isfinite().all()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 130])
def test_the_tile_is_the_one_with_fewer_products(size: int) -> None:
    tiles = {side: -(-size // side) for side in (2, 4)}
    assert winograd.tile_size(size, size) == (4 if 36 * tiles[4] ** 2 <= 16 * tiles[2] ** 2 else 2)


def test_exact_convolutions_are_torch_s_bit_for_bit() -> None:
    given = make((4, 64, 64, 16, 16), torch.channels_last)
    direct = results(*given, F.conv2d)
    with fastgan.exact_convolutions():
        for algorithm in ("auto", "winograd"):
            assert all(map(torch.equal, results(*given, conv2d, algorithm=algorithm), direct))
        with fastgan.exact_convolutions(False):
            assert not torch.equal(results(*given, conv2d, algorithm="winograd")[0], direct[0])
        assert torch.equal(conv2d(*given[:3], algorithm="winograd"), direct[0])
    assert not torch.equal(conv2d(*given[:3], algorithm="winograd"), direct[0])
    assert torch.equal(conv2d(*given[:3], algorithm="direct"), direct[0])


def test_exact_convolutions_cannot_be_entered_while_compiling() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def step(x: Tensor) -> Tensor:
        with fastgan.exact_convolutions():
            return x + 1

    with pytest.raises(Exception, match="exact_convolutions"):
        step(torch.randn(3))


def test_what_winograd_does_not_serve_is_torch_s() -> None:
    x, weight = torch.randn(2, 4, 9, 8), torch.randn(5, 4, 3, 3)
    assert torch.equal(conv2d(x, weight, padding=3, algorithm="winograd"), F.conv2d(x, weight, padding=3))
    wide = torch.randn(5, 4, 5, 5)
    assert torch.equal(conv2d(x, wide, padding="same", algorithm="winograd"), F.conv2d(x, wide, padding="same"))
    exact = conv2d(x.double(), weight.double(), algorithm="winograd")
    assert torch.equal(exact, F.conv2d(x.double(), weight.double(), padding=1))


def test_with_a_backend_of_gpus_it_is_torch_s() -> None:
    x, weight = torch.randn(2, 4, 9, 8), torch.randn(5, 4, 3, 3)
    with fastgan.use_backend("triton"):
        assert torch.equal(conv2d(x, weight, algorithm="winograd"), F.conv2d(x, weight, padding=1))


def test_errors_name_function_and_argument() -> None:
    x, weight = torch.randn(2, 4, 5, 5), torch.randn(5, 3, 3, 3)
    with pytest.raises(ValueError, match=r"conv2d: weight must be \[C_out, 4, kH, kW\]"):
        conv2d(x, weight)
    with pytest.raises(ValueError, match="conv2d: algorithm must be one of auto, winograd, direct, got 'fft'"):
        conv2d(x, torch.randn(5, 4, 3, 3), algorithm="fft")


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 1}, {"padding": "same"}, {"stride": 2}, {"groups": 4, "padding": 1}, {"dilation": 2},
     {"padding_mode": "reflect", "padding": 1}, {"bias": False, "padding": 1}],
    ids=str,
)  # fmt: skip
def test_the_module_is_a_drop_in(options: dict[str, Any]) -> None:
    stock = nn.Conv2d(64, 64, 3, **options)
    ours = fastgan.nn.Conv2d(64, 64, 3, **options)
    ours.load_state_dict(stock.state_dict())
    assert ours.state_dict().keys() == stock.state_dict().keys()
    for x in (torch.randn(8, 64, 17, 16), torch.randn(64, 9, 9)):
        expected = stock(x)
        assert (ours(x) - expected).abs().max() <= 2 * WINOGRAD_ERROR * expected.abs().max()


def test_a_shape_that_prefers_winograd_takes_it_and_a_small_one_does_not() -> None:
    if native.isa_level() not in choice.LANES:
        pytest.skip("the choice was not measured at this level")
    big, weight = torch.randn(16, 128, 32, 32), torch.randn(128, 128, 3, 3)
    assert choice.may_prefer_winograd(big, weight, [1, 1])
    assert not torch.equal(conv2d(big, weight), F.conv2d(big, weight, padding=1))
    small = torch.randn(1, 3, 4, 4), torch.randn(4, 3, 3, 3)
    assert torch.equal(conv2d(*small), F.conv2d(*small, padding=1))


def test_scratch_memory_is_kept_and_bounded() -> None:
    given = make((16, 600, 600, 16, 16), torch.channels_last)
    results(*given, conv2d, algorithm="winograd")
    once = winograd.scratch_bytes()
    results(*given, conv2d, algorithm="winograd")
    assert 0 < once == winograd.scratch_bytes() <= 256 << 20


def test_a_compiled_convolution_is_guarded_by_exact_convolutions() -> None:
    x, weight = torch.randn(2, 16, 9, 9), torch.randn(16, 16, 3, 3)
    torch._dynamo.reset()
    compiled = torch.compile(lambda: conv2d(x, weight, algorithm="winograd"), fullgraph=True, backend="eager")
    direct = F.conv2d(x, weight, padding=1)
    for exact in (False, True, False):
        with fastgan.exact_convolutions(exact):
            assert torch.equal(compiled(), direct) is exact


def test_the_environment_variable_makes_convolutions_exact() -> None:
    script = "from fastgan.ops.precision import exact_convolutions_wanted as w; print(w())"
    for value, expected in (("1", "True"), ("0", "False"), ("", "False")):
        environment = {**os.environ, "FASTGAN_EXACT_CONVOLUTIONS": value}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == expected


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_choice_is_made_in_a_compiled_call_as_in_an_eager_one(dynamic: bool) -> None:
    x, weight = torch.randn(8, 64, 24, 24), torch.randn(64, 64, 3, 3)
    compiled = torch.compile(lambda x: conv2d(x, weight), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    assert torch.equal(compiled(x), conv2d(x, weight))
