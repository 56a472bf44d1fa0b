"""What the ledger cannot work out it refuses; that it is right elsewhere, test_ledger.py shows with the interpreter."""

# No `from __future__ import annotations` where kernels live: Triton reads their annotations.
import pytest
import torch

pytest.importorskip("triton")

import triton
import triton.language as tl

from .launches import record_launches
from .traffic import demand

pytestmark = pytest.mark.aot


@triton.jit
def masked_by_values_kernel(input_ptr, output_ptr, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(input_ptr + place)
    tl.store(output_ptr + place, x, mask=x > 0)


@triton.jit
def counted_kernel(input_ptr, output_ptr, n, rows, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    for row in range(tl.program_id(0), rows):
        if row % 2 == 0:
            tl.store(output_ptr + row * n + place, tl.load(input_ptr + place), mask=place < n)


def test_masks_that_depend_on_values_are_refused() -> None:
    x = torch.zeros(64)
    with record_launches() as launches:
        masked_by_values_kernel[(4,)](x, torch.zeros(64), BLOCK=16)
    with pytest.raises(
        NotImplementedError, match="masked_by_values_kernel: a mask depends on numbers that are no integers"
    ):
        demand(launches[0])


@triton.jit
def masked_by_bytes_kernel(input_ptr, bytes_ptr, output_ptr, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(output_ptr + place, tl.load(input_ptr + place), mask=tl.load(bytes_ptr + place) != 0)


def test_masks_that_depend_on_bytes_are_refused() -> None:
    x = torch.zeros(64)
    with record_launches() as launches:
        masked_by_bytes_kernel[(4,)](x, torch.zeros(64, dtype=torch.uint8), torch.zeros(64), BLOCK=16)
    with pytest.raises(NotImplementedError, match="masked_by_bytes_kernel: a mask depends on bytes"):
        demand(launches[0])


def test_loops_and_branches_of_each_program() -> None:
    n, rows = 13, 7
    with record_launches() as launches:
        counted_kernel[(5,)](torch.zeros(16), torch.zeros(rows * n), n, rows, BLOCK=16)
    even = sum(row % 2 == 0 for program in range(5) for row in range(program, rows))
    assert demand(launches[0]) == (even * 4 * (16 + n), 0)
