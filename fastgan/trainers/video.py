"""Films of what a run's generator makes along closed walks through its latent space."""

from __future__ import annotations

import copy
import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ConfigError
from .files import replacing
from .images import image_grid
from .recipe import Recipe
from .run import load_run

__all__ = ["film", "film_run", "walk", "write_film"]

#: Seconds from one key to the next, and the width of the bell that joins them, in this unit.
_KEY_SECONDS, _WIDTH = 1.0, 0.75
_SHORTEST, _LONGEST = 0.1, 3600.0
#: An image shown smaller than this is enlarged, unless a size is given.
_SHOWN_SIZE = 128


def walk(keys: Tensor, frames: int) -> Tensor:
    """A smooth closed walk near the keys, one after the other in equal times, with their variance everywhere.

    Keys are joined with the weights of a periodic bell, whose squares add up to one: of independent standard normal
    keys every point of the walk is standard normal again. Where keys are bounded, as uniform noise is, the walk is cut
    to their range.

    Parameters
    ----------
    keys : Tensor
        [K, ...].
    frames : int
        Points to return; the first one would follow the last one.

    Returns
    -------
    Tensor
        [frames, ...].
    """
    count = len(keys)
    times = torch.arange(frames, dtype=torch.float64) * count / frames
    angles = (times[:, None] - torch.arange(count)) * (2 * math.pi / count)
    # The bell of von Mises: Gaussian for many keys, smooth all round for few.
    weights = F.normalize(torch.exp((angles.cos() - 1) * (count / (2 * math.pi * _WIDTH)) ** 2), dim=1).to(keys)
    return torch.tensordot(weights, keys, 1).clamp(keys.min(), keys.max())


class _Latents:
    """Stands before a generator, and before copies that a recipe makes of it: notes their noise, or gives another."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.given: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Latents:
        return self

    def __call__(self, generator: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if generator.training or not inputs:
            return inputs  # a recipe gathers statistics, or there is no noise
        if self.given is None:
            self.seen.append(inputs[0])
            return inputs
        return (self.given, *inputs[1:])


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """Random numbers that begin anew, and leave the global ones as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


@torch.no_grad()
def film(
    recipe: Recipe, generator: nn.Module, *, frames: int, keys: int, n: int, seed: int, size: int | None = None
) -> Iterator[Tensor]:
    """Make a film of ``n`` walks side by side, one class each in turn.

    Each walk leads through noise that the recipe draws for its samples. Other noise, as StyleGAN's in each layer, stays
    the same.

    Parameters
    ----------
    recipe : Recipe
        Whose generator's first argument is the noise, [N, length].
    generator : nn.Module
        In evaluation mode.
    frames, keys : int
        Frames in the film, and draws of noise that each walk joins.
    n : int
        Number of walks.
    seed : int
        Decides the noise.
    size : int, optional
        Height and width of each image, a multiple of the generator's; by default the first that is at least 128.

    Yields
    ------
    Tensor
        uint8 [rows * size, columns * size, 1 or 3].

    Raises
    ------
    ConfigError
        If the generator takes no noise, or ``size`` does not fit.
    """
    labels = None if recipe.num_classes is None else torch.arange(n) % recipe.num_classes
    latents = _Latents()
    # Before a copy that the recipe does not know: what it may have made of the generator itself has no hook.
    generator = copy.deepcopy(generator)
    generator.register_forward_pre_hook(latents)
    with _seeded(seed) as random:
        for _ in range(keys):
            images = recipe.sample(generator, n, labels, random)
    if len(latents.seen) != keys or any(seen.shape[:1] != (n,) or seen.dim() != 2 for seen in latents.seen):
        raise ConfigError(f"a film walks through a generator's noise, and {recipe.name}'s takes something else")
    own = images.shape[-1]
    if size is not None and (size < own or size % own):
        raise ConfigError(f"size must be a multiple of the images' {own} pixels, got {size}")
    factor = max(1, -(-_SHOWN_SIZE // own)) if size is None else size // own
    columns = min(n, math.ceil(math.sqrt(2 * n)))
    for point in walk(torch.stack(latents.seen), frames):
        latents.given = point
        with _seeded(seed) as random:
            images = recipe.sample(generator, n, labels, random)
        yield image_grid(images, columns).repeat_interleave(factor, 0).repeat_interleave(factor, 1)


def write_film(path: Path, frames: Iterator[Tensor], fps: int) -> None:
    """Write frames of ``film`` to an endlessly repeated ``.gif`` or to an ``.mp4`` file, whole or not at all.

    Raises
    ------
    ConfigError
        For another ending; for mp4 without the package imageio-ffmpeg, or with an odd width or height; for gif with
        more than 50 frames a second.
    OSError
        If the file cannot be written.
    """
    writers = {".mp4": _write_mp4, ".gif": _write_gif}
    if path.suffix not in writers:
        raise ConfigError(f"{path}: a film's name must end in .mp4 or .gif")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.touch()  # what cannot be written is found before any frame is made
        writers[path.suffix](temporary, frames, fps)


def _write_mp4(path: Path, frames: Iterator[Tensor], fps: int) -> None:
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError as error:
        raise ConfigError(
            'mp4 needs imageio-ffmpeg: pip install "fastgan[video]"; or let the name end in .gif'
        ) from error
    first = next(frames)
    height, width, _ = first.shape
    if height % 2 or width % 2:
        raise ConfigError(f"mp4 needs an even height and width, got {height} and {width}; choose another size")
    # Not by the package's own writer, which tells nobody when ffmpeg fails in the end.
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-",
        "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-f", "mp4", str(path),
    ]  # fmt: skip
    with tempfile.TemporaryFile() as messages:
        # A broken pipe: ffmpeg has ended, and said why.
        with suppress(BrokenPipeError), subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages) as ffmpeg:
            assert ffmpeg.stdin is not None
            for frame in chain([first], frames):
                ffmpeg.stdin.write(frame.expand(-1, -1, 3).contiguous().numpy().data)
        if ffmpeg.returncode:
            messages.seek(0)
            said = messages.read().decode(errors="replace").splitlines()
            raise OSError(f"ffmpeg: {said[0] if said else f'ended with {ffmpeg.returncode}'}")


def _write_gif(path: Path, frames: Iterator[Tensor], fps: int) -> None:
    from PIL import Image

    if fps > 50:
        raise ConfigError(f"gif shows at most 50 frames a second, got {fps}")

    def images() -> Iterator[Image.Image]:
        # Frames begin at whole hundredths of a second: rounded one by one, their lengths would not add up.
        for number, frame in enumerate(frames):
            image = Image.fromarray(frame.squeeze(2).numpy())
            image.info["duration"] = 10 * (round(100 * (number + 1) / fps) - round(100 * number / fps))
            yield image

    rest = images()
    next(rest).save(path, format="gif", save_all=True, append_images=rest, loop=0)


def film_run(
    run: Path,
    out: Path,
    *,
    seconds: float,
    fps: int,
    n: int,
    seed: int,
    size: int | None = None,
    assignments: Sequence[str] = (),
) -> tuple[int, int]:
    """Write the film of the generator of ``load_run``; returns its number of frames and the generator's step.

    Raises
    ------
    ConfigError
        Where ``film``, ``write_film`` or ``load_run`` raises it, or if ``seconds`` is not from 0.1 to 3600.
    """
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigError(f"seconds must be from {_SHORTEST:g} to {_LONGEST:g}, got {seconds:g}")
    recipe, generator, step = load_run(run, assignments)
    frames = max(2, round(seconds * fps))
    keys = max(3, round(seconds / _KEY_SECONDS))
    write_film(out, film(recipe, generator, frames=frames, keys=keys, n=n, seed=seed, size=size), fps)
    return frames, step
