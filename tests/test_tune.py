"""``fastgan tune`` without a GPU: what it saves, what reads it back, and how it fails."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from typer.testing import CliRunner

from fastgan import tune
from fastgan.cli import app
from fastgan.ops import tuned
from fastgan.ops.upsample_conv2d import triton_plan

GPU = "Some GPU"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tuned._saved.cache_clear()
    yield
    tuned._saved.cache_clear()


def layer(dtype: torch.dtype = torch.bfloat16, c_in: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    x, w = torch.zeros(2, c_in, 4, 4, dtype=dtype), torch.zeros(16, c_in, 3, 3, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last), w


def chosen(x: torch.Tensor, w: torch.Tensor) -> str | None:
    """What a table says of a layer, as if the tensors were on the GPU."""
    on_gpu = mock.Mock(spec=torch.Tensor, shape=x.shape, dtype=x.dtype, device=torch.device("cuda", 0))
    with mock.patch.object(tuned, "_gpu_name", return_value=GPU):
        return tuned.form_for("upsample_conv2d", on_gpu, w)


def test_without_a_gpu_it_says_so_and_exits_with_2() -> None:
    result = CliRunner().invoke(app, ["tune"])
    assert result.exit_code == 2 and "needs a GPU" in result.output
    assert not tuned.default_path().exists()


def test_unknown_dtype() -> None:
    result = CliRunner().invoke(app, ["tune", "--dtype", "int8"])
    assert result.exit_code == 2 and "bfloat16" in result.output


def test_the_fastest_form_is_saved_and_read_back() -> None:
    layers = [tune.Layer("upsample_conv2d", 8, 16, 4), tune.Layer("conv2d_avg_pool2d", 8, 16, 4)]
    seconds = iter([3.0, 2.0, 1.0, 4.0, 1.0, 2.0])
    reported = []
    found = tune.tune(
        layers, 2, torch.bfloat16, "cpu", lambda call: next(seconds), lambda layer, times: reported.append(times)
    )
    name = "bfloat16 8->16 4x4"
    assert found == {"upsample_conv2d": {name: "fused"}, "conv2d_avg_pool2d": {name: "stock"}}
    assert reported == [{"stock": 3.0, "quarter": 2.0, "fused": 1.0, "phase": 4.0}, {"stock": 1.0, "quarter": 2.0}]
    assert chosen(*layer()) is None
    tuned._saved.cache_clear()
    tune.save(tune.merged({}, GPU, found), tuned.default_path())
    assert chosen(*layer()) == "fused"
    assert chosen(*layer(torch.float16)) is None
    assert [path.name for path in tuned.default_path().parent.iterdir()] == ["tuned.json"]


def test_other_entries_of_the_file_stay() -> None:
    before = {"other": {"upsample_conv2d": {"a": "stock"}}, GPU: {"upsample_conv2d": {"b": "stock", "c": "stock"}}}
    after = tune.merged(before, GPU, {"upsample_conv2d": {"c": "fused"}})
    assert after == {"other": before["other"], GPU: {"upsample_conv2d": {"b": "stock", "c": "fused"}}}


def test_a_failed_write_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = tuned.default_path()
    tune.save({}, path)
    monkeypatch.setattr(tune.os, "replace", mock.Mock(side_effect=OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        tune.save({GPU: {}}, path)
    assert json.loads(path.read_text()) == {} and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "an object"),
        ('{"x": {"no_op": {}}}', "object by op"),
        ('{"x": {"upsample_conv2d": {"a": "fast"}}}', "must be one of stock, quarter, fused, phase, got 'fast'"),
    ],
)
def test_a_malformed_file_is_reported_once_and_not_used(text: str, message: str) -> None:
    path = tuned.default_path()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        tuned.load(path)
    with pytest.warns(UserWarning, match="tuned table is not used"):
        assert chosen(*layer()) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(*layer()) is None


@pytest.mark.parametrize("form", ["stock", "quarter", "fused", "phase"])
def test_a_table_decides_only_where_every_form_can_serve(form: str) -> None:
    x, w = layer()
    with tuned.forcing(form):
        assert triton_plan.choose(x, w, [1, 1], 1) == form
        assert triton_plan.choose(x.contiguous(), w, [1, 1], 1) == "quarter"
        assert triton_plan.choose(x, w, [0, 0], 1) == "quarter"
        assert triton_plan.choose(x.double(), w.double(), [1, 1], 1) == "quarter"
        assert triton_plan.choose(x, w[:, :, :1, :1], [0, 0], 1) == "commuted"


def test_without_a_table_few_channels_in_a_half_type_are_fused() -> None:
    assert triton_plan.choose(*layer(), [1, 1], 1) == "fused"
    assert triton_plan.choose(*layer(torch.float32), [1, 1], 1) == "quarter"
    assert triton_plan.choose(*layer(c_in=512), [1, 1], 1) == "quarter"
