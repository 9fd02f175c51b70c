"""The per-galaxy reading and writing behind `galmorph.stages`, one module a job; nothing else calls it."""
