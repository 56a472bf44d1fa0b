"""Wheels and clean virtual environments.

A clean environment resolves and installs what a wheel declares with pip, as a user's does, except torch: torch and what
it requires are linked from the running environment, because a second copy (5 GB, where torch is built for CUDA) takes
longer than all these tests. Nothing else of the running environment can be seen from it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Standard output and error of a command that must succeed."""
    done = attempt(*command, cwd=cwd, **variables)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def attempt(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment that the running one does not reach into."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CXX") and not k.startswith("FASTGAN_")}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=inherited | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip


def build_wheel(source: Path, folder: Path, **variables: str) -> tuple[Path, str]:
    """Build a wheel from an sdist with this environment's tools; return it and the log."""
    command = (sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation", "-w", folder, source)
    log = run(*command, cwd=folder, **variables)
    return next(folder.glob("*.whl")), log


def make_environment(folder: Path, *requirements: str | Path) -> Path:
    """Create a virtual environment with `requirements` and a link to torch; return its Python."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    links = folder / "torch"
    links.mkdir()
    _link_with_requirements("torch", links, set())
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "torch.pth").write_text(f"{links}\n")
    run(python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS, *requirements, cwd=folder)
    return python


def _link_with_requirements(name: str, folder: Path, seen: set[str]) -> None:
    if name in seen:
        return
    seen.add(name)
    distribution = metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        target, link = Path(str(distribution.locate_file(top))), folder / top
        if target.exists() and not link.exists():
            link.symlink_to(target)
    for requirement in map(Requirement, distribution.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _link_with_requirements(requirement.name, folder, seen)
