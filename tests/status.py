"""The status table docs/status.md, from the registry and from what the tests have shown.

A test that shows something about a backend says so: ``@pytest.mark.proves(word, backend=..., op=...)``. The op may come
from the test's ``sample`` and the backend from its ``backend`` parameter instead; ``derivatives`` default to all three.
With FASTGAN_STATUS naming a file, a pytest process leaves there what its passing tests have shown;
``python -m tests.status FOLDER`` writes the table from all files of a folder, and with ``--check`` compares instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fastgan.ops import registry

DERIVATIVES = ("forward", "backward", "double backward")
WORDS = ("executed", "interpreted", "emulated", "compiled", "timed", "measured")
ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "status.md"

Claim = tuple[str, str, str, str]  # op, backend, derivative, word


class Recorder:
    """A pytest plugin: claims of tests that passed, less those of tests that failed.

    Claims travel in the reports' properties, so that tests may run in several processes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed: set[Claim] = set()
        self.failed: set[Claim] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        report.user_properties.append(("claims", sorted(claims(item))))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        made = {tuple(claim) for name, given in report.user_properties if name == "claims" for claim in given}
        if report.failed:
            self.failed |= made
        elif report.when == "call" and report.passed:
            self.passed |= made

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return  # the process that started this one has all reports
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(sorted(self.passed - self.failed)))


def claims(item: pytest.Item) -> set[Claim]:
    """What a test shows when it passes."""
    found = set()
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    for marker in item.iter_markers("proves"):
        backend = marker.kwargs.get("backend") or parameters["backend"]
        op = marker.kwargs.get("op")
        if op is None:
            op = parameters["sample"].op if "sample" in parameters else Path(parameters["source"]).stem
        for derivative in marker.kwargs.get("derivatives", DERIVATIVES):
            found.add((op, backend, derivative, marker.args[0]))
    return found


def speed_claims() -> set[Claim]:
    """Ops with committed benchmark results: timed on a CPU, measured on a GPU."""
    found: set[Claim] = set()
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        for report in json.loads(path.read_text()).values():
            machine = report["machine"]
            word = "measured" if machine["device"] == "cuda" else "timed"
            for op in {result["family"] for result in report["results"] if not result["failed"]} & set(
                registry.tables()
            ):
                found |= {(op, machine["backends"][op], derivative, word) for derivative in ("forward", "backward")}
    return found


def render(shown: set[Claim]) -> str:
    """The table as Markdown."""
    lines = [
        "# Status",
        "",
        "What has been shown of each op's backends, written by `python -m tests.status` from the tests that passed.",
        "",
        "- **executed**: run on a CPU and compared with a float64 reference, first and second derivatives included.",
        "- **interpreted**: Triton's kernels run by its interpreter on a CPU, compared in the same way.",
        "- **emulated**: the CUDA C++ kernels run on a CPU through an emulation header, in several orders of warps and",
        "  blocks, compared in the same way.",
        "- **compiled**: compiled ahead of time for sm_80, sm_90, sm_100 (Triton also for gfx942), without spills.",
        "- **timed**: compared in speed with stock PyTorch on a CPU; the figures are in `benchmarks/results`.",
        "- **measured**: timed on a GPU. What does not have this word has no known GPU speed.",
        "",
        "| op | backend | " + " | ".join(DERIVATIVES) + " |",
        "|---|---|---|---|---|",
    ]
    for op, table in sorted(registry.tables().items()):
        for backend in table.backends:
            cells = []
            for derivative in DERIVATIVES:
                words = [w for w in WORDS if (op, backend, derivative, w) in shown]
                cells.append(", ".join(words) or "nothing shown")
            lines.append(f"| {op} | {backend} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the table, or with --check say whether it is up to date."""
    check = "--check" in arguments
    (folder,) = [Path(a) for a in arguments if a != "--check"]
    files = sorted(folder.glob("*.json"))
    if not files:
        how = f"run the tests with FASTGAN_STATUS={folder}/NAME.json"
        print(f"tests.status: no results in {folder}; {how}", file=sys.stderr)
        return 2
    text = render({tuple(claim) for path in files for claim in json.loads(path.read_text())} | speed_claims())
    if not check:
        TABLE.write_text(text)
    elif not TABLE.is_file() or TABLE.read_text() != text:
        print(f"{TABLE.relative_to(ROOT)} is stale; it should read:\n\n{text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
