"""What the processor can do, and how much of it there is."""

import math
import os
from pathlib import Path

#: Where Linux says so.
FACTS = Path("/proc/cpuinfo")
#: Instructions that multiply bfloat16; without them it is emulated and slower than float32.
_BFLOAT16 = ("avx512_bf16", "amx_bf16")
#: Where Linux tells a container's share of time and the span that it is counted in: control groups of version 2, in one
#: file, and of version 1, in two.
_CONTROL_GROUPS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
_ROOT = Path("/sys/fs/cgroup")


def cpu_has_bfloat16(facts: Path) -> bool:
    """Whether the CPU multiplies bfloat16 itself, by the flags that Linux lists; False where there is no such list."""
    try:
        flags = next(line for line in facts.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return any(name in flags for name in _BFLOAT16)


def core_count(root: Path = _ROOT) -> int:
    """Cores that this process may use: of the machine, or of its container where that has less, at least one.

    A container's limit is time, not cores: it sees all of the machine's, and more threads than its limit only wait. A
    part of a core counts as one.

    Parameters
    ----------
    root
        Where control groups are mounted.
    """
    # macOS and Windows have no affinity call.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for names in _CONTROL_GROUPS:
        files = [root / name for name in names]
        if all(file.exists() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            # No limit is `max` in version 2, -1 in version 1.
            if quota.isdigit():
                cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)
