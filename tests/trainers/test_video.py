"""Films of walks through a generator's noise: closed, smooth, of the noise's own kind, and as files."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from fastgan.cli import app
from fastgan.trainers.config import ConfigError
from fastgan.trainers.images import image_grid
from fastgan.trainers.recipe import Recipe, recipe_names
from fastgan.trainers.video import film, walk, write_film

from . import tiny
from .runs import flags

runner = CliRunner()


def test_walks_are_closed_smooth_and_standard_normal() -> None:
    keys = torch.randn(8, 40_000, generator=torch.Generator().manual_seed(0))
    points = walk(keys, 96)
    assert points.shape == (96, 40_000) and points.dtype == keys.dtype
    torch.testing.assert_close(points.std(1), torch.ones(96), rtol=0, atol=0.02)
    # It passes by its keys, and no step is like a jump, the one from the end to the beginning least of all.
    assert (torch.cosine_similarity(points[::12], keys) > 0.8).all()
    steps = (points - points.roll(1, 0)).norm(dim=1) / 40_000**0.5
    assert steps.min() > 0.05 and steps.max() < 0.1


def test_walks_keep_to_the_range_of_bounded_noise() -> None:
    keys = 2 * torch.rand(6, 5000) - 1
    points = walk(keys, 60)
    assert points.abs().max() <= 1 and points.std() > 0.5


class _Recorder(nn.Module):
    """A generator that shows its noise's first component, and remembers the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Any]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> _Recorder:
        copied = _Recorder().train(self.training)
        copied.seen = self.seen
        return copied

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen.append((latent, labels))
        return latent[:, 0, None, None, None].expand(-1, 1, 8, 8).tanh()


class _Recipe:
    name = "recorder"

    def __init__(self, num_classes: int | None) -> None:
        self.num_classes = num_classes

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        return generator(torch.randn(n, 3, generator=random), *(() if labels is None else (labels,)))


def _film(generator: nn.Module, num_classes: int | None = None, **options: Any) -> list[Tensor]:
    recipe: Recipe = _Recipe(num_classes)  # type: ignore[assignment]
    return list(film(recipe, generator.eval(), **({"frames": 6, "keys": 3, "n": 3, "seed": 1} | options)))


def test_each_cell_walks_by_itself_with_its_class() -> None:
    generator, before = _Recorder(), torch.get_rng_state()
    frames = _film(generator, num_classes=2)
    assert torch.equal(before, torch.get_rng_state()) and not generator._forward_pre_hooks
    assert len(frames) == 6 and all(frame.shape == (128, 384, 1) for frame in frames)
    keys, points = generator.seen[:3], generator.seen[3:]
    torch.testing.assert_close(torch.stack([p[0] for p in points]), walk(torch.stack([k[0] for k in keys]), 6))
    assert all(labels.tolist() == [0, 1, 0] for _, labels in generator.seen)
    cells = frames[0][0, ::128, 0]
    assert cells.unique().numel() == 3 and not torch.equal(frames[0], frames[1])
    assert torch.equal(torch.stack(frames), torch.stack(_film(_Recorder(), num_classes=2)))


@pytest.mark.parametrize(("size", "expected"), [(8, 8), (24, 24), (None, 128)])
def test_sizes(size: int | None, expected: int) -> None:
    assert _film(_Recorder(), size=size)[0].shape == (expected, 3 * expected, 1)


@pytest.mark.parametrize("size", [4, 12])
def test_sizes_that_do_not_fit(size: int) -> None:
    with pytest.raises(ConfigError, match=f"size must be a multiple of the images' 8 pixels, got {size}"):
        _film(_Recorder(), size=size)


def test_generators_of_something_else_are_refused() -> None:
    class Translation(_Recipe):
        def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
            return generator(torch.randn(n, 1, 8, 8, generator=random))

    recipe: Recipe = Translation(None)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="a film walks through a generator's noise, and recorder's takes something"):
        next(film(recipe, nn.Identity().eval(), frames=2, keys=3, n=2, seed=0))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_noise_can_be_filmed(name: str) -> None:
    """The walk shows, a film leaves nothing behind, and another one is the same."""
    trainer = tiny.trainer(name, batch_size=8)
    trainer.update()
    recipe, generator = trainer.recipe, trainer.ema.module
    options: dict[str, Any] = {"frames": 4, "keys": 3, "n": 2, "seed": 1}
    if name in ("stargan", "unit"):
        with pytest.raises(ConfigError, match=f"a film walks through a generator's noise, and {name}'s takes"):
            next(film(recipe, generator, **options))
        return
    before = trainer.sample(6, seed=3)
    frames = list(film(recipe, generator, **options))
    assert len(frames) == 4 and not torch.equal(frames[0], frames[2])
    assert torch.equal(before, trainer.sample(6, seed=3))
    assert torch.equal(torch.stack(frames), torch.stack(list(film(recipe, generator, **options))))


def test_a_film_of_standing_statistics_walks_through_the_samples_noise() -> None:
    """Not through that of the batches that they are taken from, here as large as the walks are many."""
    trainer = tiny.trainer("biggan", batch_size=2, standing_batches=3)
    frames = list(film(trainer.recipe, trainer.ema.module, frames=4, keys=3, n=2, seed=1, size=32))
    trainer.sample(2, seed=0)
    standing = trainer.recipe._standing._copy  # type: ignore[attr-defined]
    random = torch.Generator().manual_seed(1)
    keys = torch.stack([torch.randn(2, 4, generator=random) for _ in range(3)])
    with torch.no_grad():
        expected = [image_grid(standing(point, torch.arange(2)), 2) for point in walk(keys, 4)]
    assert all(map(torch.equal, frames, expected))


def _frames(channels: int, width: int = 60) -> Any:
    return iter(torch.randint(0, 256, (7, 36, width, channels), dtype=torch.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_mp4(channels: int, tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "a" / "film.mp4"
    write_film(path, _frames(channels), 25)
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    reader.close()
    assert (meta["size"], meta["fps"], meta["codec"]) == ((60, 36), 25, "h264")
    assert imageio_ffmpeg.count_frames_and_secs(str(path))[0] == 7
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("channels", [1, 3])
def test_gif(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    write_film(path, _frames(channels), 25)
    with Image.open(path) as image:
        assert (image.n_frames, image.size) == (7, (60, 36))  # type: ignore[attr-defined]
        assert (image.info["duration"], image.info["loop"]) == (40, 0)


@pytest.mark.parametrize(("fps", "frames"), [(24, 48), (30, 60), (40, 7), (50, 9), (3, 6)])
def test_a_gif_lasts_as_long_as_its_frames(fps: int, frames: int, tmp_path: Path) -> None:
    """Though a frame's time is in hundredths of a second; players take less than two for ten."""
    path = tmp_path / "film.gif"
    write_film(path, iter(torch.randint(0, 256, (frames, 36, 60, 1), dtype=torch.uint8)), fps)
    durations = []
    with Image.open(path) as image:
        for frame in range(frames):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert len(durations) == frames and min(durations) >= 20
    assert max(durations) - min(durations) <= 10
    assert sum(durations) == pytest.approx(1000 * frames / fps, abs=5)


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "3601"])
def test_lengths_that_cannot_be(seconds: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["video", str(tmp_path), "--seconds", seconds])
    assert result.exit_code == 1
    assert result.output == f"Error: seconds must be from 0.1 to 3600, got {seconds}\n"


@pytest.mark.parametrize(
    ("name", "fps", "width", "message"),
    [
        ("film.avi", 25, 60, r"film\.avi: a film's name must end in \.mp4 or \.gif"),
        ("film.gif", 60, 60, "gif shows at most 50 frames a second, got 60"),
        ("film.mp4", 25, 61, "mp4 needs an even height and width, got 36 and 61"),
    ],
)
def test_films_that_cannot_be(name: str, fps: int, width: int, message: str, tmp_path: Path) -> None:
    if name.endswith("mp4"):
        pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(ConfigError, match=message):
        write_film(tmp_path / name, _frames(1, width), fps)
    assert not list(tmp_path.iterdir())


def test_mp4_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r'mp4 needs imageio-ffmpeg: pip install "fastgan\[video\]"; or .* \.gif'):
        write_film(tmp_path / "film.mp4", _frames(1), 25)


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_place_that_cannot_be_written_is_named(suffix: str, tmp_path: Path) -> None:
    if suffix == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    path = Path(f"/proc/film.{suffix}")
    if not Path("/proc/self").exists():
        pytest.skip("no folder here that root may not write to")
    frames = _frames(1)
    with pytest.raises(OSError, match=rf"^{path}: cannot be written \(.*\)$"):
        write_film(path, frames, 25)
    assert len(list(frames)) == 7


@pytest.mark.parametrize("frames", [7, 300])
def test_an_mp4_that_the_disk_has_no_room_for(frames: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk; a short film reaches it when all frames are written."""
    pytest.importorskip("imageio_ffmpeg")
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=r"film\.mp4: cannot be written \(ffmpeg: .+\)$"):
            write_film(tmp_path / "film.mp4", iter(torch.randint(0, 256, (frames, 64, 64, 3), dtype=torch.uint8)), 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())


def test_a_film_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from _frames(1)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_film(tmp_path / "film.gif", broken(), 25)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path: Path) -> None:
    """A conditional run: 10 walks of 32×32 pixels, in two rows of five, each enlarged four times."""
    run = tmp_path / "run"
    assert runner.invoke(app, ["train", "sngan", "--out", str(run), *flags(steps=1)]).exit_code == 0
    out = tmp_path / "film.gif"
    result = runner.invoke(app, ["video", str(run), "--seconds", "0.4", "--fps", "20", "--out", str(out)])
    assert result.exit_code == 0 and result.output == f"{out}: 8 frames of step 1\n", result.output
    with Image.open(out) as image:
        assert (image.n_frames, image.size) == (8, (640, 256))  # type: ignore[attr-defined]
    result = runner.invoke(app, ["video", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 1 and "not the folder of a run" in result.output


def test_settings_of_sampling(tmp_path: Path) -> None:
    """``--set`` changes what is sampled; what was trained stays."""
    run = tmp_path / "run"
    settings = tiny.settings("stylegan2") | {"steps": 1, "sample_every": 0, "held_out": 0}
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    assert runner.invoke(app, ["train", "stylegan2", "--out", str(run), *options]).exit_code == 0
    films = []
    for truncation in ("1", "0"):
        out = tmp_path / f"{truncation}.gif"
        arguments = ["--seconds", "0.2", "--n", "1", "--set", f"truncation={truncation}", "--out", str(out)]
        result = runner.invoke(app, ["video", str(run), *arguments])
        assert result.exit_code == 0, result.output
        films.append(out.read_bytes())
    assert films[0] != films[1]
    result = runner.invoke(app, ["video", str(run), "--set", "w_dim=7", "--out", str(tmp_path / "film.gif")])
    assert result.exit_code == 1 and "a trained run cannot change w_dim: 6 -> 7" in result.output
