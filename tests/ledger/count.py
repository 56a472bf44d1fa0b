"""The interpreter's part of the ledger, in a process of its own: bytes that each launch asks for.

``TRITON_INTERPRET=1 python -m tests.ledger.count`` prints them as JSON.
"""

from __future__ import annotations

import json

import numpy as np

from .launches import Launch, record_launches
from .workloads import WORKLOADS, Case


def count(case: Case) -> list[Launch]:
    """Interpret the case's call."""
    with record_launches() as launches, np.errstate(all="ignore"):
        case.ours()
    return launches


if __name__ == "__main__":
    print(
        json.dumps(
            {
                workload.name: {
                    size: [launch.bytes for launch in count(workload.make(batch))]
                    for size, batch in (("real", workload.batch), ("small", workload.small_batch))
                }
                for workload in WORKLOADS
            }
        )
    )
