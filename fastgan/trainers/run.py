"""A run as a folder: starting one, resuming one, sampling from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn

from fastgan.data import ImageData, open_data

from . import checkpoint
from .config import ConfigError, TrainConfig, build_config, frozen_differences, parse_assignments, read_yaml, write_yaml
from .loop import Trainer
from .processes import first_process, launch, make_fabric, torchrun
from .recipe import Recipe, find_preset, find_recipe, recipe_reference
from .report import Reporter

__all__ = ["load_run", "make_trainer", "resolve", "run_config", "sample_run", "start"]


def resolve(
    recipe_name: str, out: Path, preset: str | None, values: Mapping[str, Any], *, resume: bool
) -> tuple[type[Recipe], TrainConfig]:
    """Settle what to run: a preset with ``values`` over it, or the settings of the run in ``out`` to resume.

    Raises
    ------
    ConfigError
        If ``out`` holds a run and ``resume`` is not given, or the other way round, or anything is unknown.
    """
    recipe = find_recipe(recipe_name)
    if (launched := torchrun("WORLD_SIZE")) is not None:
        if values.get("processes", launched) != launched:
            raise ConfigError(f"processes={values['processes']}, but torchrun started {launched}; leave processes out")
        values = {**values, "processes": launched}
    if not resume:
        # With several processes, only the first one finds the folder as the user left it.
        if first_process() and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out}: not an empty folder; give another --out, or --resume to continue a run in it")
        return recipe, build_config(recipe.Config, find_preset(recipe, preset or recipe.default_preset), values)
    if preset is not None:
        raise ConfigError("a resumed run keeps its own settings: give --resume or --preset, not both")
    if not (out / "config.yaml").is_file():
        raise ConfigError(f"{out}: no run to resume (it has no config.yaml)")
    made_by, saved = run_config(out)
    if made_by is not recipe:
        raise ConfigError(f"{out}: a run of {made_by.name}, not of {recipe.name}")
    if checkpoint.latest(out / "checkpoints") is None:
        raise ConfigError(
            f"{out}: no checkpoint to resume from, the run ended before its first; remove the folder and start again"
        )
    return recipe, build_config(recipe.Config, asdict(saved), values)


def run_config(folder: Path) -> tuple[type[Recipe], TrainConfig]:
    """Recipe and settings of the run in ``folder``; ConfigError names the file where a setting in it cannot be."""
    path = folder / "config.yaml"
    name, values = read_yaml(path)
    try:
        recipe = find_recipe(name)
        return recipe, build_config(recipe.Config, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def make_trainer(recipe: type[Recipe], config: TrainConfig, data: ImageData | None = None) -> Trainer:
    """Launch the processes and build the trainer."""
    if config.fsdp and not (recipe.forward_only and recipe.shardable):
        raise ConfigError(f"fsdp=true is not for {recipe.name}, whose generator uses its weights not only part by part")
    unused = recipe.leaves_parameters_unused
    fabric = make_fabric(config.device, config.processes, config.precision, leaves_parameters_unused=unused)
    data = data or open_data(config.data, strict=config.strict, image_size=config.image_size)
    launch(fabric)
    return Trainer(recipe, config, data, fabric)


def start(recipe: type[Recipe], config: TrainConfig, out: Path, *, resume: bool, console: Console) -> Trainer:
    """Train in the folder ``out`` until the settings' last step; returns the trainer as it then is.

    Raises
    ------
    OSError
        If something cannot be written; the message names it and the last good checkpoint.
    """
    trainer = make_trainer(recipe, config)
    with _last_good_checkpoint(out / "checkpoints"):
        _start(trainer, recipe, out, resume=resume, console=console)
    return trainer


@contextmanager
def _last_good_checkpoint(folder: Path) -> Iterator[None]:
    """Name it in any OSError."""
    try:
        yield
    except OSError as error:
        good = checkpoint.latest(folder)
        rest = "there is no checkpoint yet" if good is None else f"the last good checkpoint is {good}"
        raise OSError(f"{error}; {rest}") from error


def _start(trainer: Trainer, recipe: type[Recipe], out: Path, *, resume: bool, console: Console) -> None:
    first = trainer.fabric.is_global_zero
    path = checkpoint.latest(out / "checkpoints") if resume else None
    if path is not None:
        trainer.load(path)
        if trainer.step > trainer.config.steps:
            raise ConfigError(f"{path}: {trainer.step} steps are done already, more than steps={trainer.config.steps}")
        if first:
            console.print(f"resumed {path}", highlight=False)
    if first:
        out.mkdir(parents=True, exist_ok=True)
        write_yaml(out / "config.yaml", recipe_reference(recipe), trainer.config)
    trainer.fabric.barrier()
    steps, images = trainer.config.steps, trainer.images_per_step
    with Reporter(out, trainer.step, steps, images, enabled=first, console=console) as reporter:
        trainer.run(out, reporter, _lazy_metric(trainer, reporter))
    if first and (report := trainer.data.report()):
        console.print(report, highlight=False)


def _lazy_metric(trainer: Trainer, reporter: Reporter) -> Callable[[nn.Module], float]:
    """The recipe's measurement, whose network is loaded, and its title printed, when it is first needed."""
    made: list[Callable[[nn.Module], float]] = []

    def metric(generator: nn.Module) -> float:
        if not made:
            recipe, device = trainer.recipe, trainer.fabric.device
            evaluator = recipe.evaluator(trainer.data, trainer.held_out, trainer.config.metric_samples, device)
            reporter.print(f"{recipe.metric}: {evaluator.title}")
            made.append(evaluator)
        return made[0](generator)

    return metric


def load_run(run: Path | str, assignments: Sequence[str] = ()) -> tuple[Recipe, nn.Module, int]:
    """Load a run's recipe, the moving-average generator of its newest checkpoint (on the CPU) and that one's step.

    Needs neither the data nor the device of the run. ``assignments``, each ``name=value``, are settings of sampling
    that take the place of the run's.

    Raises
    ------
    ConfigError
        If ``run`` is not the folder of a run, or has no checkpoint yet, or an assignment would change what was trained.
    CheckpointError
        If the checkpoint is damaged.
    """
    from fastgan.models.layers import fast_layers, stock_layers

    from .state import check_module

    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run}: not the folder of a run (it has no config.yaml)")
    recipe_class, saved = run_config(run)
    config = build_config(recipe_class.Config, asdict(saved), parse_assignments(recipe_class.Config, list(assignments)))
    if differences := frozen_differences(config, asdict(saved)):
        raise ConfigError(f"{run}: a trained run cannot change {', '.join(differences)}")
    path = checkpoint.latest(run / "checkpoints")
    if path is None:
        raise ConfigError(f"{run}: no checkpoint yet")
    tensors, meta = checkpoint.load(path)
    recipe = recipe_class(config, meta["image_channels"], meta["num_classes"])
    generator, _ = recipe.networks(stock_layers() if config.stock else fast_layers())
    # Buffers may have other types than the weights (counters are integers).
    first = next(f"ema.{key}" for key, _ in generator.named_parameters())
    if first in tensors and tensors[first].is_floating_point():
        generator = generator.to(tensors[first].dtype)
    generator.load_state_dict(check_module("ema", generator, tensors, str(path)))
    return recipe, generator.eval(), int(meta["step"])


def sample_run(run: Path, n: int, seed: int, assignments: Sequence[str] = ()) -> tuple[Tensor, str, int]:
    """Make a grid of about ``n`` images with the generator of ``load_run``; returns it, what it shows, and its step."""
    import torch

    recipe, generator, step = load_run(run, assignments)
    with torch.no_grad():
        grid = recipe.picture(generator, n, torch.Generator().manual_seed(seed))
    return grid, recipe.pictured(n), step
