"""bias_act's CUDA launchers and kernels, run on the CPU through the emulation, against the reference in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import bias_act
from fastgan.ops import cuda_source
from fastgan.ops.bias_act import cuda, reference, table
from fastgan.ops.bias_act.activations import ACTIVATIONS, kernel_code, saves_input
from tests.samples import SAMPLES, Sample
from tests.tolerances import assert_close

from .emulate import ORDERS, ROOT, Kernels, build, emulated, needs_emulation
from .guarded import Arena, address, allocations

pytestmark = needs_emulation

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DTYPE_IDS = [str(dtype).removeprefix("torch.") for dtype in DTYPES]
Options = tuple[str, float, float, float | None, int]


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return build(ROOT / "csrc" / "cuda" / "bias_act.cu")


@pytest.fixture
def gpu(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it with an order: launchers then run on CPU tensors, and on a GPU of one multiprocessor."""
    monkeypatch.setattr(cuda_source, "multiprocessors", lambda device: 1)
    kernels.launches.clear()

    def set_order(order: int) -> None:
        monkeypatch.setattr(cuda_source, "function", emulated(kernels, order))

    set_order(0)
    yield set_order


def options(arguments: dict[str, Any], ndim: int) -> Options:
    """What fastgan.functional makes of the keyword arguments."""
    act = arguments["act"]
    default = ACTIVATIONS[act]
    alpha, gain = arguments.get("alpha", default.alpha), arguments.get("gain", default.gain)
    dim = arguments.get("dim", 1) % ndim if arguments["bias"] is not None else 0
    return act, alpha or 0.0, gain, arguments.get("clamp"), dim


def wide(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.double()


@contextmanager
def guarded(side: str) -> Iterator[Arena]:
    arena = Arena(side)
    with allocations(arena):
        yield arena
        arena.check()


def launch_all(
    x: Tensor, bias: Tensor | None, grad: Tensor, cotangent: Tensor, options: Options, side: str
) -> list[Tensor]:
    """Output, both gradients, the gradient alone, and both second derivatives, all in guarded memory."""
    act, alpha = options[:2]
    with guarded(side) as arena:
        x, grad, cotangent = arena.copy(x), arena.copy(grad), arena.copy(cotangent)
        bias = None if bias is None else arena.copy(bias)
        y = cuda.bias_act(x, bias, *options)
        saved = x if saves_input(act, alpha) else y
        grad_input, grad_bias = cuda.bias_act_backward(grad, saved, bias, *options, bias is not None)
        alone, nothing = cuda.bias_act_backward(grad, saved, bias, *options, False)
        assert nothing.numel() == 0
        results = [y, grad_input, grad_bias, alone]
        if not ACTIVATIONS[act].piecewise_linear:
            results += cuda.bias_act_double_backward(cotangent, grad, saved, bias, *options)
        for result in results[:2] + results[3:]:
            assert result.dtype == x.dtype
            assert result.stride() == torch.empty_like(x).stride()
        return [result.clone() for result in results]


def expect_all(
    x: Tensor, bias: Tensor | None, y: Tensor, grad: Tensor, cotangent: Tensor, options: Options
) -> list[Tensor]:
    """The same by the reference in float64, from the saved tensor that the launchers started from."""
    act, alpha, gain, clamp, dim = options
    bound = None if clamp is None else float(torch.tensor(clamp, dtype=x.dtype))
    options = (act, alpha, gain, bound, dim)
    saved = wide(x if saves_input(act, alpha) else y)
    gradients = reference.bias_act_backward(grad.double(), saved, wide(bias), *options, bias is not None)
    results = [reference.bias_act(x.double(), wide(bias), *options), *gradients, gradients[0]]
    if not ACTIVATIONS[act].piecewise_linear:
        results += reference.bias_act_double_backward(cotangent.double(), grad.double(), saved, wide(bias), *options)
    return results


NAMES = ("output", "grad_input", "grad_bias", "grad_input alone", "grad_grad_output", "grad_saved")


def check(gpu: Any, x: Tensor, bias: Tensor | None, options: Options) -> None:
    """Right in the first order, and the same bits in every other and at either side of a guard page."""
    grad, cotangent = torch.randn_like(x), torch.randn_like(x)
    unclear = near_the_bound(x, bias, options)
    grad[unclear] = cotangent[unclear] = 0.0
    first = None
    for order in ORDERS:
        gpu(order)
        side = ("start", "end")[order % 2]
        results = launch_all(x, bias, grad, cotangent, options, side)
        if first is None:
            first = results
            expected = expect_all(x, bias, results[0], grad, cotangent, options)
            for name, actual, right in zip(NAMES, results, expected, strict=False):
                assert_close(actual, right, x.dtype, name)
        for name, actual, before in zip(NAMES, results, first, strict=False):
            assert torch.equal(bits(actual), bits(before)), f"{name} depends on the order of warps and blocks"


def near_the_bound(x: Tensor, bias: Tensor | None, options: Options) -> Tensor:
    """Where rounding decides whether a recomputed output is clamped: there the two sides may rightly disagree."""
    act, alpha, gain, clamp, dim = options
    if clamp is None or not saves_input(act, alpha):
        return torch.zeros_like(x, dtype=torch.bool)
    y = reference.bias_act(x.double(), wide(bias), act, alpha, gain, None, dim)
    return (y.abs() / clamp - 1).abs() < 2 * torch.finfo(x.dtype).eps if clamp else y.abs() < 1e-6


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


@pytest.mark.proves("emulated", backend="cuda")
@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("sample", SAMPLES["bias_act"], ids=str)
def test_samples(gpu: Any, sample: Sample, dtype: torch.dtype) -> None:
    arguments = sample.arguments(dtype)
    x, bias = arguments["input"], arguments["bias"]
    check(gpu, x, bias, options(arguments, max(x.dim(), 1)))


def layouts(shape: tuple[int, ...]) -> dict[str, Tensor]:
    x = torch.randn(shape, dtype=torch.float64)
    found = {"contiguous": x}
    if len(shape) == 4:
        found["channels_last"] = x.contiguous(memory_format=torch.channels_last)
    if len(shape) == 5:
        found["channels_last"] = x.contiguous(memory_format=torch.channels_last_3d)
    return found


SWISH: Options = ("swish", 0.0, 1.3, 0.9, 1)  # reads the bias again in the backward

# Channels and pixels for every way of reading a bias, of walking memory and of splitting a sum: rows long and short,
# whole packs and not, wide enough for several tiles, one channel, three dimensions of pixels.
SHAPES = [
    (2, 16, 8, 8), (3, 8, 4, 4), (5, 3, 2, 2), (2, 6, 9, 11), (64, 40), (3, 1100), (700, 3), (2, 5, 131), (1, 3, 1030),
    (2, 1, 333), (9, 2, 3, 1, 5),
]  # fmt: skip
# Several turns of a thread, more channels than a sum has blocks, and more rows than one turn of them.
LARGE_SHAPES = [(4, 6, 53, 61), (1, 2100, 65), (4100, 24)]


def check_layouts(gpu: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for x in layouts(shape).values():
        check(gpu, x.to(dtype), torch.randn(shape[1]).to(dtype), SWISH)


@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(gpu: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check_layouts(gpu, shape, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", LARGE_SHAPES, ids=str)
def test_large_shapes(gpu: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check_layouts(gpu, shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("offset", range(1, 8))
def test_misaligned(gpu: Any, offset: int, dtype: torch.dtype) -> None:
    def shifted(*shape: int) -> Tensor:
        return torch.randn(offset + torch.Size(shape).numel()).to(dtype)[offset:].view(shape)

    check(gpu, shifted(2, 16, 8, 8), shifted(16), ("swish", 0.0, 1.0, None, 1))
    check(gpu, shifted(40, 16), shifted(16), ("swish", 0.0, 1.0, None, 1))


def test_gradients_of_another_layout(gpu: Any) -> None:
    x = torch.randn(2, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    grad, cotangent = torch.randn(2, 6, 5, 4), torch.randn(2, 6, 1, 1).expand(2, 6, 5, 4)
    setup: Options = ("tanh", 0.0, 1.5, None, 1)
    results = launch_all(x, torch.randn(6), grad, cotangent, setup, "start")
    y = results[0]
    first, _ = reference.bias_act_backward(grad, y, None, *setup, False)
    second = reference.bias_act_double_backward(cotangent, grad, y, None, *setup)
    for actual, right in zip([results[1], *results[4:]], [first, *second], strict=True):
        assert_close(actual, right, x.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_special_values(gpu: Any, act: str, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny / 4  # subnormal
    x = torch.tensor([np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, 2.0, -2.0, 60.0, -60.0], dtype=dtype)
    for clamp in (None, 2.0):
        setup: Options = (act, 0.2, 1.0, clamp, 0)
        y = cuda.bias_act(x, None, *setup)
        torch.testing.assert_close(y, reference.bias_act(x, None, *setup), equal_nan=True)
        saved = x if saves_input(act, 0.2) else y
        finite = saved.isfinite()
        grad, _ = cuda.bias_act_backward(torch.ones_like(x), saved, None, *setup, False)
        expected, _ = reference.bias_act_backward(torch.ones_like(x), saved, None, *setup, False)
        torch.testing.assert_close(grad[finite], expected[finite])


def test_empty_tensors_launch_nothing(gpu: Any, kernels: Kernels) -> None:
    x = torch.empty(0, 3, 4)
    setup: Options = ("tanh", 0.0, 1.0, None, 1)
    assert cuda.bias_act(x, torch.ones(3), *setup).shape == x.shape
    grad_input, grad_bias = cuda.bias_act_backward(x, x, None, *setup, True)
    assert grad_input.shape == x.shape
    assert grad_bias.tolist() == [0, 0, 0]
    assert [y.shape for y in cuda.bias_act_double_backward(x, x, x, None, *setup)] == [x.shape] * 2
    assert kernels.launches == []


def test_launches(gpu: Any, kernels: Kernels) -> None:
    x, bias, setup = torch.randn(2, 3, 8, 8), torch.randn(3), ("lrelu", 0.2, 1.0, None, 1)
    y = cuda.bias_act(x, bias, *setup)
    cuda.bias_act_backward(x, y, None, *setup, False)
    cuda.bias_act_backward(x, y, None, *setup, True)
    cuda.bias_act_backward(x[..., :2], y[..., :2], None, *setup, True)
    assert [name.removeprefix("bias_act_") for name in kernels.launches] == [
        "fwd_kernel_f32",
        "bwd_kernel_f32",
        "bwd_rows_kernel_f32",
        "reduce_kernel_f32",
        "bwd_columns_kernel_f32",
        "reduce_kernel_f32",
    ]


@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_the_public_function_differentiates_twice_through_the_kernels(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    monkeypatch.setattr(cuda, "unsupported_reason", lambda device_type, dtype: None)
    monkeypatch.setattr(table, "_launchers", {})
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)
    weight, gradients = torch.randn(3, 4, 5, dtype=torch.float64), []
    for backend in ("cuda", "reference"):
        with fastgan.use_backend(backend):
            y = bias_act(x, b, act=act)
        first = torch.autograd.grad((y * weight).sum(), (x, b), create_graph=True)
        penalty = sum((g**2).sum() for g in first) + (y**2).sum()
        gradients.append((y, *first, *torch.autograd.grad(penalty, (x, b))))
    for actual, expected in zip(*gradients, strict=True):
        assert_close(actual, expected, torch.float64)


# ---- sizes beyond 32 bits: only some blocks run, on memory that is reserved and hardly touched ----

HUGE = 2**31 + 8 * 977 + 3
SCALARS = (np.int32(kernel_code("lrelu", 0.25)), *map(np.float32, (0.25, 1.0, 1.0, np.nan)))


def half(arena: Arena, numel: int) -> tuple[int, Any]:
    """The address and the elements of a buffer of zeros."""
    memory = arena.reserve(2 * numel)
    return address(memory), np.frombuffer(memory, dtype=np.float16)


def test_more_than_2_to_the_31_elements(kernels: Kernels) -> None:
    arena = Arena("end")
    (x_address, x), (y_address, y) = half(arena, HUGE), half(arena, HUGE)
    channels, inner = 5, 3
    bias = np.arange(channels, dtype=np.float16)
    plan = cuda.plan_elementwise(HUGE, channels, inner, 8, cuda.ANY_CHANNELS, False, 1 << 30)
    last = slice(HUGE - 5000, HUGE)
    x[last] = np.random.default_rng(0).standard_normal(5000)
    args = (x_address, bias.ctypes.data, y_address, *plan.args, *SCALARS)
    kernels.launch("bias_act_fwd_kernel_f16", (plan.grid,), (256,), args, blocks=range(plan.grid - 3, plan.grid))
    z = (x[last] + bias[np.arange(last.start, last.stop) // inner % channels].astype(np.float32)).astype(np.float32)
    # The last three blocks cover the last 4,096 elements at least.
    np.testing.assert_array_equal(y[last][-4096:], np.where(z > 0, z, 0.25 * z).astype(np.float16)[-4096:])


@pytest.mark.parametrize(("channels", "inner"), [(40, 0), (1 << 11, 8)], ids=["rows", "columns"])
def test_sums_over_more_than_2_to_the_31_elements(kernels: Kernels, channels: int, inner: int) -> None:
    arena = Arena("start")
    if inner == 0:
        inner = HUGE // channels + 1
        plan = cuda.plan_rows(1, channels, inner, 8, True)
    else:
        plan = cuda.plan_columns(HUGE // (channels * inner) + 1, channels, inner, 8, cuda.NO_BIAS, True)
    numel = int(plan.gradient.args[0]) * (channels * inner if plan.kernel == "bwd_rows" else 1)
    assert numel > 2**31
    buffers = [half(arena, numel) for _ in range(3)]
    partial = np.full(plan.partial, np.nan, dtype=np.float32)
    (grad_address, grad), (saved_address, _), (result_address, result) = buffers
    grad[-8:] = range(1, 9)  # of the last channel; all else is zero, as is `saved`, where the slope is alpha
    args = (grad_address, saved_address, 0, result_address, partial.ctypes.data, *plan.gradient.args, *SCALARS)
    grid = plan.gradient.grid
    splits = int(plan.partial // (channels if plan.kernel == "bwd_rows" else plan.gradient.args[3]))
    # The blocks of the last channel, or of the last tile.
    kernels.launch(f"bias_act_{plan.kernel}_kernel_f16", (grid,), (256,), args, blocks=range(grid - splits, grid))
    assert result[-8:].tolist() == [0.25 * k for k in range(1, 9)]
    assert np.nansum(partial) == 9.0
