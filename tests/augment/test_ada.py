"""ADA's transformations against exact and analytic ones, its distributions, and the control of its probability."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fastgan.augment import ADA
from fastgan.augment.color import random_colors, recolored
from fastgan.augment.draws import Draws, homogeneous, rotation
from fastgan.augment.geometry import SYM6, blitted, random_blits, random_places, warped
from fastgan.functional import setup_filter

F64 = torch.float64


def _place(linear: list[list[float]], offset: tuple[float, float] = (0, 0)) -> Tensor:
    return homogeneous(torch.tensor([linear], dtype=F64), torch.tensor([offset], dtype=F64))


@pytest.mark.parametrize(
    ("linear", "offset", "expected"),
    [
        ([[-1.0, 0.0], [0.0, 1.0]], (0, 0), lambda x: x.flip(3)),
        ([[0.0, -1.0], [1.0, 0.0]], (0, 0), lambda x: x.rot90(1, (2, 3))),
        ([[1.0, 0.0], [0.0, 1.0]], (-2, 1), lambda x: torch.cat([x[..., :2].flip(3), x[..., :-2]], 3)[:, :, 1:]),
    ],
)
def test_blits_take_pixels_to_pixels(linear: list[list[float]], offset: tuple[float, float], expected: Any) -> None:
    for dtype in (torch.float32, F64):
        x = torch.randn(1, 2, 12, 12, dtype=dtype)
        found = blitted(x, _place(linear, offset).to(dtype))
        wanted = expected(x)
        assert torch.equal(found[:, :, : wanted.shape[2]], wanted)


def test_random_blits_are_such() -> None:
    for place in random_blits(Draws(torch.zeros(200, 1, dtype=F64), torch.tensor(1.0)), 16, 32):
        assert torch.equal(place, place.round()) and abs(float(torch.linalg.det(place))) == 1
        assert place[0, 2].abs() <= 4 and place[1, 2].abs() <= 4


def test_wavelet_is_orthogonal_and_the_identity_untouched() -> None:
    taps = torch.tensor(SYM6, dtype=F64)
    assert torch.allclose(taps.sum(), torch.tensor(math.sqrt(2), dtype=F64), atol=1e-11)
    for shift in range(1, 6):
        assert abs(taps[2 * shift :] @ taps[: -2 * shift]) < 1e-11
    x = torch.randn(2, 3, 24, 20, dtype=F64)
    place = _place([[1.0, 0.0], [0.0, 1.0]]).repeat(2, 1, 1)
    place[1, 0, 2] = 1e-14  # enough to be filtered
    result = warped(x, place, taps / taps.sum())
    assert torch.equal(result[0], x[0])
    torch.testing.assert_close(result[1, :, 3:-3, 3:-3], x[1, :, 3:-3, 3:-3], rtol=0, atol=1e-9)


def test_warp_of_a_smooth_image_is_the_analytic_one() -> None:
    height, width = 40, 32
    y, x = torch.meshgrid(*(torch.arange(n, dtype=F64) - (n - 1) / 2 for n in (height, width)), indexing="ij")
    place = _place((1.1 * rotation(torch.tensor([0.4], dtype=F64))[0]).tolist(), (1.3, -2.2))

    def picture(x: Tensor, y: Tensor) -> Tensor:
        return torch.cos(0.25 * x + 0.1) * torch.sin(0.2 * y - 0.15 * x)

    result = warped(picture(x, y)[None, None], place, setup_filter(SYM6))[0, 0]
    there_x, there_y = torch.einsum("ij,jhw->ihw", place[0, :2], torch.stack([x, y, torch.ones_like(x)]))
    inside = (there_x.abs() < width / 2 - 4) & (there_y.abs() < height / 2 - 4)
    assert inside.sum() > 400
    # Bilinear between samples half a pixel apart: h² f'' / 8 along both axes.
    assert (result - picture(there_x, there_y))[inside].abs().max() < 0.01


def test_beyond_the_border_is_the_mirror_image() -> None:
    bump = torch.exp(-((torch.arange(16, dtype=F64) - 5) / 3).square()).expand(1, 1, 16, 16)
    moved = warped(bump, _place([[1.0, 0.0], [0.0, 1.0]], (-16.0, 0.0)), setup_filter(SYM6))
    torch.testing.assert_close(moved, bump.flip(3), rtol=0, atol=0.02)


def test_parameters_reach_a_sample_with_probability_p() -> None:
    torch.manual_seed(2)
    draws = Draws(torch.zeros(20_000, 1, dtype=F64), torch.tensor(0.3))
    for values, spread in ((draws.normal(2.0), 4.0), (draws.uniform(3.0), 3.0), (draws.integer(4) - 0.0, None)):
        active = values[values != 0]
        share = 0.3 * (0.75 if spread is None else 1)
        assert abs(len(active) / 20_000 - share) < 0.02
        assert spread is None or abs(active.square().mean() / spread - 1) < 0.1


def test_geometry_has_the_papers_distributions() -> None:
    torch.manual_seed(4)
    place = random_places(Draws(torch.zeros(20_000, 1, dtype=F64), torch.tensor(1.0)), torch.tensor(1.0), 8, 32)
    area = torch.linalg.det(place[:, :2, :2]).log2()
    assert abs(area.std() - 0.4) < 0.02 and abs(area.mean()) < 0.02  # both axes by 2^N(0, 0.2²)
    stretch = torch.linalg.svdvals(place[:, :2, :2]).log2()
    assert abs((stretch[:, 0] - stretch[:, 1]).square().mean().sqrt() - 0.4) < 0.02
    still = random_places(Draws(torch.zeros(20_000, 1, dtype=F64), torch.tensor(0.5)), torch.tensor(0.5), 8, 32)
    turned = (still[:, 0, 1].abs() > 1e-9).double().mean()
    assert abs(turned - 0.5) < 0.02


def test_colors_keep_what_they_must() -> None:
    torch.manual_seed(5)
    colors = random_colors(Draws(torch.zeros(2000, 1, dtype=F64), torch.tensor(1.0)))
    grey = torch.ones(3, dtype=F64) / math.sqrt(3)
    out = colors[:, :3, :3] @ grey
    torch.testing.assert_close(out.abs(), out.abs()[:, :1].expand(-1, 3))  # grey stays grey
    contrast = out.norm(dim=1).log2()
    assert abs(contrast.std() - 0.5) < 0.03 and abs((out[:, 0] < 0).double().mean() - 0.5) < 0.04
    values = torch.linalg.svdvals(colors[:, :3, :3]).log2()
    saturation = values.sum(1) - 3 * contrast  # along both axes that are not grey
    assert abs(saturation.std() - 2.0) < 0.1


def test_recolored_is_the_matrix_at_every_pixel() -> None:
    x, matrix = torch.randn(4, 3, 5, 6, dtype=F64), torch.randn(4, 4, 4, dtype=F64)
    expected = torch.einsum("nij,njhw->nihw", matrix[:, :3], torch.cat([x, torch.ones_like(x[:, :1])], 1))
    torch.testing.assert_close(recolored(x, matrix), expected)
    grey = x[:, :1]
    expected = recolored(grey.expand(-1, 3, -1, -1), matrix).mean(1, keepdim=True)
    torch.testing.assert_close(recolored(grey, matrix), expected)


def test_probability_zero_changes_nothing() -> None:
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(ADA()(x), x)
    augmented = ADA(p=1.0)(x)
    assert not any(torch.equal(a, b) for a, b in zip(augmented, x, strict=True))


def test_probability_follows_the_signs() -> None:
    ada = ADA(target=0.6, interval=4, images=1000)
    for i in range(8):
        ada.update(torch.ones(10, 1))
        assert ada.p == pytest.approx(0.04 * ((i + 1) // 4))
    # Mean sign 0.5: two patches of four samples disagree. Below the target, so that it falls, to zero at the least.
    outputs = torch.ones(4, 1, 2, 2)
    outputs[0] = -1
    for _ in range(4):
        ada.update(outputs)
    assert ada.p == pytest.approx(0.08 - 0.016)
    for _ in range(40):
        ada.update(-torch.ones(10))
    assert ada.p == 0
    ada = ADA(images=10, interval=1)
    ada.update(torch.ones(30))
    assert ada.p == 1


def test_state_dict_resumes_between_two_changes() -> None:
    ada, other = ADA(images=100), ADA(images=100)
    assert set(ada.state_dict()) == {"p", "sign_sum", "samples", "updates"}
    for _ in range(6):
        ada.update(torch.ones(5))
    other.load_state_dict(ada.state_dict())
    for each in (ada, other):
        for _ in range(2):
            each.update(torch.ones(5))
    assert other.p == ada.p == pytest.approx(0.4)


class _NoSynchronisation(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


def test_no_call_waits_for_the_device() -> None:
    ada, x = ADA(p=0.5), torch.randn(2, 3, 8, 8)
    with _NoSynchronisation():
        ada(x)
        ada.update(x)


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ada = ADA(images=100, interval=1)
    # Process 0 alone would see a mean sign of 1, process 1 of 0.5; together 0.625.
    ada.update(torch.ones(5) if rank == 0 else torch.cat([torch.ones(9), -torch.ones(6)]) * 2)
    torch.save(ada.p, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_share_the_probability(tmp_path: Path) -> None:
    mp.spawn(_process, (str(tmp_path),), nprocs=2)
    found = [float(torch.load(tmp_path / f"{rank}.pt")) for rank in range(2)]
    assert found == [0.0, 0.0]  # 8 of 20 below the target
