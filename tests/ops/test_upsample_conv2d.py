"""upsample_conv2d and conv2d_avg_pool2d against torch's two ops in sequence, and what they refuse or leave to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import conv2d_avg_pool2d, setup_filter, upsample2d, upsample_add, upsample_conv2d
from fastgan.ops import resampling, resampling_choice
from fastgan.ops.upsample_conv2d import upsample_conv2d as upsample_conv2d_op
from tests.tolerances import assert_close


def stock_upsample_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, factor: int = 2, **options: Any) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=factor), w, b, **{"padding": "same", **options})


def stock_conv2d_avg_pool2d(x: Tensor, w: Tensor, b: Tensor | None = None, size: int = 2, **options: Any) -> Tensor:
    return F.avg_pool2d(F.conv2d(x, w, b, **{"padding": "same", **options}), size)


PAIRS = [
    pytest.param(upsample_conv2d, stock_upsample_conv2d, id="upsample_conv2d"),
    pytest.param(conv2d_avg_pool2d, stock_conv2d_avg_pool2d, id="conv2d_avg_pool2d"),
]
FORMATS = [torch.contiguous_format, torch.channels_last]


def make(
    shape: tuple[int, ...], weight: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> tuple[Tensor, Tensor, Tensor]:
    scale = (weight[1] * weight[2] * weight[3]) ** -0.5
    x, w, b = torch.randn(shape), torch.randn(weight) * scale, torch.randn(weight[0])
    x, w = (t.to(dtype).contiguous(memory_format=layout).requires_grad_() for t in (x, w))
    return x, w, b.to(dtype).requires_grad_()


def derivatives(function: Callable[..., Tensor], leaves: tuple[Tensor, ...], **options: Any) -> list[Tensor]:
    """The output, first and second derivatives, all along random directions."""
    generator = torch.Generator().manual_seed(1)

    def like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator).to(x.dtype)

    y = function(*leaves, **options)
    cotangent = like(y).requires_grad_()
    first = torch.autograd.grad(y, leaves, cotangent, create_graph=True)
    second = torch.autograd.grad(first, (*leaves[:2], cotangent), [like(g) for g in first])
    return [y, *first, *second]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_float64_equals_the_stock_pair_to_1e_12(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], layout: torch.memory_format, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        leaves = make((3, 19, 22, 31), (21, 19, 3, 3), torch.float64, layout)
        for actual, expected in zip(derivatives(ours, leaves), derivatives(stock, leaves), strict=True):
            assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()
        assert ours(*leaves).is_contiguous(memory_format=layout)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_kernel_sizes_and_groups(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], kernel: int, groups: int
) -> None:
    for size in ((7, 4), (1, 1), (2, 3)):
        if ours is conv2d_avg_pool2d and min(size) < 2:
            continue
        leaves = make((2, 6, *size), (12, 6 // groups, kernel, kernel), torch.float64, torch.channels_last)
        actual, expected = (derivatives(f, leaves, groups=groups) for f in (ours, stock))
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, torch.float64)


@pytest.mark.parametrize(("dtype", "times"), [(torch.bfloat16, 1.5), (torch.float16, 1.05)], ids=str)
@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_half_types_on_random_data_beside_stock(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], dtype: torch.dtype, times: float
) -> None:
    leaves = make((2, 32, 8, 8), (16, 32, 3, 3), dtype, torch.channels_last)
    exact = tuple(x.detach().double().requires_grad_() for x in leaves)
    sides = [derivatives(f, x)[:4] for f, x in ((ours, leaves), (stock, leaves), (stock, exact))]
    for a, s, e in zip(*sides, strict=True):
        ours_off, stock_off = ((x.double() - e).square().mean().sqrt().item() for x in (a, s))
        assert ours_off <= times * stock_off


INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "random": lambda x: x,
    "relu": torch.relu,
    "smooth": lambda x: F.avg_pool2d(F.pad(x.relu(), (4,) * 4, mode="circular"), 9, 1),
    "constant": lambda x: torch.full_like(x, 1.7),
}


@pytest.mark.parametrize("zero_sum", [False, True], ids=["random weight", "zero-sum weight"])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_half_types_keep_their_bound_where_products_cancel(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], dtype: torch.dtype, kind: str, zero_sum: bool
) -> None:
    w = torch.randn(16, 32, 3, 3) / 17
    w = w - w.mean((2, 3), keepdim=True) if zero_sum else w
    leaves = [t.to(dtype).requires_grad_() for t in (INPUTS[kind](torch.randn(2, 32, 12, 12)), w, torch.randn(16))]
    cotangent = torch.randn_like(ours(*leaves))

    def first(function: Callable[..., Tensor], leaves: list[Tensor], cotangent: Tensor) -> list[Tensor]:
        y = function(*leaves)
        return [y, *torch.autograd.grad(y, leaves, cotangent)]

    exact, magnitudes = (
        first(stock, [change(t.detach().double()).requires_grad_() for t in leaves], change(cotangent.double()))
        for change in (torch.clone, torch.abs)
    )
    unit, least = torch.finfo(dtype).eps / 2, torch.finfo(dtype).tiny
    twice = dtype == torch.bfloat16  # float16 is computed in float32, and rounded once
    for actual, expected, large in zip(first(ours, leaves, cotangent), exact, magnitudes, strict=True):
        bound = unit * (expected.abs() + twice * large + least) + 4e-6 * large  # with what float32 rounds
        assert ((actual.double() - expected).abs() <= bound).all()


@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_what_the_identity_does_not_cover_is_computed_the_stock_way(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor]
) -> None:
    factor = "scale_factor" if ours is upsample_conv2d else "kernel_size"
    x, w, b = make((2, 3, 7, 6), (4, 3, 3, 3), torch.float64, torch.contiguous_format)
    for k in (1, 3):
        assert torch.equal(ours(x, w, b, **{factor: k}), stock(x, w, b, k))
    even = torch.randn(4, 3, 4, 2, dtype=torch.float64)
    assert_close(ours(x, even, b), stock(x, even, b), torch.float64)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
def test_statistics_are_those_of_the_output(backend: str, layout: torch.memory_format, kernel: int) -> None:
    x, w, b = make((3, 8, 9, 17), (5, 8, kernel, kernel), torch.float32, layout)
    b = b.detach() + 1e4  # a mean far above the deviation
    arguments = ([kernel // 2] * 2, 1, None, True, "auto", backend)
    y, statistics = upsample_conv2d_op(x, w, b, *arguments)
    assert not statistics.requires_grad
    wide = y.double()
    mean = wide.mean((0, 2, 3))
    assert_close(statistics[0], mean, torch.float32)
    assert_close(statistics[1], (wide - mean[:, None, None]).square().sum((0, 2, 3)), torch.float32)


@pytest.mark.parametrize("options", [{}, {"scale_factor": 3}, {"mode": "fir"}], ids=str)
def test_every_path_returns_the_same_kind_of_statistics(options: dict[str, Any]) -> None:
    x, w, b = make((2, 3, 5, 4), (4, 3, 3, 3), torch.float32, torch.contiguous_format)
    residual = torch.randn_like(upsample_conv2d(x, w, b, **options))
    y, statistics = upsample_conv2d(x, w, b, residual=residual, return_statistics=True, **options)
    assert_close(y, (upsample_conv2d(x, w, b, **options) + residual).double(), torch.float32)
    assert_close(statistics[0], y.double().mean((0, 2, 3)), torch.float32)
    assert_close(statistics[1], y.double().var((0, 2, 3), correction=0) * y[:, 0].numel(), torch.float32)
    _, statistics = upsample_conv2d(x[:0], w, b, return_statistics=True, **options)
    assert statistics.tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("layout", FORMATS, ids=str)
def test_statistics_keep_their_digits_whatever_the_first_pixel_is(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 9, 17).contiguous(memory_format=layout) * 1e-3
    x[:, :, 0, 0] = 5.0
    _, statistics = upsample_add(x.repeat_interleave(2, 2).repeat_interleave(2, 3), x * 0, return_statistics=True)
    exact = x.double()
    assert_close(statistics[0], exact.mean((0, 2, 3)), torch.float32)
    expected = exact.var((0, 2, 3), correction=0) * x[:, 0].numel() * 4
    assert ((statistics[1] - expected).abs() <= 1e-6 * expected).all()


@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_small_work_is_left_to_torch_unless_a_backend_is_forced(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resampling_choice.SMALLEST, torch.float32, resampling_choice.Smallest(100_000, 0))
    nodes = {}
    for channels in (4, 64):
        x, w, b = make((2, channels, 8, 8), (channels, channels, 3, 3), torch.float32, torch.contiguous_format)
        nodes[channels] = type(ours(x, w, b).grad_fn)
        with fastgan.use_backend("cpu"):
            assert type(ours(x, w, b).grad_fn) is not type(stock(x, w, b).grad_fn)
        assert_close(ours(x, w, b), stock(x.double(), w.double(), b.double()), torch.float32)
    assert nodes[4] is type(stock(x, w, b).grad_fn) and nodes[64] is not nodes[4]
    # The dtype that counts is the one that the convolution runs in; few pixels do not earn back the weight's turning.
    monkeypatch.setitem(resampling_choice.SMALLEST, torch.bfloat16, resampling_choice.Smallest(10**9, 0))
    with torch.autocast("cpu", torch.bfloat16):
        assert type(ours(x, w, b).grad_fn) is nodes[4]
    monkeypatch.setitem(resampling_choice.SMALLEST, torch.float32, resampling_choice.Smallest(0, 10**4))
    assert type(ours(x, w, b).grad_fn) is nodes[4]


@pytest.mark.parametrize(("ours", "stock"), PAIRS)
def test_only_the_passes_asked_for_run(
    ours: Callable[..., Tensor], stock: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[bool]] = []
    original = resampling.convolution_backward

    def recorded(grad: Tensor, input: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Any:
        asked.append(rest[3])
        return original(grad, input, weight, *rest, **options)

    monkeypatch.setattr(f"fastgan.ops.{ours.__name__}.forms.convolution_backward", recorded)
    x, w, b = make((2, 4, 6, 6), (4, 4, 3, 3), torch.float32, torch.contiguous_format)
    y = ours(x, w, b).sum()
    torch.autograd.grad(y, x, retain_graph=True)
    torch.autograd.grad(y, w, retain_graph=True)
    torch.autograd.grad(y, b, retain_graph=True)
    assert asked == [[True, False], [False, True]]
    asked.clear()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    torch.autograd.grad(g.square().sum(), w)  # the penalty: g depends on the weight alone
    assert asked == [[True, False], [False, True]]


@pytest.mark.parametrize("ours", [upsample_conv2d, conv2d_avg_pool2d], ids=lambda f: f.__name__)
def test_bad_arguments_are_named(ours: Callable[..., Tensor]) -> None:
    name = ours.__name__
    x, w = torch.randn(2, 64, 8, 8), torch.randn(32, 64, 3, 3)
    factor = "scale_factor" if ours is upsample_conv2d else "kernel_size"
    wrong: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (ValueError, r"weight must be \[C_out, 64, kH, kW\] to match input \[2, 64, 8, 8\], got \[32, 48, 3, 3\]",
         (x, torch.randn(32, 48, 3, 3)), {}),
        (ValueError, r"weight must be \[C_out, 32, kH, kW\].*groups=2", (x, w), {"groups": 2}),
        (ValueError, "groups must be positive and divide the 64 channels of input, got 3", (x, w), {"groups": 3}),
        (ValueError, r"input must be \[N, C, H, W\], got \[64, 8, 8\]", (x[0], w), {}),
        (TypeError, "weight must have input's dtype torch.float32, got torch.float64", (x, w.double()), {}),
        (TypeError, "input must be float32.*got torch.int64", (x.long(), w), {}),
        (TypeError, "input must be a Tensor, got list", ([1.0], w), {}),
        (ValueError, r"bias must be \[32\].*got \[31\]", (x, w, torch.randn(31)), {}),
        (TypeError, "bias must have input's dtype", (x, w, torch.randn(32).double()), {}),
        (ValueError, f"{factor} must be at least 1, got 0", (x, w), {factor: 0}),
        (TypeError, f"{factor} must be an integer, got float", (x, w), {factor: 2.5}),
        (ValueError, "padding must be 'same', 'valid' or.*got 'reflect'", (x, w), {"padding": "reflect"}),
        (TypeError, "padding must be.*got 1.5", (x, w), {"padding": 1.5}),
        (TypeError, "padding must be.*got None", (x, w), {"padding": None}),
        (ValueError, r"input must have at least 1 channel, got \[2, 0, 8, 8\]", (x[:, :0], w[:, :0]), {}),
        (ValueError, r"weight must be.*got \[0, 64, 3, 3\]", (x, w[:0]), {}),
        (TypeError, "groups must be an integer, got float", (x, w), {"groups": 2.0}),
        (ValueError, "padding must be.*got -1", (x, w), {"padding": -1}),
        (ValueError, r"padding must be.*got \(1, 1, 1\)", (x, w), {"padding": (1, 1, 1)}),
        (ValueError, "input must be large enough for the kernel", (x[:, :, :1, :1], torch.randn(1, 64, 9, 9)),
         {"padding": 0}),
    ]  # fmt: skip
    if ours is upsample_conv2d:
        wrong.append((ValueError, "mode must be one of nearest, fir, got 'bilinear'", (x, w), {"mode": "bilinear"}))
        wrong.append((ValueError, "filter must be None for mode='nearest'", (x, w), {"filter": torch.ones(4)}))
        for factor in (2, 3):
            wrong.append(
                (
                    ValueError,
                    r"residual must be.*\[2, 32, \d+, \d+\].*like the output, got.*\[2, 32, 8, 8\]",
                    (x, w),
                    {"residual": x[:, :32], "scale_factor": factor},
                )
            )
        wrong.append((TypeError, "residual must have input's dtype", (x, w), {"residual": torch.zeros(1).double()}))
        wrong.append((ValueError, "padding must be integers for mode='fir'", (x, w[:, :, :2, :2]), {"mode": "fir"}))
    for kind, message, arguments, options in wrong:
        with pytest.raises(kind, match=f"{name}: {message}"):
            ours(*arguments, **options)


@pytest.mark.filterwarnings("ignore:.*performance drop.*vmap")
@pytest.mark.parametrize("ours", [upsample_conv2d, conv2d_avg_pool2d], ids=lambda f: f.__name__)
def test_vmap_is_a_loop(ours: Callable[..., Tensor]) -> None:
    x, w = torch.randn(2, 3, 4, 6, 6), torch.randn(5, 4, 3, 3)
    assert torch.equal(torch.vmap(lambda x: ours(x, w))(x), torch.stack([ours(each, w) for each in x]))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("taps", [[1.0, 3.0, 3.0, 1.0], [1.0, 2.0, 1.0]], ids=str)
def test_fir_mode_filters_after_the_transposed_convolution(taps: list[float], groups: int) -> None:
    x, w, b = make((2, 4, 6, 5), (6, 4 // groups, 3, 3), torch.float64, torch.channels_last)
    filter = setup_filter(taps)

    def stock(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        """Zeros between the pixels and far around them, the filter, the convolution; nothing is cropped in between."""
        spread = x.new_zeros(2, 4, 32, 30)
        spread[:, :, 10:22:2, 10:20:2] = x
        kernel = (torch.outer(filter, filter) * 4).to(x).expand(4, 1, -1, -1)
        image = F.conv2d(F.pad(spread, (len(taps) - 1, 0, len(taps) - 1, 0)), kernel, groups=4)
        lag = (len(taps) - 2) // 2  # by which the filter delays the image
        return F.conv2d(image, w, b, padding=1, groups=groups)[:, :, 10 + lag : 22 + lag, 10 + lag : 20 + lag]

    actual = derivatives(lambda *a: upsample_conv2d(*a, mode="fir", filter=filter, groups=groups), (x, w, b))
    expected = derivatives(stock, (x, w, b))
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, torch.float64)
    if len(taps) == 4:
        assert torch.equal(upsample_conv2d(x, w, b, mode="fir", groups=groups), actual[0])
    up = upsample2d(x, filter)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert_close(actual[0][inner], F.conv2d(up, w, b, padding=1, groups=groups)[inner], torch.float64)


@pytest.mark.parametrize(
    "filter", [torch.ones(2, 2, 2), torch.ones(3, dtype=torch.int64), [1, 2]], ids=["3d", "int", "list"]
)
def test_a_wrong_filter_is_named_with_its_function(filter: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="upsample_conv2d: filter must be"):
        upsample_conv2d(torch.randn(2, 3, 4, 4), torch.randn(4, 3, 3, 3), mode="fir", filter=filter)


def test_an_image_without_pixels_is_refused_in_every_mode() -> None:
    for mode in ("nearest", "fir"):
        with pytest.raises(ValueError, match="upsample_conv2d: input must be large enough"):
            upsample_conv2d(torch.randn(2, 3, 0, 4), torch.randn(4, 3, 3, 3), mode=mode)
