"""The settings of a run: one dataclass a recipe, from presets, ``name=value`` strings and ``config.yaml``."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from .files import replacing

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "ConfigError",
    "TrainConfig",
    "build_config",
    "made_by",
    "parse_assignments",
    "read_made_by",
    "read_yaml",
    "settings_table",
    "write_yaml",
]

PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed")
MAX_SEED = 2**32 - 1
DEVICES = ("auto", "cpu", "cuda", "mps")
SCHEDULES = ("alternating", "simultaneous", "unrolled")

_T = TypeVar("_T")


class ConfigError(ValueError):
    """Settings that do not exist or cannot be; the message says which do."""


def setting(default: _T, help: str, *, free: bool = False) -> _T:
    """Declare a field with its help text; a ``free`` one may change when a run is resumed."""
    return typing.cast(_T, field(default=default, metadata={"help": help, "free": free}))


@dataclass
class TrainConfig:
    """What every recipe has; a recipe's own dataclass adds to it."""

    data: str = setting("fashion-mnist", "name of a data set, or path of a folder or .npz file", free=True)
    image_size: int = setting(32, "height and width the images are brought to")
    steps: int = setting(10_000, "generator updates in the whole run", free=True)
    batch_size: int = setting(64, "images a process uses in one update")
    accumulate: int = setting(1, "parts a batch is cut into, their gradients added (saves memory)")
    seed: int = setting(0, "0 to 2**32 - 1; decides initial weights, noise and the order of the data")
    device: str = setting("auto", "auto, cpu, cuda or mps", free=True)
    processes: int = setting(1, "processes (data parallel), one GPU each on cuda")
    fsdp: bool = setting(False, "shard the generator's weights, gradients, moments and average over the processes")
    precision: str = setting("32-true", ", ".join(PRECISIONS))
    channels_last: bool = setting(True, "store feature maps with the channels innermost")
    stock: bool = setting(False, "build from PyTorch's own modules, for comparison")
    strict: bool = setting(False, "stop at a broken image instead of skipping it", free=True)
    n_dis: int = setting(1, "discriminator updates before each generator update")
    schedule: str = setting(
        "alternating",
        "alternating; simultaneous: both networks step from the same point; unrolled: the generator's gradient runs "
        "through imagined discriminator updates",
    )
    unroll: int = setting(5, "discriminator updates that the schedule unrolled imagines")
    ema_decay: float = setting(0.999, "decay of the generator's moving average a step, in [0, 1)")
    ema_start: int = setting(0, "steps before the moving average begins; until then it is the generator itself")
    log_every: int = setting(50, "steps between scalars; losses are checked then too", free=True)
    sample_every: int = setting(500, "steps between sample grids, 0 for never", free=True)
    held_out: int = setting(0, "images kept from training, for recipes that measure on images not seen")
    metric_every: int = setting(0, "steps between Fréchet distances, 0 for never", free=True)
    metric_samples: int = setting(2000, "images on each side of a Fréchet distance", free=True)
    checkpoint_every: int = setting(500, "steps between checkpoints; the last step always gets one", free=True)
    keep_checkpoints: int = setting(2, "newest checkpoints kept", free=True)

    def __post_init__(self) -> None:
        at_least = {
            "steps": 1,
            "image_size": 1,
            "batch_size": 1,
            "accumulate": 1,
            "processes": 1,
            "n_dis": 1,
            "log_every": 1,
        }
        at_least |= {
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "sample_every": 0,
            "metric_every": 0,
            "held_out": 0,
            "unroll": 0,
            "ema_start": 0,
            "seed": 0,
        }
        for name, least in (at_least | {"metric_samples": 2}).items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.seed > MAX_SEED:
            raise ConfigError(f"seed must be at most {MAX_SEED}, got {self.seed}")
        if self.batch_size % self.accumulate:
            raise ConfigError(f"accumulate={self.accumulate} must divide batch_size={self.batch_size}")
        if self.fsdp and self.processes < 2:
            raise ConfigError(f"fsdp=true needs at least 2 processes, got {self.processes}")
        if self.fsdp and (self.precision == "16-mixed" or self.schedule == "unrolled"):
            raise ConfigError(
                "fsdp=true is not for precision 16-mixed or schedule unrolled, which need whole gradients"
            )
        if self.precision == "16-mixed" and self.schedule != "alternating":
            # The losses' factor may change in an update; gradients taken before it, or through it, would not know.
            raise ConfigError(f"schedule must be alternating for precision 16-mixed, got {self.schedule}")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        for name, known in (("precision", PRECISIONS), ("device", DEVICES), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}; there are: {', '.join(known)}")


C = TypeVar("C", bound=TrainConfig)


def _convert(name: str, value: Any, kind: type) -> Any:
    """``value`` as a ``kind``: strings are read, integers may stand for floats, nothing else changes its type."""
    if type(value) is kind:
        return value
    try:
        if isinstance(value, str) and kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if isinstance(value, str) or (kind is float and type(value) is int):
            return kind(value)
    except (KeyError, ValueError, OverflowError):
        pass
    raise ConfigError(f"{name} must be {'true or false' if kind is bool else kind.__name__}, got {value!r}")


def parse_assignments(config_class: type[TrainConfig], assignments: list[str]) -> dict[str, Any]:
    """Turn ``name=value`` strings into values of the types that the dataclass declares.

    Raises
    ------
    ConfigError
        For an unknown name (the message lists what exists) or a value of another type.
    """
    kinds = typing.get_type_hints(config_class)
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected name=value, got {assignment!r}")
        _check_names(config_class, [name])
        values[name] = _convert(name, text, kinds[name])
    return values


def _check_names(config_class: type[TrainConfig], names: typing.Iterable[str]) -> None:
    known = [f.name for f in dataclasses.fields(config_class)]
    for name in names:
        if name not in known:
            names = ", ".join(known)
            raise ConfigError(
                f"unknown setting {name!r}; there are: {names}; `fastgan train RECIPE --settings` explains"
            )


def build_config(config_class: type[C], *layers: Mapping[str, Any]) -> C:
    """Build a config from defaults and layers of values, later ones winning; strings become what the fields are."""
    kinds = typing.get_type_hints(config_class)
    values: dict[str, Any] = {}
    for layer in layers:
        _check_names(config_class, layer)
        values |= {name: _convert(name, value, kinds[name]) for name, value in layer.items()}
    return config_class(**values)


def settings_table(config: TrainConfig) -> Table:
    """Every setting with its value in ``config`` and what it is, for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "what it is", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        # As --set takes it.
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        table.add_row(f.name, Text(shown), Text(f.metadata.get("help", "")))
    return table


def frozen_differences(config: TrainConfig, saved: Mapping[str, Any]) -> list[str]:
    """Settings that differ from those of a saved run and may not, as ``name: saved -> now``.

    A setting that the run did not have yet had its default.
    """
    return [
        f"{f.name}: {saved.get(f.name, f.default)!r} -> {getattr(config, f.name)!r}"
        for f in dataclasses.fields(config)
        if not f.metadata.get("free", False) and saved.get(f.name, f.default) != getattr(config, f.name)
    ]


def write_yaml(path: Path, recipe: str, config: TrainConfig) -> None:
    """Write the settings of the whole run, and what made it, whole or not at all."""
    content = {"recipe": recipe, "config": dataclasses.asdict(config), "made_by": made_by()}
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))


def made_by() -> dict[str, str]:
    """Versions, by name, of what a run is made by."""
    import torch

    import fastgan

    return {"fastgan": fastgan.__version__, "torch": str(torch.__version__)}


@contextmanager
def _no_yaml_of_a_run(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not the config.yaml of a run ({error})") from error


def read_yaml(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the recipe's name and the settings that ``write_yaml`` wrote."""
    with _no_yaml_of_a_run(path):
        content = yaml.safe_load(path.read_text())
        return str(content["recipe"]), dict(content["config"])


def read_made_by(path: Path) -> dict[str, str]:
    """Read the versions that ``write_yaml`` wrote."""
    with _no_yaml_of_a_run(path):
        return dict(yaml.safe_load(path.read_text())["made_by"])
