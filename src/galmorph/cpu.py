"""What the processor can do."""

from pathlib import Path

#: Where Linux says so.
FACTS = Path("/proc/cpuinfo")
#: Instructions that multiply bfloat16; without them it is emulated and slower than float32.
_BFLOAT16 = ("avx512_bf16", "amx_bf16")


def cpu_has_bfloat16(facts: Path) -> bool:
    """Whether the CPU multiplies bfloat16 itself, by the flags that Linux lists; False where there is no such list."""
    try:
        flags = next(line for line in facts.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return any(name in flags for name in _BFLOAT16)
