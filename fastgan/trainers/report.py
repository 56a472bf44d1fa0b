"""What a run shows and leaves behind beside its checkpoints: progress, TensorBoard, sample grids."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from .files import writing
from .images import save_png

__all__ = ["Reporter"]


class Reporter:
    """A progress bar on the terminal, scalars and grids in TensorBoard's files, grids in ``samples/``.

    Used as a context manager around a run. In processes other than the first it does nothing.

    Parameters
    ----------
    out : Path
        Folder of the run.
    step, steps : int
        Where the run starts and ends.
    images_per_step : int
        Real images used in a step, for images/s.
    enabled : bool
        Whether this is the first process.
    console : Console, optional
        Where to print.
    """

    def __init__(
        self, out: Path, step: int, steps: int, images_per_step: int, *, enabled: bool, console: Console | None = None
    ) -> None:
        self._out = out
        self._logs = out / "tensorboard"
        self._step = step
        self._enabled = enabled
        self._images_per_step = images_per_step
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            disable=not enabled,
            refresh_per_second=2,
        )
        self._task = self._progress.add_task("training", total=steps, completed=step, rate="-", losses="")

    def __enter__(self) -> Reporter:
        if self._enabled:
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run wrote after its last checkpoint is repeated: hide it.
            with writing(self._logs):
                self._writer = SummaryWriter(str(self._logs), purge_step=self._step + 1)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            self._progress.stop()
            # It writes in the background: a full disk may show here first, but never hides an error before it.
            with writing(self._logs) if error is None else suppress(OSError):
                try:
                    self._writer.flush()
                finally:
                    self._writer.close()

    def print(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self._enabled:
            self._progress.console.print(text, highlight=False)

    def advance(self, step: int) -> None:
        """Move the bar to ``step``."""
        task = self._progress.tasks[self._task]
        rate = f"{task.speed * self._images_per_step:.0f}" if task.speed else "-"
        self._progress.update(self._task, completed=step, rate=rate)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log numbers under their names."""
        if not self._enabled:
            return
        losses = "  ".join(f"{name.split('/')[-1]} {value:.3f}" for name, value in values.items())
        self._progress.update(self._task, losses=losses)
        speed = self._progress.tasks[self._task].speed
        if speed:
            values = values | {"images_per_second": speed * self._images_per_step}
        with writing(self._logs):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        if not self._progress.console.is_terminal:  # no bar is drawn there
            self.print("  ".join([f"step {step}", *(f"{name} {value:.4g}" for name, value in values.items())]))

    def images(self, step: int, grid: Tensor) -> None:
        """Log a grid of ``image_grid`` and write it to ``samples/``."""
        with writing(self._logs):
            self._writer.add_image("samples", grid.numpy(), step, dataformats="HWC")
        save_png(self._out / "samples" / f"step-{step:08d}.png", grid)

    def metric(self, step: int, name: str, value: float) -> None:
        """Log a measurement of the generator, such as a Fréchet distance."""
        key = name.lower().replace(" ", "_").replace("-", "_").replace("é", "e")
        with writing(self._logs):
            self._writer.add_scalar(key, value, step)
        self.print(f"step {step}: {name} {value:.4g}")
