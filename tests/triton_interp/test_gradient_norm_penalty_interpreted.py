"""gradient_norm_penalty's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import math

import pytest
import torch

from fastgan.ops import triton_samples
from fastgan.ops.gradient_norm_penalty import reference
from fastgan.ops.gradient_norm_penalty import triton as kernels
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize("programs", [1, 6, 1000])
@pytest.mark.parametrize("kind", [(None, False), (9.0, False), (9.0, True)], ids=str)
def test_pieces_of_several_blocks(
    kind: tuple[float | None, bool], programs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_samples, "_BLOCKS", ((1 << 62, 32),))
    monkeypatch.setattr(kernels, "_REDUCING_PROGRAMS", programs)
    g = torch.randn(3, 101)
    cut = triton_samples.plan(g, programs)
    assert (cut.pieces, cut.steps) == {1: (1, 4), 6: (2, 2), 1000: (4, 1)}[programs]
    for a, e in zip(
        kernels.gradient_norm_penalty(g, 0.1, *kind),
        reference.gradient_norm_penalty(g.double(), 0.1, *kind),
        strict=True,
    ):
        assert_close(a, e, torch.float32)


def test_more_samples_than_the_last_program_reads_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_AT_ONCE", 8)
    g = torch.randn(37, 5)
    penalty, scale = kernels.gradient_norm_penalty(g, 0.1, 1.0, False)
    expected = reference.gradient_norm_penalty(g.double(), 0.1, 1.0, False)
    assert_close(penalty, expected[0], torch.float32)
    assert_close(scale, expected[1], torch.float32)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("one_sided", [False, True])
def test_what_is_not_finite_shows(one_sided: bool, bad: float) -> None:
    g = torch.randn(3, 5)
    g[2, 3] = bad
    penalty, scale = kernels.gradient_norm_penalty(g, 0.5, 1.0, one_sided)
    assert not penalty.isfinite() and scale[:2].isfinite().all()
