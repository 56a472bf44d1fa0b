"""``python -m fastgan_bench.systems [RECIPE ...]``, in the root of a checkout, where the results go."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from fastgan.data import DataError, open_data
from fastgan.trainers.config import ConfigError, TrainConfig
from fastgan.trainers.loop import NonFiniteLossError
from fastgan.trainers.recipe import find_recipe, recipe_names

from .document import document
from .measurements import MEASURED_BESIDE, measurements
from .row import Row, read_rows, save_picture, write_row
from .section import Section
from .stock import against_stock
from .training import check_folder, finished_run, is_finished, small_config

_RESULTS = Path("benchmarks") / "results" / "systems"
_DOCS = Path("docs")
_IMAGES = Path("images") / "systems"


def main(arguments: list[str] | None = None) -> None:
    """Train and measure recipes one after the other; each finished one's row is written at once."""
    parser = argparse.ArgumentParser(prog="python -m fastgan_bench.systems", description=main.__doc__)
    parser.add_argument("recipes", metavar="RECIPE", nargs="*", help="default: all")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/systems"),
        help="folder of the runs; a finished one of the same settings and versions is used again",
    )
    parser.add_argument(
        "--against-stock",
        action="store_true",
        help="only compare with stock modules again, which needs no run: renews that section of the rows there are",
    )
    options = parser.parse_args(arguments)
    if not (_DOCS / "recipes").is_dir():
        parser.error(f"run it in the root of fastgan's sources: {Path.cwd()} has no {_DOCS / 'recipes'}")
    names, console = options.recipes or recipe_names(), Console()
    try:
        if options.against_stock:
            _compare(options.recipes, console)
            return
        _check(names, options.runs)
        _measure(names, options.runs, console)
    except (ConfigError, DataError, NonFiniteLossError, OSError) as error:
        sys.exit(f"Error: {error}")


def _check(names: list[str], runs: Path) -> None:
    """What is missing is known before hours of training."""
    configs = {name: small_config(find_recipe(name)) for name in names}
    for place, name in enumerate(names):
        if not is_finished(find_recipe(name), configs[name], runs / name):
            check_folder(runs / name)
        if (before := MEASURED_BESIDE.get(name)) is not None and before not in names[:place]:
            recipe = find_recipe(before)
            if not is_finished(recipe, small_config(recipe), runs / before):
                raise ConfigError(
                    f"{name} is measured beside {before}, which {runs} has no finished run of: name it first"
                )
    _check_data(configs)


def _check_data(configs: dict[str, TrainConfig]) -> None:
    for data, image_size in {(config.data, config.image_size) for config in configs.values()}:
        open_data(data, image_size=image_size)


def _measure(names: list[str], runs: Path, console: Console) -> None:
    for name in names:
        console.rule(name)
        run = finished_run(name, runs / name, console)
        trainer = run.trainer
        sections = [measure(run) for measure in measurements(name, trainer.recipe.num_classes is not None)]
        sections.append(against_stock(type(trainer.recipe), trainer.config, run.data))
        _print(sections, console)
        save_picture(_DOCS / _IMAGES / f"{name}.png", run)
        _write(Row.of(run, sections))


def _compare(names: list[str], console: Console) -> None:
    """Put a new comparison with stock modules into the rows of ``names``, or into all there are."""
    rows = {row.recipe: row for row in read_rows(_RESULTS, recipe_names())}
    configs = {name: small_config(find_recipe(name)) for name in names or rows}
    for name, config in configs.items():
        row = rows.get(name)
        if row is None or (row.data, row.seed, row.steps) != (config.data, config.seed, config.steps):
            raise ConfigError(f"{_RESULTS} has no row of {name} as it is: train it first, without --against-stock")
    _check_data(configs)
    for name, config in configs.items():
        console.rule(name)
        section = against_stock(find_recipe(name), config, open_data(config.data, image_size=config.image_size))
        _print([section], console)
        _write(rows[name].with_section(section))


def _write(row: Row) -> None:
    write_row(_RESULTS, row)
    (_DOCS / "systems.md").write_text(document(read_rows(_RESULTS, recipe_names()), _IMAGES))


def _print(sections: list[Section], console: Console) -> None:
    for section in sections:
        for name, figure in section.figures.items():
            console.print(f"{section.title}: {name} {figure.value:.4g}", highlight=False)
        for goal, met in section.goals.items():
            console.print(f"{'holds' if met else 'does not hold'}: {goal}", highlight=False)


if __name__ == "__main__":
    main()
