"""The command ``fastgan``; torch and the trainers are imported by the subcommands that need them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

__all__ = ["app", "main"]

app = typer.Typer(
    name="fastgan",
    help="Fast adversarial training: train the reference recipes, sample from them, check and time this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class _Command(typer.core.TyperCommand):
    """A command that lists its options when it is given one it does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # By name: some versions of typer carry a click of their own.
            if type(error).__name__ == "NoSuchOption":
                error.possibilities = [name for p in self.params for name in p.opts if name[0] == "-"]  # type: ignore[attr-defined]
            raise


def main() -> None:
    """Entry point of the console script."""
    app()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Mistakes of the user and of files end in one line, without a traceback; bugs keep theirs."""
    try:
        from fastgan.data import DataError
        from fastgan.trainers.checkpoint import CheckpointError
        from fastgan.trainers.config import ConfigError
        from fastgan.trainers.loop import NonFiniteLossError
    except ModuleNotFoundError as error:
        _fail(f'{error.name} is missing; training needs: pip install "fastgan[train,metrics]"')
    try:
        yield
    except (ConfigError, DataError, CheckpointError, NonFiniteLossError, OSError) as error:
        _fail(str(error))  # OSError: a full disk, a folder that is a file or may not be written


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)


@app.command(cls=_Command)
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="What to train, e.g. sngan; an unknown name lists what exists.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: fashion-mnist, digits, a folder of images (class subfolders give labels), a folder of "
            "IDX files, or an .npz file.",
            show_default="fashion-mnist",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Named settings of the recipe, paper or small.", show_default="small")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Generator updates in the whole run.", show_default="the preset's")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images that a process uses in one update.", show_default="the preset's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; must not hold one yet.", show_default="runs/RECIPE")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="0 to 2**32 - 1; decides initial weights, noise and the order of the data.", show_default="0"
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.", show_default="auto")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="32-true, 64-true, bf16-mixed or 16-mixed (cuda only).", show_default="32-true"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out from its newest checkpoint.")
    ] = False,
    stock: Annotated[
        bool | None, typer.Option("--stock", help="Build from PyTorch's own modules, for comparison.")
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Stop at a broken image instead of skipping it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any setting of the recipe; repeatable. Unknown names list all."
        ),
    ] = None,
) -> None:
    """Train a recipe; checkpoints, samples, TensorBoard logs and config.yaml go to --out."""
    with _plain_errors():
        from rich.console import Console

        from fastgan.trainers.config import parse_assignments
        from fastgan.trainers.recipe import find_recipe
        from fastgan.trainers.run import resolve, start

        flags: dict[str, Any] = {
            "data": data, "steps": steps, "batch_size": batch_size, "seed": seed, "device": device,
            "precision": precision, "stock": stock, "strict": strict,
        }  # fmt: skip
        values = parse_assignments(find_recipe(recipe).Config, settings or [])
        values |= {name: value for name, value in flags.items() if value is not None}
        folder = out or Path("runs") / recipe
        found, config = resolve(recipe, folder, preset, values, resume=resume)
        console = Console()
        trainer = start(found, config, folder, resume=resume, console=console)
        if trainer.fabric.is_global_zero:
            console.print(f"{folder}: {trainer.step} steps done", highlight=False)


@app.command(cls=_Command)
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as given to train --out.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides the noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="PNG file to write.", show_default="RUN/samples/sample-N-seed-SEED.png")
    ] = None,
) -> None:
    """Write a grid of images made by a run's generator (its moving average), labels in turn."""
    with _plain_errors():
        from fastgan.trainers.images import image_grid, save_png
        from fastgan.trainers.run import sample_run

        images, step = sample_run(run, n, seed)
        path = out or run / "samples" / f"sample-{n}-seed-{seed}.png"
        save_png(path, image_grid(images, columns=10))
        typer.echo(f"{path}: {n} images of step {step}")


@app.command(cls=_Command)
def doctor() -> None:
    """Show versions, devices, threads, and which backend serves each op and why."""
    from fastgan import doctor as report

    report.main()


@app.command(cls=_Command)
def tune(
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "bfloat16",
    batch: Annotated[int, typer.Option(min=1, help="Images in a call.")] = 64,
    output: Annotated[
        Path | None, typer.Option(help="File to write; the default one is the one that is read.", show_default="cache")
    ] = None,
) -> None:
    """Time the forms of the resampling convolutions on this GPU and save which is fastest for each layer."""
    import torch

    from fastgan import tune as tuning
    from fastgan.ops import tuned

    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in dtypes:
        raise typer.BadParameter(f"must be one of {', '.join(dtypes)}, got {dtype!r}", param_hint="--dtype")
    if not torch.cuda.is_available():
        typer.echo("Error: tune needs a GPU that PyTorch can use, and finds none", err=True)
        raise typer.Exit(2)
    path, gpu = output or tuned.default_path(), torch.cuda.get_device_name()
    try:
        table = tuned.load(path) if path.exists() else {}
    except ValueError as error:
        typer.echo(f"{error}; it is written anew", err=True)
        table = {}

    def report(layer: tuning.Layer, seconds: dict[str, float]) -> None:
        times = "  ".join(f"{form} {time * 1e6:.0f} µs" for form, time in seconds.items())
        typer.echo(f"{layer.op} {layer.c_in}->{layer.c_out} {layer.size}x{layer.size}: {times}")

    found = tuning.tune(tuning.LAYERS, batch, dtypes[dtype], "cuda", tuning.cuda_timer, report)
    tuning.save(tuning.merged(table, gpu, found), path)
    typer.echo(f"{path}: {sum(map(len, found.values()))} layers of {gpu}")


@app.command(cls=_Command)
def bench(
    family: Annotated[str | None, typer.Argument(help="Family of cases; all where none is given.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer cases and repeats: a smoke test, not a figure.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the JSON and PNG.", show_default="the runner's own")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Interleaved repeats of each case.", show_default="the runner's own")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to measure with.", show_default="torch's choice")
    ] = None,
) -> None:
    """Time fastgan against its peers, interleaved, after checking that results agree."""
    try:
        from fastgan_bench import runner
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("fastgan_bench"):
            raise
        _fail("the benchmarks are not installed; install from the source tree: pip install -e '.[bench]'")
    sys.exit(runner.run(family=family, device=device, quick=quick, out=out, repeats=repeats, threads=threads))
