"""The runner's verdicts, on a family of its own: what is counted, what fails, what is written. No speed is asserted."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from fastgan_bench import allocator, chart, families, memory, registry, runner, table, worker
from fastgan_bench import compare as compare_module
from fastgan_bench.case import BACKWARD, FORWARD, Bound, Case, Problem, Side, stateless
from fastgan_bench.check import TOLERANCE, disagreement, sum_error
from fastgan_bench.compare import compare
from fastgan_bench.measure import LONG_CALL_S, Timer, interleave, ratios

CPU = torch.device("cpu")

# Each side squares its input and scales by b; {ours} is what ours computes.
FAKE_FAMILY = """
import torch
from fastgan_bench.case import BACKWARD, FORWARD, Case, Side, stateless

def inputs():
    x = torch.linspace(-2, 2, 64).reshape(2, 2, 4, 4)
    return x.requires_grad_(), torch.tensor([3.0, 0.5]).requires_grad_()

def right(x, b):
    return x * x * b.view(-1, 1, 1)

def wrong_gradient(x, b):
    return x * x.detach() * b.view(-1, 1, 1)

def ours(x, b):
    return {ours}

def raises(x, b):
    raise RuntimeError("unsupported\\nfurther lines")

def cases(device):
    return [Case(
        family="fake", name="square", workload={{"shape": [2, 2, 4, 4]}}, inputs=inputs,
        ours=[Side("fastgan", stateless(ours))],
        peers=[
            Side("eager", stateless(right)), Side("eager channels_last", stateless(right), torch.channels_last),
            Side("wrong gradient", stateless(wrong_gradient)), Side("raises", stateless(raises)),
        ],
        reference=stateless(right), dtype=torch.float32, bytes={{FORWARD: 512, BACKWARD: 1280}},
        flops={{FORWARD: 128, BACKWARD: 320}}, quick=True,
    )]
"""
RIGHT, WRONG = "x.square() * b.view(-1, 1, 1)", "x.square() * b.view(-1, 1, 1) * (1 + 1e-4)"


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A family named fake in place of the real ones, whose own side computes `request.param`."""
    (tmp_path / "fake.py").write_text(textwrap.dedent(FAKE_FAMILY).format(ours=getattr(request, "param", RIGHT)))
    monkeypatch.setattr(families, "__path__", [str(tmp_path)])
    # The measuring process would not see this family, so it is measured here.
    monkeypatch.setattr(worker, "spawn", lambda setting, threads, *arguments: worker.measure(*arguments))
    yield "fake"
    sys.modules.pop(f"{families.__name__}.fake", None)


def test_wrong_and_failing_peers_are_shown_and_do_not_count(family: str) -> None:
    (case,) = registry.cases(family, CPU)
    forward, backward = compare(case, CPU, budget_s=0.01, repeats=3)
    assert (forward["mode"], backward["mode"]) == (FORWARD, BACKWARD)
    for result in (forward, backward):
        sides = {side["name"]: side for side in result["sides"]}
        assert sides["raises"]["status"] == "failed"
        assert sides["raises"]["reason"] == "RuntimeError: unsupported"
        assert sides["raises"]["seconds"] is None
        assert sides["eager"]["status"] == sides["eager channels_last"]["status"] == "valid"
        valid = {name for name, side in sides.items() if side["status"] == "valid" and not side["ours"]}
        medians = {name: sides[name]["seconds"]["median"] for name in valid}  # type: ignore[index]
        assert result["best_peer"] == min(medians, key=lambda name: medians[name])
        assert result["ratio"] == sides[result["best_peer"]]["ratio"]
        assert result["ratio"]["min"] <= result["ratio"]["median"] <= result["ratio"]["max"]
        assert not result["failed"]
    # Its values are right, its gradient is half of what it should be.
    status = {r["mode"]: next(s for s in r["sides"] if s["name"] == "wrong gradient") for r in (forward, backward)}
    assert status[FORWARD]["status"] == "valid"
    assert status[BACKWARD]["status"] == "wrong"
    assert status[BACKWARD]["deviation"] == pytest.approx(0.5)
    assert status[BACKWARD]["seconds"] is None and status[BACKWARD]["ratio"] is None


@pytest.mark.parametrize(("family", "code"), [(RIGHT, 0), (WRONG, 1)], indirect=["family"])
def test_exit_code_and_json(family: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.run(family, "cpu", quick=True, out=tmp_path / "out", repeats=2) == code
    shown = capsys.readouterr().out
    assert "wrong: wrong gradient in square" in shown
    assert ("wrong: fastgan in square" in shown) == bool(code)
    assert (tmp_path / "out" / "fake-cpu-quick.png").read_bytes().startswith(b"\x89PNG")
    reports = json.loads((tmp_path / "out" / "fake-cpu-quick.json").read_text())
    assert tuple(reports) == allocator.settings(CPU)
    for report in reports.values():
        machine = report["machine"]
        assert machine["torch"] == torch.__version__
        assert machine["threads"] == torch.get_num_threads()
        assert machine["copy_gb_per_s"] > 0 and machine["gemm_gflop_per_s"] > 0
        assert {"cpu", "cores", "fastgan", "commit", "isa_level", "allocator"} <= set(machine)
        assert [result["mode"] for result in report["results"]] == [FORWARD, BACKWARD]
        for result in report["results"]:
            assert result["workload"] == {"shape": [2, 2, 4, 4], "threads": torch.get_num_threads()}
            assert len(result["sides"]) == 5
            assert result["other_cores"] is None or result["other_cores"] >= 0
            assert result["failed"] == bool(code)
            # A case whose results disagree reports no speed, not even its peers'.
            measured = (result["ratio"], result["copy_share"], result["gemm_share"], result["overhead_us"])
            assert all((value is None) == bool(code) for value in measured)
            assert all(side["seconds"] is None for side in result["sides"]) or not code
        assert report["results"][1]["bytes"] == 1280 and report["results"][1]["flops"] == 320


def test_bad_arguments_are_named(family: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert runner.run("bias", "cpu", quick=True, out=tmp_path, repeats=None) == 2
    assert "family must be one of fake, got 'bias'" in capsys.readouterr().out
    assert runner.run("fake", "tpu", quick=True, out=tmp_path, repeats=None) == 2
    assert "device must be cpu or cuda, got 'tpu'" in capsys.readouterr().out
    assert runner.run("fake", "cpu", quick=True, out=tmp_path, repeats=0) == 2
    assert "repeats must be at least 1, got 0" in capsys.readouterr().out
    assert runner.run("fake", "cpu", quick=True, out=tmp_path, repeats=None, threads=0) == 2
    assert "threads must be at least 1, got 0" in capsys.readouterr().out


def test_rounds_are_interleaved() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ABC"}  # type: ignore[misc]
    rounds: list[tuple[str, int]] = []

    def timer(call: object, n: int, settle: bool = True) -> float:
        order.clear()
        call()  # type: ignore[operator]
        rounds.append((order[-1], n))
        return 1.0 + len(rounds)

    seconds = interleave(calls, timer, budget_s=0.0, repeats=4)  # type: ignore[arg-type]
    counted = rounds[-4 * 3 :]
    assert "".join(name for name, _ in counted) == "ABC" * 4
    assert {name: len(values) for name, values in seconds.items()} == {"A": 4, "B": 4, "C": 4}
    # Entry i of two calls was taken in the same round.
    assert [b - a for a, b in zip(seconds["A"], seconds["B"], strict=True)] == [1.0] * 4


def test_timer_repeats_short_calls() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    assert Timer(CPU)(call, 7) >= 0
    assert count == 8  # one that is not counted
    assert Timer(CPU)(call, 7, settle=False) >= 0
    assert count == 15


def test_long_calls_are_not_repeated_for_the_caches() -> None:
    blocks: dict[str, list[tuple[int, bool]]] = {"short": [], "long": []}
    seconds = {"short": 1e-3, "long": 2 * LONG_CALL_S}

    def timer(call: object, n: int, settle: bool = True) -> float:
        blocks[call].append((n, settle))  # type: ignore[index]
        return seconds[call]  # type: ignore[index]

    interleave({"short": "short", "long": "long"}, timer, budget_s=0.0, repeats=4)  # type: ignore[dict-item, arg-type]
    assert blocks["short"][-4:] == [(2, True)] * 4
    assert blocks["long"][1:] == [(1, False)] * 5  # after the first: the round that is not counted, and four


def test_ratios_pair_the_rounds() -> None:
    assert ratios([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}
    # Over a difference that is not positive there is no finite ratio.
    assert ratios([2.0, 9.0, 8.0], [-1.0, 3.0, 2.0]) == {"median": 4.0, "min": 3.0, "max": math.inf}


def _count_calls(inputs: tuple[Tensor, ...]) -> Bound:
    """It gives x + 1 at the first call, x + 2 at the second: the state is the side's own copy of the input."""
    x, state = inputs

    def function(x: Tensor) -> Tensor:
        state.add_(1)
        return x + state

    return Bound(function, (x,), (x,))


def _baseline_case(ours: Side) -> Case:
    def plain(x: Tensor, state: Tensor) -> Tensor:
        return 2 * x - x.detach() + state + 1  # the outputs of the sides, and other gradients

    return Case(
        family="fake", name="stateful", workload={}, ours=[ours],
        inputs=lambda: (torch.ones(3).requires_grad_(), torch.zeros(3)),
        peers=[Side("eager", _count_calls), Side("compile", _count_calls, compiled=True)],
        reference=_count_calls, dtype=torch.float32, bytes={BACKWARD: 24}, flops={BACKWARD: 3}, modes=(BACKWARD,),
        baseline=Side("without", stateless(plain)),
    )  # fmt: skip


def test_a_sides_first_call_is_checked_from_the_same_state() -> None:
    case = _baseline_case(Side("fastgan", _count_calls))
    problem = Problem(case, CPU)
    for side in case.sides:
        result, call = compare_module.check_side(problem, side, BACKWARD)
        assert result["status"] == "valid", result
        assert call is not None
        # The state goes on from there, and no other side sees it.
        output, _ = call()
        assert output is not None and output.tolist() == [3.0] * 3


def test_costs_are_beyond_the_baseline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rounds = {
        "without": [1.0, 1.5, 1.0], "without, compile": [0.5, 0.5, 0.5],
        "fastgan": [1.25, 1.75, 1.5], "eager": [2.0, 2.5, 2.5], "compile": [1.25, 1.5, 1.0],
        compare_module.COPY: [0.125] * 3, compare_module.FRESH_COPY: [0.25] * 3,
    }  # fmt: skip

    def interleave(calls: dict[str, object], *_: object) -> dict[str, list[float]]:
        assert set(calls) == set(rounds)
        return {name: list(values) for name, values in rounds.items()}

    monkeypatch.setattr(compare_module, "interleave", interleave)
    (result,) = compare(_baseline_case(Side("fastgan", _count_calls)), CPU, budget_s=0.01)
    seconds = {side["name"]: side["seconds"] for side in result["sides"]}
    assert seconds == {
        "fastgan": {"median": 0.25, "min": 0.25, "max": 0.5},
        "eager": {"median": 1.0, "min": 1.0, "max": 1.5},
        "compile": {"median": 0.75, "min": 0.5, "max": 1.0},  # beyond the compiled baseline
    }
    assert result["best_peer"] == "compile"
    assert result["ratio"] == {"median": 3.0, "min": 1.0, "max": 4.0}
    assert result["copy_share"] == {"median": 0.5, "min": 0.25, "max": 0.5}
    assert result["baseline"] == {
        "without": {"median": 1.0, "min": 1.0, "max": 1.5},
        "without, compile": {"median": 0.5, "min": 0.5, "max": 0.5},
    }
    machine = {"cpu": "a CPU", "threads": 1, "copy_gb_per_s": 1.0, "gemm_gflop_per_s": 1.0}
    table.print_table({"default": {"machine": machine, "results": [result]}}, Console(width=150))
    shown = capsys.readouterr().out
    assert "beyond 1000.00 ms without" in shown and "beyond 500.00 ms without, compile" in shown
    assert "3.00 [1.00, 4.00]" in shown
    assert "eager 1000.00 ms [1000.00 ms, 1500.00 ms]" in shown
    # Where ours seems to cost nothing there is neither a ratio nor a share.
    rounds["fastgan"] = [0.75, 1.5, 1.0]
    results = compare(_baseline_case(Side("fastgan", _count_calls)), CPU, budget_s=0.01)
    table.print_table({"default": {"machine": machine, "results": results}}, Console(width=150))
    assert capsys.readouterr().out.count(table.LOST) == 2


def test_a_baseline_with_other_outputs_is_refused() -> None:
    case = _baseline_case(Side("fastgan", _count_calls))
    doubled = dataclasses.replace(case, baseline=Side("doubled", stateless(lambda x, state: 2 * x + state + 1)))
    with pytest.raises(RuntimeError, match="doubled of stateful is wrong: result 0"):
        compare(doubled, CPU, budget_s=0.01, repeats=1)


def test_results_of_earlier_versions_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = sorted((Path(worker.__file__).parent / "results").glob("*.json"))
    assert stored
    for path in stored:
        reports = json.loads(path.read_text())
        table.print_table(reports, Console(width=150))
        shown = capsys.readouterr().out
        assert all(result["case"][:20] in shown for report in reports.values() for result in report["results"])
        chart.draw(reports, tmp_path / "stored.png")
        assert (tmp_path / "stored.png").read_bytes().startswith(b"\x89PNG")


def test_chart_of_what_noise_ate_up(tmp_path: Path) -> None:
    spreads = [(-1.0, -2.0, 3.0), (math.inf, 1.0, math.inf), (2.0, -1.0, math.inf), (2.0, 1.0, 3.0)]
    results = [
        {
            "family": "fake",
            "case": str(i),
            "mode": BACKWARD,
            "ratio": dict(zip(("median", "min", "max"), s, strict=True)),
        }
        for i, s in enumerate(spreads)
    ]
    machine = {"cpu": "a CPU", "threads": 1, "torch": "2", "fastgan": "0", "commit": None}
    chart.draw({"default": {"machine": machine, "results": results}}, tmp_path / "c.png")  # type: ignore[typeddict-item]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_threads_reach_the_measuring_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    environment = allocator.environment(allocator.DEFAULT, 1) | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)
    }
    code = "import torch; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def test_threads_are_in_the_files_names(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    measure = worker.spawn

    def spawn(setting: str, threads: int | None, *arguments: object) -> object:
        given.append(threads)
        return measure(setting, threads, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "spawn", spawn)
    assert runner.run(family, "cpu", quick=True, out=tmp_path, repeats=1, threads=3) == 0
    assert given == [3] * len(allocator.settings(CPU))
    assert {path.name for path in tmp_path.glob("fake*threads*")} == {
        "fake-cpu-3-threads-quick.json", "fake-cpu-3-threads-quick.png"
    }  # fmt: skip


def test_disagreement() -> None:
    expected = (torch.tensor([100.0, 0.0], dtype=torch.float64),)
    for dtype, tolerance in TOLERANCE.items():
        near, far = (torch.tensor([100.0, 100 * tolerance * factor], dtype=torch.float64) for factor in (0.9, 1.1))
        assert disagreement((near,), expected, dtype)[1] is None
        assert disagreement((far,), expected, dtype)[1] is not None
    assert disagreement((torch.tensor([100.0, torch.nan]),), expected, torch.float32)[1] is not None
    assert disagreement((torch.tensor([100.0]),), expected, torch.float32)[1] is not None
    assert disagreement((), expected, torch.float32)[1] is not None
    # An undefined gradient is a zero: right where zeros are expected, wrong elsewhere.
    assert disagreement((None,), (torch.zeros(2),), torch.float32)[1] is None
    assert disagreement((None,), expected, torch.float32)[1] is not None


def test_a_sum_is_judged_by_the_rounding_of_sums() -> None:
    cotangent = torch.randn(16, 3, 64, 64)
    expected = (cotangent.double().sum((0, 2, 3)),)
    terms = cotangent.transpose(0, 1).flatten(1)
    one_by_one = terms.cumsum(1)[:, -1]  # a term at a time, the worst of all orders
    errors = {0: sum_error(cotangent, terms.shape[1], torch.float32)}
    assert disagreement((one_by_one,), expected, torch.float32, errors)[1] is None
    # A term left out, or the sum of two roundings of bfloat16, is no rounding of float32.
    assert disagreement((terms[:, 1:].sum(1),), expected, torch.float32, errors)[1] is not None
    assert disagreement((terms.bfloat16().float().sum(1),), expected, torch.float32, errors)[1] is not None
    assert 0 < errors[0] < terms.shape[1] ** -0.5 * 2**-24 * terms.shape[1] * float(terms.abs().sum(1).min())


def test_sides_get_their_layout(family: str) -> None:
    (case,) = registry.cases(family, CPU)
    problem = Problem(case, CPU)
    peer = next(side for side in case.peers if side.layout == torch.channels_last)
    y, grad_x, grad_b = problem.call(peer, BACKWARD)()
    assert y is not None and y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    assert grad_x is not None and grad_x.shape == y.shape and grad_b is not None and grad_b.shape == (2,)


def test_every_real_case_is_well_formed() -> None:
    for device in (CPU, torch.device("cuda")):
        cases = registry.cases(None, device)
        keys = [(case.family, case.name) for case in cases]
        assert len(set(keys)) == len(keys)
        for family in registry.names():
            own = [case for case in cases if case.family == family]
            assert any(case.overhead for case in own), f"{family} shows no price of a call"
            assert any(case.quick for case in own)
        for case in cases:
            assert len({side.name for side in case.sides}) == len(case.sides)
            assert set(case.bytes) == set(case.flops) == set(case.modes)


def test_allocator_settings_reach_a_new_process() -> None:
    faults = {}
    for setting in allocator.settings(CPU):
        environment = allocator.environment(setting) | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        code = "from fastgan_bench import allocator; import json; print(json.dumps(allocator.describe()))"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        faults[setting] = json.loads(done.stdout)["faults_per_fresh_page"]
    if allocator.RAISED in faults:
        # Huge pages, where the system gives them unasked, fault once in 512.
        assert faults[allocator.RAISED] < 1 / 1000 < 1 / 600 < faults[allocator.DEFAULT]


def test_memory_counts_what_a_call_keeps(family: str) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("resident memory is only read on Linux")
    size = 2**25

    def call() -> tuple[torch.Tensor | None, ...]:
        transient = torch.ones(size // 4)
        return (transient * 2,)

    # Two tensors live at once: one freed after the call, one kept.
    assert memory._peak_resident(call) == pytest.approx(2 * size, rel=0.1)
    assert memory.peak_bytes(family, "square", "eager", CPU) < size
