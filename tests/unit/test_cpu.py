"""What Linux says of the processor."""

from galmorph.cpu import cpu_has_bfloat16


def test_bfloat16_is_found_among_the_cpu_s_flags(tmp_path):
    facts = tmp_path / "cpuinfo"
    assert not cpu_has_bfloat16(facts)
    facts.write_text("processor : 0\nflags : fpu sse avx512f\n")
    assert not cpu_has_bfloat16(facts)
    facts.write_text("processor : 0\nflags : fpu avx512_bf16 avx512f\n")
    assert cpu_has_bfloat16(facts)
