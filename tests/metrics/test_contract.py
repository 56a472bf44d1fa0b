"""What holds for every metric: parts and their order do not matter, states survive, wrong input is named."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from fastgan import metrics
from tests.trainers.runs import run_python

from .cases import CASES, D, flat, whole

# A metric that was loaded or merged has seen samples: torchmetrics warns where it thinks there were none.
pytestmark = pytest.mark.filterwarnings("error")


def _same(metric: Any, expected: torch.Tensor) -> None:
    torch.testing.assert_close(flat(metric.compute()), expected, rtol=1e-12, atol=1e-12)


def test_every_metric_is_tested() -> None:
    assert {type(whole(case)).__name__ for case in CASES.values()} == set(metrics.__all__) - {"FrechetReference"}


@pytest.mark.parametrize("name", CASES)
def test_parts_and_order_do_not_matter(name: str) -> None:
    case = CASES[name]
    expected = flat(whole(case).compute())
    assert torch.isfinite(expected).all() and expected.any()
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        parts = []
        for group in case.groups:
            order = torch.randperm(len(group), generator=random)
            cut = torch.randint(1, len(group), (2,), generator=random).sort().values
            # A part may be empty: a loader's last batch on one of many processes.
            parts += [(group, rows) for rows in order.tensor_split(cut)] + [(group, order[:0])]
        metric = case.make()
        for i in torch.randperm(len(parts), generator=random).tolist():
            group, rows = parts[i]
            metric.update(**{n: t[rows] for n, t in group.tensors.items()}, **group.flags)
        _same(metric, expected)


@pytest.mark.parametrize("name", CASES)
def test_states_survive(name: str) -> None:
    """Saved, loaded, merged, copied and pickled half-way; neither copy changes the other."""
    case = CASES[name]
    expected = flat(whole(case).compute())
    half, rest = case.make(), case.make()
    for group in case.groups:
        half.update(**group.part(slice(0, 10)))
        rest.update(**group.part(slice(10, None)))
    stream = io.BytesIO()
    torch.save(half.state_dict(), stream)
    stream.seek(0)
    loaded = case.make()
    state = torch.load(stream, weights_only=True)
    kept = copy.deepcopy(state)
    loaded.load_state_dict(state)
    for metric in (loaded, copy.deepcopy(half), pickle.loads(pickle.dumps(half))):
        for group in case.groups:
            metric.update(**group.part(slice(10, None)))
        _same(metric, expected)
    torch.testing.assert_close(state, kept)
    half.merge_state(rest)
    _same(half, expected)
    fresh = case.make()
    fresh.merge_state(half)  # one that has seen nothing
    _same(fresh, expected)
    half.reset()
    for group in case.groups:
        half.update(**group.part(slice(None)))
    _same(half, expected)


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_state_is_computed_anew(name: str) -> None:
    case = CASES[name]
    first, second = whole(case), case.make()
    for group in case.groups:
        second.update(**group.part(slice(0, -6)))
    stale = flat(second.compute())
    second.load_state_dict(first.state_dict())
    assert not torch.equal(flat(second.compute()), stale)
    _same(second, flat(first.compute()))


@pytest.mark.parametrize("name", CASES)
def test_wrong_features_are_named(name: str) -> None:
    case = CASES[name]
    metric = whole(case)
    expected = flat(metric.compute())
    arguments = case.groups[0].part(slice(0, 4))
    images = arguments.pop("imgs")

    def update(wrong: Any) -> None:
        metric.update(imgs=wrong, **arguments)

    title = type(metric).__name__
    with pytest.raises(ValueError, match=rf"^{title}: features must be \[N, {D}\], got \[4, {D - 1}\]"):
        update(images[:, 1:])
    with pytest.raises(ValueError, match=rf"^{title}: features must be \[N, {D}\], got \[4, {D}, 1\]"):
        update(images[..., None])
    with pytest.raises(TypeError, match=rf"^{title}: features must be floating point, got torch.uint8"):
        update(images.byte())
    with pytest.raises(TypeError, match=rf"^{title}: imgs must be a Tensor, got list"):
        update(images.tolist())
    for value in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match=rf"^{title}: features must be finite"):
            update(images.clone().index_fill_(0, torch.tensor([2]), value))
    with pytest.raises(NotImplementedError, match=rf"^{title}: call update for each batch"):
        metric(images)
    # None of it was taken.
    _same(metric, expected)


@pytest.mark.parametrize("name", CASES)
def test_too_few_samples_are_named(name: str) -> None:
    case = CASES[name]
    metric = case.make()
    for group in case.groups:
        metric.update(**group.part(slice(0, 1)))
        with pytest.raises(ValueError, match=rf"^{type(metric).__name__}: |got \[1, {D}\]|must be in \[1, 0\]"):
            metric.compute()


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name].groups) == 2])
def test_real_features_may_be_kept(name: str) -> None:
    case = CASES[name]
    metric = whole(case)
    expected = flat(metric.compute())
    metric._keep_real = True
    metric.reset()
    metric.update(**case.groups[1].part(slice(None)))
    _same(metric, expected)
    with pytest.raises(TypeError, match="real must be a bool, got str"):
        metric.update(**{**case.groups[0].part(slice(0, 4)), "real": "fake"})


def test_two_processes_equal_one() -> None:
    """Every metric on two gloo processes, one of which may have seen less, or nothing."""
    script = str(Path(__file__).with_name("distributed_run.py"))
    result = run_python("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script)
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout
