"""One of two processes (started by torchrun): each sees its part, and both compute what one process does."""

from __future__ import annotations

import gc

import torch
import torch.distributed as dist

from tests.metrics.cases import CASES, D, flat, whole


def _compare(name: str, shares: tuple[slice, slice]) -> None:
    case, rank = CASES[name], dist.get_rank()
    metric = case.make()
    for group in case.groups:
        if rows := range(len(group))[shares[rank]]:
            middle = (rows.start + rows.stop) // 2
            for part in (slice(rows.start, middle), slice(middle, rows.stop)):
                metric.update(**group.part(part))
    own = [t.clone() for t in metric._features_of(metric.metric_state)]
    torch.testing.assert_close(flat(metric.compute()), expected[name], rtol=1e-12, atol=1e-12, msg=name)
    # Afterwards each process has its own part again, and can go on.
    for before, after in zip(own, metric._features_of(metric.metric_state), strict=True):
        assert torch.equal(before, after), name


def _widths_differ(name: str) -> None:
    case = CASES[name]
    metric = case.make()
    for group in case.groups:
        arguments = group.part(slice(None))
        metric.update(**arguments | {"imgs": arguments["imgs"][:, dist.get_rank() :]})
    try:
        metric.compute()
    except ValueError as error:
        assert f"features must be as many in all processes, got [{D - 1}, {D}]" in str(error)
    else:
        raise AssertionError(f"{name} compared features of two kinds")


if __name__ == "__main__":
    # Before there are processes: alone.
    expected = {name: flat(whole(case).compute()) for name, case in CASES.items()}
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    for name in CASES:
        _compare(name, (slice(0, 13), slice(13, None)))
        _compare(name, (slice(0, 0), slice(0, None)))
        _widths_differ(name)
    print(f"process {dist.get_rank()} agrees")
    # What keeps the group alive keeps its threads, which let go of the last tensors: too late once Python shuts down.
    gc.collect()
    dist.destroy_process_group()
