"""The emulation itself: that right kernels give right results, and that it shows each kind of mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from .emulate import ORDERS, KernelError, Kernels, build, needs_emulation
from .guarded import Arena

pytestmark = needs_emulation


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return build(Path(__file__).with_name("faulty.cu"))


@pytest.fixture(params=["start", "end"])
def arena(request: pytest.FixtureRequest) -> Arena:
    return Arena(request.param)


def one_block(kernels: Kernels, name: str, x: torch.Tensor, order: int, shared_mem: int = 0) -> torch.Tensor:
    y = torch.empty_like(x)
    kernels.launch(name, (1,), (x.numel(),), (x.data_ptr(), y.data_ptr()), shared_mem, order)
    return y


@pytest.mark.parametrize("order", ORDERS)
def test_shared_memory_and_barrier(kernels: Kernels, order: int) -> None:
    x = torch.randn(200)
    assert torch.equal(one_block(kernels, "reverse", x, order), x.flip(0))
    assert torch.equal(one_block(kernels, "reverse_dynamic", x, order, shared_mem=800), x.flip(0))


@pytest.mark.parametrize(("name", "threads"), [("reverse_without_barrier", 200), ("rotate_without_syncwarp", 32)])
def test_a_missing_barrier_shows(kernels: Kernels, name: str, threads: int) -> None:
    x = torch.randn(threads)
    results = [one_block(kernels, name, x, order) for order in ORDERS]
    # What was read before it was written is NaN, and the orders disagree about which that is.
    assert all(result.isnan().any() for result in results)
    assert len({result.isnan().numpy().tobytes() for result in results}) > 1


@pytest.mark.parametrize("order", ORDERS)
def test_syncwarp(kernels: Kernels, order: int) -> None:
    x = torch.randn(32)
    assert torch.equal(one_block(kernels, "rotate", x, order), x.roll(-1))


@pytest.mark.parametrize("order", ORDERS)
def test_a_deadlock_is_reported(kernels: Kernels, order: int) -> None:
    y = torch.zeros(64)
    with pytest.raises(
        KernelError, match=r"deadlock in half_a_barrier, block \(0,0,0\): 40 threads wait at a barrier, 24"
    ):
        kernels.launch("half_a_barrier", (1,), (64,), (y.data_ptr(),), order=order)


def test_a_shuffle_from_outside_its_mask_is_reported(kernels: Kernels) -> None:
    y = torch.zeros(32)
    with pytest.raises(KernelError, match=r"shuffle from lane \d+, which is outside the mask"):
        kernels.launch("shuffle_from_outside", (1,), (32,), (y.data_ptr(),))


def test_blocks_are_permuted(kernels: Kernels) -> None:
    last = []
    for order in ORDERS:
        y = torch.zeros(1)
        kernels.launch("last_block_wins", (7,), (32,), (y.data_ptr(),), order=order)
        last.append(int(y))
    assert last[:2] == [6, 0]
    assert len(set(last)) > 2


def copy(kernels: Kernels, name: str, arena: Arena, order: int) -> None:
    n = 100
    x = arena.copy(torch.randn(n))
    y = arena.tensor(x.shape, x.stride(), x.dtype)
    kernels.launch(name, (2,), (64,), (x.data_ptr(), y.data_ptr(), np.int32(n)), order=order)
    assert torch.equal(x, y)
    arena.check()


@pytest.mark.parametrize("order", ORDERS)
def test_access_within_bounds(kernels: Kernels, arena: Arena, order: int) -> None:
    copy(kernels, "copy", arena, order)


@pytest.mark.parametrize(("name", "side"), [("copy_one_too_many", "end"), ("copy_from_one_before", "start")])
def test_an_access_out_of_bounds_is_reported(kernels: Kernels, name: str, side: str) -> None:
    arena = Arena(side)
    for order in ORDERS:  # one launch after the other: the emulation recovers
        with pytest.raises(KernelError, match=rf"invalid access to address 0x\w+ in {name}, block \(\d,0,0\), thread"):
            copy(kernels, name, arena, order)


def test_a_write_beside_a_buffer_is_reported(kernels: Kernels) -> None:
    arena = Arena("start")  # the guard page behind is further away than one element
    with pytest.raises(AssertionError, match="written beside a buffer"):
        copy(kernels, "copy_one_too_many", arena, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_collectives(kernels: Kernels, order: int) -> None:
    x = torch.randperm(64, dtype=torch.int32)
    y = torch.zeros(64, 8, dtype=torch.int32)
    kernels.launch("collectives", (1,), (64,), (x.data_ptr(), y.data_ptr()), order=order)
    lane, base = torch.arange(64) % 32, torch.arange(64) // 32 * 32
    expected = [
        x[base + 5],
        x[base + torch.where(lane + 3 < 32, lane + 3, lane)],
        x[base + torch.where(lane >= 3, lane - 3, lane)],
        x[base + (lane ^ 1)],
        torch.full((64,), sum(1 << i for i in range(0, 32, 3))),
        torch.full((64,), 2),
        torch.full((64,), 40),
        torch.full((64,), 2),
    ]
    for column, values in enumerate(expected):
        assert torch.equal(y[:, column].long() & 0xFFFFFFFF, values.long()), column


@pytest.mark.parametrize("order", ORDERS)
def test_groups_of_lanes_and_early_returns(kernels: Kernels, order: int) -> None:
    y = torch.full((64,), -1, dtype=torch.int32)
    kernels.launch("groups", (1,), (64,), (y.data_ptr(),), order=order)
    assert y.tolist() == [3] * 16 + [17] * 16 + [35] * 16 + [-1] * 16


@pytest.mark.parametrize("order", ORDERS)
def test_block_sum_and_atomics(kernels: Kernels, order: int) -> None:
    x = torch.randint(-9, 9, (5, 256)).float()
    y, count = torch.empty(5), torch.zeros(1, dtype=torch.int32)
    kernels.launch("sum", (5,), (256,), (x.data_ptr(), y.data_ptr(), count.data_ptr()), order=order)
    assert torch.equal(y, x.sum(1))
    assert count.item() == 5 * 256


def test_arguments_must_be_what_the_kernel_declares(kernels: Kernels) -> None:
    with pytest.raises(AssertionError, match=r"copy takes \['p8', 'p8', 'i4'\], was given \['p8', 'p8', 'i8'\]"):
        kernels.launch("copy", (1,), (32,), (0, 0, np.int64(1)))


PAIR = np.dtype([("from", "u8"), ("factor", "f4")], align=True)
TABLE = np.dtype([("pairs", PAIR, 3), ("letter", "S1")], align=True)


@pytest.mark.parametrize("order", ORDERS)
def test_a_struct_by_value(kernels: Kernels, order: int) -> None:
    xs, y = [torch.randn(50) for _ in range(3)], torch.empty(3, 50)
    table = np.zeros((), TABLE)
    table["pairs"] = [(x.data_ptr(), factor) for x, factor in zip(xs, (2.0, -1.0, 0.5), strict=True)]
    table["letter"] = b"z"
    kernels.launch("scale", (3,), (64,), (table, y.data_ptr(), np.int32(50)), order=order)
    assert torch.equal(y, torch.stack([2 * xs[0], -xs[1], torch.zeros(50)]))


def test_a_struct_must_have_the_size_that_the_kernel_declares(kernels: Kernels) -> None:
    assert kernels.signature("scale") == ["V56", "p8", "i4"]
    packed = np.dtype([("pairs", PAIR, 3), ("letter", "S1")])
    with pytest.raises(AssertionError, match=r"scale takes \['V56', 'p8', 'i4'\], was given \['V49', 'p8', 'i4'\]"):
        kernels.launch("scale", (1,), (32,), (np.zeros((), packed), 0, np.int32(0)))
    with pytest.raises(AssertionError, match="CuPy takes numbers as NumPy scalars"):
        kernels.launch("scale", (1,), (32,), (np.zeros(2, TABLE), 0, np.int32(0)))
