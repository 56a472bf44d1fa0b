"""spectral_norm's CUDA launchers and kernels, run on the CPU through the emulation, against the float64 reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.ops import cuda_source
from fastgan.ops.spectral_norm import cuda, reference, table
from fastgan.ops.spectral_norm.matrix import as_matrix
from tests.ops.test_contract import check_against_the_oracle
from tests.samples import SAMPLES, Sample
from tests.tolerances import assert_close

from .emulate import ORDERS, ROOT, Kernels, build, emulated, needs_emulation
from .guarded import Arena, address, allocations

pytestmark = needs_emulation

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DTYPE_IDS = [str(dtype).removeprefix("torch.") for dtype in DTYPES]
#: Of the iterations: their number, and whether v comes first.
Steps = tuple[int, bool]
ALL_STEPS: tuple[Steps, ...] = ((1, False), (1, True), (2, False), (2, True), (0, False))
EPS = 1e-12


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return build(ROOT / "csrc" / "cuda" / "spectral_norm.cu")


@pytest.fixture
def gpu(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it with an order: launchers then run on CPU tensors."""
    kernels.launches.clear()
    monkeypatch.setattr(cuda, "unsupported_reason", lambda device_type, dtype: None)

    def set_order(order: int) -> None:
        monkeypatch.setattr(cuda_source, "function", emulated(kernels, order))

    set_order(0)
    yield set_order


class Group(NamedTuple):
    """A list of weights with what belongs to each."""

    weights: list[Tensor]
    us: list[Tensor]
    vs: list[Tensor]
    dims: list[int]

    def map(self, function: Any) -> Group:
        return Group(*([function(x) for x in tensors] for tensors in self[:3]), self.dims)


def group(*members: tuple[tuple[int, ...], int] | tuple[tuple[int, ...], int, str]) -> Group:
    """Shapes, dims, and layouts where they are not contiguous: float64 weights with generic vectors.

    u is in the weight's range and v not far from Wᵀ u, so that no rounding decides the next vector.
    """
    made = Group([], [], [], [])
    for shape, dim, *layout in members:
        weight = torch.randn(shape, dtype=torch.float64)
        if layout == ["channels_last"]:
            weight = weight.contiguous(memory_format={4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)])
        elif layout == ["gaps"]:
            weight = torch.stack([weight, weight], -1)[..., 0]
        matrix = as_matrix(weight, dim)
        u = F.normalize(matrix @ torch.randn(matrix.shape[1], dtype=torch.float64), dim=0)
        v = F.normalize(matrix.mT @ u, dim=0) + 0.5 * F.normalize(
            torch.randn(matrix.shape[1], dtype=torch.float64), dim=0
        )
        for tensors, member in zip(made, (weight, u, v, dim), strict=True):
            tensors.append(member)
    return made


#: Every way to walk a weight and to cut it up: rows in whole packs and not, of less than a pack and of several turns of
#: the widest team; slices of the outer dimension with short periods; rows in several segments; tall and flat matrices;
#: single rows, columns and elements; weights without elements, between others.
GROUPS: dict[str, tuple[Any, ...]] = {
    "rows": (((16, 8, 3, 3), 0), ((5, 7), 0), ((33, 27), 0), ((9, 1024), 0), ((70, 2, 2, 2), 0, "channels_last")),
    "long-rows": (((3, 14001), 0), ((2, 4104), 0)),
    "slices": (((6, 5, 3, 3), 1), ((20, 9, 4, 4), 1), ((70, 3, 2, 2), 1), ((5, 6, 5, 5), 1), ((3, 40, 8, 8), 1)),
    "segments": (((3, 4, 9, 9), 1), ((2, 5, 72), 1), ((3, 2, 65), 1), ((40, 3, 10, 10), 1)),
    "columns": (((6, 5, 3, 3), 1, "channels_last"), ((40, 24), 1), ((600, 16), 1), ((3, 2, 5, 7), 3), ((9, 8, 3), 2)),
    "tall": (((700, 9), 0), ((2051, 8), 0), ((8, 2051), 1)),
    "small": (((1, 1), 0), ((0, 5), 0), ((7,), 0), ((1, 9), 0), ((5, 0, 3), 0), ((9, 1), 0), ((1, 9), 1), ((0,), 0)),
    "layouts": (((4, 3, 5), 0, "gaps"), ((4, 3, 5), 1, "gaps"), ((3, 2, 2, 3, 2), 1, "channels_last"), ((4, 6, 2), 0)),
}  # fmt: skip


def wide(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [x.double() for x in tensors]


def launch_all(
    given: Group, materialize: list[bool], steps: Steps, cotangents: Sequence[list[Tensor]], side: str
) -> dict[str, list[Tensor]]:
    """All results of the three launchers, in guarded memory."""
    weights, dims = given.weights, given.dims
    arena = Arena(side)
    with allocations(arena):
        given = given.map(arena.copy)
        h, g = ([arena.copy(x) for x in tensors] for tensors in cotangents)
        outputs, sigmas, new_us, new_vs = cuda.spectral_norm(*given, materialize, steps[0], EPS, steps[1])
        derived = (given.weights, sigmas, new_us, new_vs, dims)
        grads = cuda.spectral_norm_backward(g, *derived)
        grad_grad_outputs, second = cuda.spectral_norm_double_backward(h, g, *derived)
        arena.check()
    for weight, wanted, output, sigma in zip(weights, materialize, outputs, sigmas, strict=True):
        assert output.shape == (weight.shape if wanted else (0,))
        assert sigma.dtype == reference.accumulator(weight.dtype)
    for tensors in (
        [y for y, wanted in zip(outputs, materialize, strict=True) if wanted],
        grads,
        grad_grad_outputs,
        second,
    ):
        likes = [w for w, wanted in zip(weights, materialize, strict=True) if wanted or len(tensors) == len(weights)]
        for like, result in zip(likes, tensors, strict=True):
            assert result.dtype == like.dtype
            assert result.stride() == torch.empty_like(like).stride()
    names = ("outputs", "sigmas", "new_us", "new_vs", "grads", "grad_grad_outputs", "second grads")
    results = (outputs, sigmas, new_us, new_vs, grads, grad_grad_outputs, second)
    return {name: [x.clone() for x in tensors] for name, tensors in zip(names, results, strict=True)}


def expect_all(
    given: Group,
    materialize: list[bool],
    steps: Steps,
    cotangents: Sequence[list[Tensor]],
    actual: dict[str, list[Tensor]],
) -> dict[str, list[Tensor]]:
    """The same by the reference in float64; derivatives from the results that the launchers started from."""
    names = ("outputs", "sigmas", "new_us", "new_vs")
    exact = given.map(Tensor.double)
    expected = dict(zip(names, reference.spectral_norm(*exact, materialize, steps[0], EPS, steps[1]), strict=True))
    derived = (exact.weights, *(wide(actual[name]) for name in names[1:]), given.dims)
    h, g = (wide(tensors) for tensors in cotangents)
    expected["grads"] = reference.spectral_norm_backward(g, *derived)
    second = reference.spectral_norm_double_backward(h, g, *derived)
    expected["grad_grad_outputs"], expected["second grads"] = second
    return expected


def check(gpu: Any, given: Group, steps: Steps = (1, False), materialize: list[bool] | None = None) -> None:
    """Right in the first order, and the same bits in every other and at either side of a guard page."""
    materialize = materialize or [True] * len(given.weights)
    cotangents = [[torch.randn(w.shape).to(w) for w in given.weights] for _ in range(2)]
    first = None
    for order in ORDERS:
        gpu(order)
        results = launch_all(given, materialize, steps, cotangents, ("start", "end")[order % 2])
        if first is None:
            first = results
            for name, expected in expect_all(given, materialize, steps, cotangents, results).items():
                for i, (a, e) in enumerate(zip(results[name], expected, strict=True)):
                    assert_close(a, e, given.weights[i].dtype, f"{name}[{i}]")
        for name, tensors in results.items():
            for actual, before in zip(tensors, first[name], strict=True):
                assert torch.equal(bits(actual), bits(before)), f"{name} depends on the order of warps and blocks"


def bits(x: Tensor) -> Tensor:
    return x.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


@pytest.mark.proves("emulated", backend="cuda")
@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("sample", SAMPLES["spectral_norm"], ids=str)
def test_samples(gpu: Any, sample: Sample, dtype: torch.dtype) -> None:
    with fastgan.use_backend("cuda"):
        check_against_the_oracle(sample, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("name", GROUPS)
def test_groups(gpu: Any, name: str, dtype: torch.dtype) -> None:
    check(gpu, group(*GROUPS[name]).map(lambda x: x.to(dtype)))


@pytest.mark.parametrize("steps", ALL_STEPS, ids=lambda steps: f"{steps[0]}-{'vu'[not steps[1]]}")
@pytest.mark.parametrize("name", [name for name in GROUPS if name != "long-rows"])
def test_iterations(gpu: Any, name: str, steps: Steps) -> None:
    given = group(*GROUPS[name]).map(Tensor.float)
    check(gpu, given, steps, [i % 3 != 1 for i in range(len(given.weights))])


@pytest.mark.parametrize("dtype", DTYPES, ids=DTYPE_IDS)
@pytest.mark.parametrize("offset", range(1, 8))
def test_misaligned(gpu: Any, offset: int, dtype: torch.dtype) -> None:
    def shifted(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros(offset, dtype=dtype), x.to(dtype).flatten()])[offset:].view(x.shape)

    given = group(((12, 64), 0), ((6, 8, 4, 4), 1), ((40, 32), 1))
    check(gpu, given.map(shifted))
    # Only the vectors, and only the weights.
    check(gpu, Group(*([x.to(dtype) for x in given.weights], *given.map(shifted)[1:])))
    check(gpu, Group(given.map(shifted).weights, *given.map(lambda x: x.to(dtype))[1:]))


def test_gradients_of_another_layout(gpu: Any) -> None:
    given = group(((6, 5, 4, 3), 0, "channels_last"), ((6, 5, 4, 3), 1))
    g = [torch.randn(6, 5, 4, 3, dtype=torch.float64), torch.randn(3, 4, 5, 6, dtype=torch.float64).permute(3, 2, 1, 0)]
    h = [torch.randn(6, 5, 1, 1, dtype=torch.float64).expand(6, 5, 4, 3)] * 2
    results = launch_all(given, [True] * 2, (1, False), (h, g), "start")
    for name, expected in expect_all(given, [True] * 2, (1, False), (h, g), results).items():
        for actual, right in zip(results[name], expected, strict=True):
            assert_close(actual, right, torch.float64, name)


@pytest.mark.parametrize("steps", ALL_STEPS, ids=lambda steps: f"{steps[0]}-{'vu'[not steps[1]]}")
def test_special_values(gpu: Any, steps: Steps) -> None:
    def member(value: float, where: Any) -> Tensor:
        weight = torch.randn(4, 6)
        weight[where] = value
        return weight

    everything, one = slice(None), (1, 2)
    weights = [member(0, everything), member(torch.nan, one), member(torch.inf, one), member(-torch.inf, 3)]
    weights += [torch.randn(4, 6) * scale for scale in (1e-13, 1e18, 1e-15)]
    made = group(*[((4, 6), 0)] * len(weights))
    given = Group(weights, wide(made.us), wide(made.vs), made.dims).map(Tensor.float)
    actual = cuda.spectral_norm(*given, [True] * len(weights), steps[0], EPS, steps[1])
    expected = reference.spectral_norm(*given.map(Tensor.double), [True] * len(weights), steps[0], EPS, steps[1])
    for results, right in zip(actual, expected, strict=True):
        for i, (a, e) in enumerate(zip(results, right, strict=True)):
            torch.testing.assert_close(a.double(), e, rtol=1e-5, atol=0 if i > 3 else 1e-6, equal_nan=True)
    assert actual[1][0] == 0
    assert actual[0][0].isnan().all()
    grads = cuda.spectral_norm_backward(weights, weights, *actual[1:], made.dims)
    assert all(grad.isnan().all() for grad in grads[:2])
    # An infinite entry of u beside the end of a row, where its product with a missing element would be NaN.
    weight, u, v = torch.ones(2, 3), torch.tensor([torch.inf, 0.0]), torch.ones(3)
    second = cuda.spectral_norm_double_backward([weight], [weight], [weight], [torch.ones(())], [u], [v], [0])
    assert second[0][0].tolist() == [[-torch.inf] * 3] * 2


def test_launches(gpu: Any, kernels: Kernels) -> None:
    def launched(count: int, steps: Steps) -> list[list[str]]:
        given = group(*[((3, 4), i % 2) for i in range(count)])
        g, calls = given.weights, []
        materialize = [True] * count
        for call in (
            lambda: cuda.spectral_norm(*given, materialize, steps[0], EPS, steps[1]),
            lambda: cuda.spectral_norm_backward(g, g, [x.sum() for x in g], *given[1:]),
            lambda: cuda.spectral_norm_double_backward(g, g, g, [x.sum() for x in g], *given[1:]),
        ):
            kernels.launches.clear()
            call()
            calls.append([name.removeprefix("spectral_norm_").removesuffix("_kernel_f64") for name in kernels.launches])
        return calls

    forward, backward, second = launched(1, (1, False))
    assert forward == ["start", "step", "finish"]
    assert backward == ["bwd_sums", "bwd"]
    assert second == ["bwd_bwd_sums", "bwd_bwd"]
    assert launched(cuda.FORWARD_LAYERS, (1, True)) == [forward, backward, second]
    assert launched(cuda.FORWARD_LAYERS, (0, False))[0] == ["start", "finish"]
    assert launched(2, (3, False))[0] == ["start"] + ["step"] * 5 + ["finish"]
    assert launched(cuda.BACKWARD_LAYERS, (1, False)) == [2 * forward, backward, second]
    assert launched(cuda.BACKWARD_LAYERS + 1, (1, False))[1:] == [2 * backward, 2 * second]


@pytest.mark.parametrize("steps", [(1, False), (2, True), (0, False)], ids=str)
def test_a_list_of_several_tables(gpu: Any, steps: Steps) -> None:
    """Every member has the bits that it has alone, wherever it stands."""
    shapes = [((5, 7), 0), ((3, 4, 2), 1), ((0, 3), 0), ((70, 9), 0), ((2, 130), 0), ((33, 5), 1), ((4, 0), 0)]
    given = group(*(shapes[i % len(shapes)] for i in range(70))).map(Tensor.float)
    materialize = [i % 4 != 2 for i in range(70)]
    cotangents = [[torch.randn_like(w) for w in given.weights] for _ in range(2)]
    together = launch_all(given, materialize, steps, cotangents, "end")
    for i in range(70):
        alone = launch_all(
            Group(*(x[i : i + 1] for x in given)),
            materialize[i : i + 1],
            steps,
            [x[i : i + 1] for x in cotangents],
            "end",
        )
        for name, (result,) in alone.items():
            assert torch.equal(bits(together[name][i]), bits(result)), f"{name}[{i}]"


def test_weights_without_elements_launch_no_derivatives(gpu: Any, kernels: Kernels) -> None:
    given = group(((0, 5), 0), ((5, 0, 3), 1))
    _, sigmas, us, vs = cuda.spectral_norm(*given, [True, True], 1, EPS, False)
    assert [sigma.tolist() for sigma in sigmas] == [0, 0]
    assert [(u.tolist(), v.tolist()) for u, v in zip(us, vs, strict=True)] == [([], [0] * 5), ([], [0] * 15)]
    kernels.launches.clear()
    cuda.spectral_norm_backward(given.weights, given.weights, sigmas, us, vs, given.dims)
    assert kernels.launches == []


def test_nothing_that_was_given_is_written_or_returned(gpu: Any) -> None:
    for steps in ALL_STEPS:
        given = group(((3, 4), 0), ((2, 3, 2), 1))
        before = given.map(Tensor.clone)
        results = cuda.spectral_norm(*given, [True, False], steps[0], EPS, steps[1])
        assert all(
            torch.equal(a, b) for x, y in zip(given[:3], before[:3], strict=True) for a, b in zip(x, y, strict=True)
        )
        mine = {x.data_ptr() for tensors in given[:3] for x in tensors}
        assert not mine & {x.data_ptr() for tensors in results for x in tensors}


@pytest.mark.parametrize("kind", ["forward", "backward"])
def test_tables_have_the_layout_of_the_kernels_structs(kind: str) -> None:
    layout = build(Path(__file__).with_name("spectral_norm_layout.cu"))
    layer, capacity = {
        "forward": (cuda.FORWARD_LAYER, cuda.FORWARD_LAYERS),
        "backward": (cuda.BACKWARD_LAYER, cuda.BACKWARD_LAYERS),
    }[kind]
    ((given, _),) = cuda._tables(layer, capacity, [np.zeros((), layer).item()])
    assert given.dtype.fields is not None and layer.fields is not None and layer.names is not None
    sizes, offsets = np.zeros(2, np.int64), np.zeros(len(layer.names), np.int64)
    # That the kernel takes the table shows that their sizes are the same, and with the layer's size their capacities.
    layout.launch(f"{kind}_layout", (1,), (1,), (given, sizes.ctypes.data, offsets.ctypes.data))
    assert sizes.tolist() == [layer.itemsize, given.dtype.fields["count"][1]]
    assert offsets.tolist() == [layer.fields[name][1] for name in layer.names]


def test_plans_keep_what_the_kernels_rely_on() -> None:
    for outer in (1, 2, 7, 300):
        for rows in (1, 3, 64, 5000):
            for inner in (*range(1, 67), 128, 4608):
                for itemsize in (2, 4, 8):
                    pack = cuda.PACK_BYTES // itemsize
                    forward = cuda.plan_forward(outer, rows, inner, itemsize, True)
                    backward = cuda.plan_backward(outer, rows, inner, itemsize)
                    walk = forward.walk
                    assert walk.segments * walk.units * walk.length == outer * rows * inner
                    assert walk.period == 1 or walk.segments == 1
                    for lanes in (forward.team, forward.lanes, backward.lanes):
                        assert 1 <= lanes <= cuda.THREADS
                        assert lanes * pack % walk.period == 0
                    if walk.period == 1:
                        assert forward.team in (32, 64, 128, 256)
                    assert all(offset % cuda.PACK_BYTES == 0 for offset in forward.offsets)


# ---- sizes beyond 32 bits: only some blocks run, on memory that is reserved and hardly touched ----


class Huge:
    """One float16 weight of zeros, with its vectors and results; a block or two of each kernel run on it."""

    def __init__(self, kernels: Kernels, rows: int, columns: int) -> None:
        assert rows * columns > 2**31
        self.kernels, self.shape, self.arena = kernels, (1, rows, columns), Arena("end")
        self.weight, self.output = (self.array(rows * columns, np.float16) for _ in range(2))
        self.vectors, self.new = ([self.array(n, np.float16) for n in (rows, columns)] for _ in range(2))
        self.products = [self.array(n, np.float32) for n in (rows, columns)]
        self.sigma = np.ones((), np.float32)

    def array(self, count: int, dtype: Any) -> np.ndarray:
        memory = self.arena.reserve(count * np.dtype(dtype).itemsize)
        array = np.frombuffer(memory, dtype)
        if array.nbytes < 1 << 24:
            array[:] = 0
        return array

    def forward(self, kernel: str, makes: int, launch: int, blocks: int) -> np.ndarray:
        """Run the last `blocks` blocks of a launch with the vectors given; returns their partial sums."""
        plan = cuda.plan_forward(*self.shape, 2, True)
        squares = [np.full(n, np.nan) for n in plan.blocks[:2]]
        at = [[address(x) for x in pair] for pair in (self.vectors, self.new, self.products)]
        tensors = (address(self.weight), at[0], address(self.output), self.sigma.ctypes.data, at[1], at[2])
        member = (*tensors, [x.ctypes.data for x in squares], *plan.walk, plan.team, plan.lanes, plan.blocks)
        ((given, _),) = cuda._tables(cuda.FORWARD_LAYER, cuda.FORWARD_LAYERS, [member])
        if kernel == "finish":  # of the sum of products that makes sigma 4
            squares[0][:] = 0
            squares[0][0] = 4
        arguments = (np.int32(makes), np.int32(1), *([np.float32(EPS)] if kernel == "finish" else []))
        grid = plan.blocks[launch]
        self.launch(kernel, grid, (given, *arguments), blocks)
        return squares[makes][grid - blocks :] if kernel == "start" else self.sigma

    def backward(self, kernel: str, blocks: int) -> np.ndarray:
        plan = cuda.plan_backward(*self.shape, 2)
        partial = np.zeros(plan.blocks)
        vectors = [address(x) for x in self.vectors]
        tensors = (0, address(self.weight), address(self.weight), self.sigma.ctypes.data, vectors, 0)
        member = (*tensors, address(self.output), partial.ctypes.data, *plan.walk, plan.lanes, plan.chunk, plan.blocks)
        ((given, _),) = cuda._tables(cuda.BACKWARD_LAYER, cuda.BACKWARD_LAYERS, [member])
        self.launch(kernel, plan.blocks, (given,), blocks)
        return partial[plan.blocks - blocks :]

    def launch(self, kernel: str, grid: int, args: tuple[Any, ...], blocks: int) -> None:
        name = f"spectral_norm_{kernel}_kernel_f16"
        self.kernels.launch(name, (grid,), (cuda.THREADS,), args, blocks=range(grid - blocks, grid))


@pytest.mark.parametrize(("rows", "columns"), [(2**20 + 3, 2056), (2, 2**30 + 8 * 977 + 3)], ids=["rows", "columns"])
def test_more_than_2_to_the_31_elements(kernels: Kernels, rows: int, columns: int) -> None:
    huge = Huge(kernels, rows, columns)
    huge.weight[-3:] = 1, 2, 3
    huge.vectors[cuda.U][-1] = 2
    huge.vectors[cuda.V][-3:] = 1, 10, 100
    if rows > columns:
        assert huge.forward("start", cuda.U, cuda.U, 1).tolist() == [2 * 321]
        assert huge.products[cuda.U][-2:].tolist() == [0, 321]
    else:
        assert huge.forward("start", cuda.V, cuda.V, 1).tolist() == [2 + 40 + 600]
        assert huge.products[cuda.V][-4:].tolist() == [0, 2, 4, 6]
    assert huge.forward("finish", cuda.U, cuda.FINISH, 1) == 1  # not the block that writes it
    assert huge.output[-4:].tolist() == [0, 0.25, 0.5, 0.75]
    assert huge.backward("bwd_sums", 1).tolist() == [14]
    huge.backward("bwd", 1)
    assert huge.output[-4:].tolist() == [0, 1, 2, 3]


# ---- which tensors the backend serves ----


def test_unsupported_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(cuda_source, "unavailable_reason", lambda op: asked.append(op))
    assert cuda.unsupported_reason("cpu", torch.float32) == "serves CUDA tensors, not cpu"
    assert cuda.unsupported_reason("cuda", torch.complex64) == "does not serve torch.complex64"
    assert asked == []
    assert all(cuda.unsupported_reason("cuda", dtype) is None for dtype in DTYPES)
    assert asked == ["spectral_norm"] * 4
    assert "cuda" in table.backends
