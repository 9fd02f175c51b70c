"""What Linux says of the processor."""

import os

import pytest

from galmorph.cpu import core_count, cpu_has_bfloat16


def test_bfloat16_is_found_among_the_cpu_s_flags(tmp_path):
    facts = tmp_path / "cpuinfo"
    assert not cpu_has_bfloat16(facts)
    facts.write_text("processor : 0\nflags : fpu sse avx512f\n")
    assert not cpu_has_bfloat16(facts)
    facts.write_text("processor : 0\nflags : fpu avx512_bf16 avx512f\n")
    assert cpu_has_bfloat16(facts)


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 3),
    ],
)
def test_a_container_has_the_cores_of_its_limit(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, content in limit.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert core_count(tmp_path) == cores
