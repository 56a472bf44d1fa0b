"""``fastgan evaluate``: figures against the metrics by hand, the features that are kept, runs, processes, mistakes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from fastgan import functional
from fastgan.cli import app
from fastgan.evaluation import cache
from fastgan.evaluation.sources import FolderSource, RunSource, open_images
from fastgan.features import get
from fastgan.metrics import InceptionScore
from fastgan.trainers.images import to_uint8
from fastgan.trainers.run import load_run

from .trainers.runs import flags, run_python

runner = CliRunner()


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "evaluation"


def _save(path: Path, images: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(images.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of images in 40x24 and 20x20, in subfolders."""
    root = tmp_path_factory.mktemp("images")
    random = torch.Generator().manual_seed(0)
    for side, brightest in (("real", 256), ("fake", 200)):
        for i in range(12):
            size = (3, 24, 40) if i % 3 else (3, 20, 20)
            image = torch.randint(0, brightest, size, generator=random, dtype=torch.uint8)
            _save(root / side / f"part{i % 2}" / f"{i:02d}.png", image)
    return root / "real", root / "fake"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on digits."""
    out = tmp_path_factory.mktemp("run") / "run"
    assert runner.invoke(app, ["train", "sngan", "--out", str(out), *flags(steps=2)]).exit_code == 0
    return out


def _measure(real: object, fake: object, *options: str) -> dict[str, Any]:
    result = runner.invoke(app, ["evaluate", "--real", str(real), "--fake", str(fake), "--json", *options])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _features(folder: Path) -> Tensor:
    network = get("efficientnet-lite0")
    images = []
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
            images.append(pixels.view(image.height, image.width, 3).permute(2, 0, 1))
    return torch.cat([network(image[None]) for image in images])


def test_figures_are_the_metrics_of_the_folders_features(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Images of different sizes, in batches that do not divide them, against one image at a time."""
    real, fake = (_features(folder) for folder in folders)
    out = tmp_path / "new" / "figures.json"
    report = _measure(*folders, "--metrics", "fd,kid,prdc,is", "--batch-size", "5", "--out", str(out))
    prdc = functional.precision_recall_density_coverage(real, fake)
    expected = {
        "fd": functional.frechet_distance_from_features(real.double(), fake.double()),
        "kid": functional.polynomial_mmd(real, fake),
        **prdc._asdict(),
    }
    score = InceptionScore(feature=None, splits=10)
    score.update(get("efficientnet-lite0").logits(fake))
    expected |= dict(zip(("is", "is_std"), score.compute(), strict=True))
    assert report["metrics"].keys() == expected.keys() | {"fd_error"}
    assert 0 <= report["metrics"]["fd_error"] < 1e-6 * report["metrics"]["fd"]
    for name, value in expected.items():
        assert report["metrics"][name] == pytest.approx(float(value), rel=1e-3, abs=1e-6), name
    assert report["features"] == "EfficientNet-Lite0 at 64 px"
    assert report["real"] == {"name": str(folders[0]), "images": 12, "size": [20, 20]}
    assert "12 images for 1280 features" in report["notes"][0]
    assert json.loads(out.read_text()) == report and list(out.parent.iterdir()) == [out]


def test_table_names_what_figures_depend_on(folders: tuple[Path, Path]) -> None:
    arguments = ["--real", "digits", "--fake", str(folders[1]), "--metrics", "kid", "--samples", "10"]
    result = runner.invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["real", "digits:", "10", "images,", "32x32"] in lines
    assert ["features", "EfficientNet-Lite0", "at", "64", "px"] in lines
    assert any(line[:2] == ["kernel", "distance"] and abs(float(line[2])) > 0 for line in lines)
    assert "also measure that difference" in " ".join(result.stdout.split())


class _Counted:
    """Images that the network was given, by evaluations."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fastgan.features.efficientnet import EfficientNetLite0

        self.images = 0
        forward = EfficientNetLite0.forward

        def counting(network: EfficientNetLite0, images: Tensor) -> Tensor:
            self.images += len(images)
            return forward(network, images)

        monkeypatch.setattr(EfficientNetLite0, "forward", counting)

    def of(self, *arguments: object) -> tuple[int, dict[str, float]]:
        self.images = 0
        metrics = _measure(*arguments, "--metrics", "kid,prdc")["metrics"]  # type: ignore[arg-type]
        return self.images, metrics


def test_features_are_kept_until_anything_changes(
    folders: tuple[Path, Path], kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _Counted(monkeypatch)
    real, fake = tmp_path / "real", folders[1]
    for i in range(8):
        _save(real / f"{i}.png", torch.full((3, 8, 8), 20 * i, dtype=torch.uint8))
    count, first = network.of(real, fake)
    assert count == 20
    assert network.of(real, fake) == (0, first)
    assert network.of(real, fake, "--samples", "7")[0] == 14, "other images are drawn"

    status = (real / "3.png").stat()
    _save(real / "3.png", torch.full((3, 8, 8), 61, dtype=torch.uint8))
    os.truncate(real / "3.png", max(status.st_size, (real / "3.png").stat().st_size))  # the size tells nothing
    os.utime(real / "3.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    count, changed = network.of(real, fake)
    assert count == 8 and changed != first

    files = sorted(kept.iterdir())
    assert len(files) == 5 and all(path.suffix == ".safetensors" for path in files)
    for path in files:  # as a full disk or a crash might leave them
        path.write_bytes(path.read_bytes()[:-100])
    assert network.of(real, fake) == (20, changed)
    assert network.of(real, fake) == (0, changed)


def test_other_weights_are_another_network() -> None:
    networks = [torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)]
    for network in networks:
        before = cache.weights_digest(network)
        assert cache.weights_digest(network) == before
        next(iter(network.buffers() if list(network.buffers()) else network.parameters())).data[0] += 1
        assert cache.weights_digest(network) != before


def test_folder_that_cannot_keep_features_costs_a_note_only(folders: tuple[Path, Path], kept: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("a file is in the way")
    arguments = ["evaluate", "--real", str(folders[0]), "--fake", str(folders[1]), "--metrics", "kid"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0 and "features are not kept" in result.stderr
    assert "kernel distance" in result.stdout


def test_run_is_sampled_by_its_moving_average(run: Path) -> None:
    source = RunSource(run, 150, 3, torch.device("cpu"))
    images = source.images(torch.arange(150))[0]
    assert images.shape == (150, 1, 32, 32) and images.dtype == torch.uint8
    some = torch.tensor([2, 63, 64, 149])
    assert torch.equal(source.images(some)[0], images[some]), "images depend on which others are made"
    assert not torch.equal(RunSource(run, 150, 4, torch.device("cpu")).images(some)[0], images[some])
    recipe, generator, step = load_run(run)
    assert step == 2 and source.name == f"{run}, step 2"
    noise = torch.Generator().manual_seed(source._seeds[1])
    expected = to_uint8(recipe.sample(generator, 64, torch.arange(64, 128) % 10, noise))
    assert torch.equal(images[64:128], expected)


def test_run_against_its_data(run: Path) -> None:
    report = _measure("digits", run, "--metrics", "fd,prdc", "--samples", "40", "--seed", "5")
    assert (report["real"]["images"], report["fake"]["images"]) == (40, 40)
    assert report["fake"]["name"].endswith("run, step 2")
    again = _measure("digits", run, "--metrics", "fd,prdc", "--samples", "40", "--seed", "5", "--batch-size", "7")
    assert again["metrics"] == pytest.approx(report["metrics"], rel=1e-3, abs=1e-6)
    same = _measure("digits", "digits", "--metrics", "fd,prdc", "--samples", "40", "--seed", "5")["metrics"]
    assert same["precision"] == same["recall"] == 1
    assert abs(same["fd"]) < 1e-3 * report["metrics"]["fd"]


def test_real_images_of_a_run_are_prepared_as_in_training(folders: tuple[Path, Path]) -> None:
    indices = torch.arange(3)
    assert [batch.shape[1:] for batch in open_images(str(folders[0])).images(indices)] == [(3, 20, 20), (3, 24, 40)]
    prepared = open_images(str(folders[0]), image_size=16)
    assert [batch.shape for batch in prepared.images(indices)] == [(3, 3, 16, 16)]
    assert open_images("digits", image_size=16).images(indices)[0].shape == (3, 1, 16, 16)
    assert prepared.identity != open_images(str(folders[0])).identity


def test_order_of_images_is_kept(folders: tuple[Path, Path]) -> None:
    source = FolderSource(folders[0])
    single = [source.images(torch.tensor([i]))[0][0] for i in range(len(source))]
    together = [image for batch in source.images(torch.arange(len(source))) for image in batch]
    assert all(torch.equal(a, b) for a, b in zip(single, together, strict=True))


def test_two_processes_equal_one(run: Path) -> None:
    """13 images do not divide by two processes and batches of 3; real features are kept, by the first process alone."""
    options = ("--metrics", "fd,kid,prdc,is", "--samples", "13", "--batch-size", "3", "--device", "cpu")
    one = _measure("digits", run, *options)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "fastgan", "evaluate")
    output = run_python(*torchrun, "--real", "digits", "--fake", str(run), "--json", *options).stdout
    both = json.loads(output)
    assert both.pop("metrics") == pytest.approx(one.pop("metrics"), rel=1e-3, abs=1e-6)
    assert both == one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "fid"], "unknown metric 'fid'; there are: fd, kid, prdc, is"),
        (["--metrics", ","], "no metrics given; there are: fd"),
        (["--features", "inception"], "unknown features 'inception'; there are: efficientnet-lite0; inception-v3"),
        (["--features", "inception-v3"], "get them with `python -m fastgan.features.fetch`"),
        (["--features", "inception-v3", "--weights", "none.pth"], "none.pth"),
        (["--features", "inception-v3", "--resize", "cubic"], "unknown resize 'cubic'; there are: clean"),
        (["--resize", "clean"], "resize is for inception-v3 alone, efficientnet-lite0 has its own"),
        (["--weights", "none.pth"], "efficientnet-lite0 has its own weights"),
        (["--device", "tpu"], "unknown device 'tpu'; there are: auto, cpu"),
        (["--metrics", "prdc", "--samples", "5"], "prdc needs at least 6 images, digits has 5"),
        (["--real", "mnits"], "unknown data set 'mnits'"),
        (["--fake", "."], "no images found"),
    ],
)
def test_mistakes_get_one_line(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    result = runner.invoke(app, ["evaluate", "--real", "digits", "--fake", "digits", *options])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    assert message in result.output


def test_broken_image_and_a_runs_folder_as_real_are_named(tmp_path: Path, run: Path) -> None:
    _save(tmp_path / "images" / "0.png", torch.zeros(3, 4, 4, dtype=torch.uint8))
    (tmp_path / "images" / "1.png").write_bytes(b"no picture")
    for real, message in ((tmp_path / "images", "1.png: broken image"), (run, "only --fake takes one")):
        result = runner.invoke(app, ["evaluate", "--real", str(real), "--fake", "digits", "--metrics", "kid"])
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result
        assert message in result.output and "Traceback" not in result.output


def test_inception_score_needs_classes_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Means(torch.nn.Module):
        dim = 3

        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("the images were read")

    monkeypatch.setattr("fastgan.features.get", lambda *args, **options: get(Means()))
    result = runner.invoke(app, ["evaluate", "--real", "digits", "--fake", "digits", "--metrics", "kid,is"])
    assert result.exit_code == 1 and "Means: has no classes, which the Inception score needs" in result.output


def test_features_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastgan.evaluation.extraction import extract

    class Broken(torch.nn.Module):
        dim, title = 2, "broken"

        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 2), torch.nan)

    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(ValueError, match="broken: features of images in digits are not finite"):
        extract(open_images("digits"), torch.arange(3), get(Broken()), fabric, 2, lambda n: None)
