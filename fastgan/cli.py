"""The command ``fastgan``; torch and the trainers are imported by the subcommands that need them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

__all__ = ["app", "main"]

app = typer.Typer(
    name="fastgan",
    help="Fast adversarial training: train the reference recipes, sample from them, measure them, check and time this "
    "machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="List data sets, or fetch one.", no_args_is_help=True)
app.add_typer(data_app, name="data")


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
        from fastgan.trainers.processes import ProcessLostError
    except ModuleNotFoundError as error:
        _fail(f'{error.name} is missing; training needs: pip install "fastgan[train,metrics]"')
    try:
        yield
    except BrokenPipeError:
        raise  # who reads the output, `head` for one, has seen enough: the command ends without a word
    except (ConfigError, DataError, CheckpointError, NonFiniteLossError, ProcessLostError, OSError) as error:
        _fail(str(error))  # OSError: a full disk, a folder that is a file or may not be written


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(1)


@app.command(cls=_Command)
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="What to train, e.g. sngan, or your own as FILE.py:CLASS; an unknown name lists what exists.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: a name that `fastgan data list` shows, a folder of images (class subfolders give labels), "
            "a folder of IDX files, an .npz file, or hf:NAME from Hugging Face.",
            show_default="fashion-mnist",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Named settings of the recipe: paper, small; an unknown name lists all.", show_default="small"
        ),
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
            "--set", metavar="NAME=VALUE", help="Any setting of the recipe, of those that --settings shows; repeatable."
        ),
    ] = None,
    show_settings: Annotated[
        bool,
        typer.Option("--settings", help="Show every setting of the recipe, its value and what it is; train nothing."),
    ] = False,
) -> None:
    """Train a recipe; checkpoints, samples, TensorBoard logs and config.yaml go to --out."""
    with _plain_errors():
        from rich.console import Console

        from fastgan.trainers.config import build_config, parse_assignments, settings_table
        from fastgan.trainers.recipe import find_preset, find_recipe
        from fastgan.trainers.run import resolve, start

        flags: dict[str, Any] = {
            "data": data, "steps": steps, "batch_size": batch_size, "seed": seed, "device": device,
            "precision": precision, "stock": stock, "strict": strict,
        }  # fmt: skip
        found = find_recipe(recipe)
        values = parse_assignments(found.Config, settings or [])
        values |= {name: value for name, value in flags.items() if value is not None}
        console = Console()
        if show_settings:
            name = preset or found.default_preset
            console.print(f"{found.name}, preset {name}", highlight=False)
            console.print(settings_table(build_config(found.Config, find_preset(found, name), values)))
            return
        folder = out or Path("runs") / found.name
        found, config = resolve(recipe, folder, preset, values, resume=resume)
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
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of sampling, such as biggan's truncation."),
    ] = None,
) -> None:
    """Write a grid of images made by a run's generator (its moving average), labels in turn."""
    with _plain_errors():
        from fastgan.trainers.images import save_png
        from fastgan.trainers.run import sample_run

        grid, shown, step = sample_run(run, n, seed, settings or [])
        path = out or run / "samples" / f"sample-{n}-seed-{seed}.png"
        save_png(path, grid)
        typer.echo(f"{path}: {shown}, of step {step}")


@app.command(cls=_Command)
def video(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as given to train --out.")],
    seconds: Annotated[float, typer.Option(help="Length, 0.1 to 3600; the end leads back to the beginning.")] = 10.0,
    fps: Annotated[int, typer.Option(min=1, max=120, help="Frames a second.")] = 25,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of walks, side by side.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides the walks.")] = 0,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels a side of each image: a multiple.", show_default="the first from 128 on"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write, .mp4 or .gif.", show_default="RUN/samples/walk-seed-SEED.mp4")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of sampling, such as biggan's truncation."),
    ] = None,
) -> None:
    """Write a film of walks through the noise of a run's generator (its moving average), a class each in turn."""
    with _plain_errors():
        from fastgan.trainers.video import film_run

        path = out or run / "samples" / f"walk-seed-{seed}.mp4"
        frames, step = film_run(
            run, path, seconds=seconds, fps=fps, n=n, seed=seed, size=size, assignments=settings or []
        )
        typer.echo(f"{path}: {frames} frames of step {step}")


@data_app.command("list", cls=_Command)
def list_data() -> None:
    """Show the data sets that have a name: content, licence, source, size, and whether they are here."""
    with _plain_errors():
        from fastgan.data import DataError
        from fastgan.data.catalogue import CATALOGUE

        for source, entries in groupby(CATALOGUE.values(), lambda entry: entry.source):
            names = []
            for entry in entries:
                names.append(entry.name)
                typer.echo(f"{entry.name}: {entry.summary}")
            try:
                place = str(source.find())
            except DataError:
                place = f"not here; get it with `fastgan data fetch {names[0]}`"
            size = f"{source.size / 1e6:.0f} MB to download" if source.size else "nothing to download"
            for title, text in (
                ("license", source.license),
                *(("source", url) for url in source.urls),
                ("size", size),
                ("place", place),
            ):
                typer.echo(f"    {title:8}{text}")


@data_app.command("fetch", cls=_Command)
def fetch_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What `fastgan data list` shows.")],
) -> None:
    """Download a data set, check it, and print where it is; one that is here already stays."""
    with _plain_errors():
        from fastgan.data import DataError
        from fastgan.data.catalogue import find_entry

        source = find_entry(name).source
        try:
            source.find()
        except DataError:
            typer.echo(f"{name}: downloading {source.size / 1e6:.0f} MB; licence: {source.license}", err=True)
        typer.echo(source.fetch())


@app.command(cls=_Command)
def evaluate(
    real: Annotated[
        str, typer.Option(help="Real images: a data set as in train, or a folder of images, at their own size.")
    ],
    fake: Annotated[
        str,
        typer.Option(
            help="Generated images: the same, or the folder of a run, whose generator then makes them; real ones are "
            "prepared as in training then."
        ),
    ],
    metrics: Annotated[str, typer.Option(help="Any of fd, kid, prdc, is, with commas between.")] = "fd",
    features: Annotated[
        str, typer.Option(help="efficientnet-lite0, inception-v3 (FID's) or timm:MODEL; an unknown name lists all.")
    ] = "efficientnet-lite0",
    weights: Annotated[
        Path | None, typer.Option(help="File with the network's weights.", show_default="the name's own")
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="How Inception's images are resized: clean, legacy_pytorch, legacy_tensorflow, antialiased_bilinear.",
            show_default="clean",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Images on each side, at most.", show_default="all; of a run, as many as real ones"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that a process handles at once.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides noise, drawing and random subsets.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write the JSON to.", show_default="none")] = None,
) -> None:
    """Measure generated images against real ones; under torchrun, all processes share the work."""
    with _plain_errors():
        from rich.console import Console

        from fastgan.evaluation import evaluate as measure
        from fastgan.evaluation.report import table, to_json, write
        from fastgan.evaluation.scores import parse_metrics

        result = measure(
            real, fake, parse_metrics(metrics), features, weights=weights, resize=resize, samples=samples,
            batch_size=batch_size, seed=seed, device=device, console=Console(stderr=True),
        )  # fmt: skip
        if result is not None:
            if out is not None:
                write(out, result)
            typer.echo(to_json(result)) if as_json else Console().print(table(result))


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
