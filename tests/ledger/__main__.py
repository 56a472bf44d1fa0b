"""``python -m tests.ledger [TEXT ...]`` writes docs/ledger.json and docs/ledger.md.

Everything is worked out anew, or only the workloads whose names have one of the texts in them.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import triton

from .build import JSON, PAGE, asked, described, elsewhere, recorded, stock
from .table import render
from .workloads import WORKLOADS

chosen = sys.argv[1:]
known = json.loads(JSON.read_text())["workloads"] if chosen else {}
ledger: dict[str, Any] = {"triton": triton.__version__, "workloads": {}}
for workload in WORKLOADS:
    if chosen and not any(text in workload.name for text in chosen):
        ledger["workloads"][workload.name] = known[workload.name]
        continue
    start = time.perf_counter()
    case = workload.real()
    launches, torch_kernels = recorded(case)
    ledger["workloads"][workload.name] = {
        "must_move": case.must_move,
        "kernels": [
            {**described(launch), "elsewhere": needs} for launch, needs in zip(launches, elsewhere(case), strict=True)
        ],
        "torch_kernels": [kernel.as_dict() for kernel in torch_kernels],
        "stock_kernels": stock(case),
        "small_bytes": [asked(launch).bytes for launch in recorded(workload.small())[0]],
    }
    print(f"{time.perf_counter() - start:5.1f} s  {workload.name}", file=sys.stderr)
JSON.write_text(json.dumps(ledger, indent=1) + "\n")
PAGE.write_text(render(ledger))
