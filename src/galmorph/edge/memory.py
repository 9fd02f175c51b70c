"""How much memory there is."""

from pathlib import Path

import psutil

#: Where Linux tells a container's limit, usage and statistics: control groups of version 2, and of version 1.
_CONTROL_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
_ROOT = Path("/sys/fs/cgroup")


def free_memory(root: Path = _ROOT) -> int:
    """Bytes that this process may still take: of the machine, or of its container where that has less.

    Parameters
    ----------
    root
        Where control groups are mounted.
    """
    free = psutil.virtual_memory().available
    for names in _CONTROL_GROUPS:
        limit, usage, statistics = (root / name for name in names)
        if all(file.exists() for file in (limit, usage, statistics)) and limit.read_text().strip() != "max":
            free = min(free, int(limit.read_text()) - int(usage.read_text()) + _reclaimable(statistics.read_text()))
    return max(free, 0)


def _reclaimable(statistics: str) -> int:
    """Bytes of cached file pages: they count as used, and are given up when memory is wanted."""
    values = dict(line.split(maxsplit=1) for line in statistics.splitlines())
    return int(values.get("inactive_file", 0))
