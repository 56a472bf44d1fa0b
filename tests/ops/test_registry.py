"""The choice of a backend: what is forced, what falls back, and what is said about it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import torch

import fastgan
from fastgan.functional import bias_act
from fastgan.ops import native, registry

TABLE = registry.tables()["bias_act"]
X = torch.randn(2, 3)


@pytest.mark.parametrize("op", registry.tables())
def test_the_order_of_preference(op: str) -> None:
    table = registry.tables()[op]
    assert table.choose(None, "cpu", torch.float32) == ("cpu" if "cpu" in table.backends else "reference")
    for device_type in ("mps", "xpu", "meta"):
        assert table.choose(None, device_type, torch.float32) == "reference"


def test_forcing_never_falls_back() -> None:
    with (
        fastgan.use_backend("cuda"),
        pytest.raises(RuntimeError, match=r"bias_act: backend 'cuda' .* serves CUDA tensors"),
    ):
        bias_act(X)
    with pytest.raises(ValueError, match="name must be one of cpu, triton, cuda, reference, got 'cudnn'"):
        fastgan.use_backend("cudnn")


def test_blocks_nest_and_threads_do_not_see_each_other() -> None:
    block = fastgan.use_backend("cpu")
    seen: dict[str, Any] = {}
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        seen["before"] = registry.current_backend()
        with block:
            seen["inside"] = registry.current_backend()
            inside.set()
            done.wait(10)
        seen["after"] = registry.current_backend()

    thread = threading.Thread(target=other)
    with fastgan.use_backend("reference"):
        thread.start()
        inside.wait(10)
        with block:  # the same object, in two threads at once
            assert registry.current_backend() == "cpu"
        assert registry.current_backend() == "reference"
        done.set()
        thread.join()
    assert registry.current_backend() is None
    assert seen == {"before": None, "inside": "cpu", "after": None}


def test_entering_inside_a_compiled_region_is_an_error() -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        with fastgan.use_backend("reference"):
            return bias_act(x)

    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"cannot be entered inside a torch\.compile region"):
        torch.compile(step, fullgraph=True, backend="eager")(X)


def test_a_fallback_is_logged_once_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "unavailable_reason", lambda: "it was not built")
    monkeypatch.setattr(TABLE, "_launchers", {})
    registry._log_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="fastgan"):
        for dtype in (torch.float32, torch.float64):
            assert TABLE.launcher("bias_act", None, "cpu", dtype).__module__.endswith("reference")
    expected = "bias_act: falling back to the reference for cpu tensors (cpu: it was not built)"
    assert [record.message for record in caplog.records] == [expected]


def test_doctor_says_what_to_do_about_a_missing_extension(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from fastgan import doctor

    doctor.main(Console(width=200))
    assert "ISA level" in capsys.readouterr().out
    monkeypatch.setattr(native, "unavailable_reason", lambda: "it does not load")
    doctor.main(Console(width=200))
    screen = capsys.readouterr().out
    assert "it does not load" in screen and "FASTGAN_NATIVE=require" in screen and "reference" in screen
    assert len(screen.splitlines()) <= 24, "more than one screen"


@pytest.mark.parametrize("value", ["v9", "base"])
def test_an_instruction_set_that_is_not_there_is_a_reason_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FASTGAN_CPU_ISA", value)
    if native.isa_level() == value:
        return  # this machine's only level
    native._load.cache_clear()
    try:
        assert f"FASTGAN_CPU_ISA={value}" in (native.unavailable_reason() or "")
    finally:
        native._load.cache_clear()
