"""Simulating cutouts: the renderer against GalSim at its default accuracy, and memory against the number of galaxies.

    python benchmarks/simulate.py [--galaxies 60]
    python benchmarks/simulate.py --memory [--counts 500 5000]

The first draws the same galaxies, in all three bands and without noise, both ways, turn by turn, and prints galaxies
per second of one core's time, their ratio, and the largest difference of a pixel in units of that galaxy's sky noise.
"Default" is what one would write first: GalSim's objects for the same scene, drawn one by one with its default
settings. Both ways keep tables for each Sérsic index they have met; a short run pays for most of them.

The second runs the stage once for each count, into a temporary folder, and prints the peak of its memory, processes of
the pool included.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import galsim
import numpy as np
import psutil

from galmorph import params as p
from galmorph.data import render
from galmorph.data.scene import draw_with_galsim
from galmorph.data.simulate import draw_galaxy

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
#: Sky noises above which a pixel counts as the core of something bright.
_CORE = 300
STAGE = """
import sys
from pathlib import Path
from galmorph import params as p, stages
if __name__ == "__main__":
    values = p.with_overrides(p.read_values(Path(sys.argv[1])), [f"acquire.simulate.galaxies={sys.argv[2]}"])
    stages.acquire(Path(sys.argv[3]), p.check(values, sys.argv[1]).acquire)
"""


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=60, help="to draw both ways (default 60)")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 400], help="with --memory (default 100 400)")
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory(arguments.counts)
    else:
        measure_speed(arguments.galaxies, p.check(p.read_values(PARAMS), str(PARAMS)).acquire.simulate)


def measure_speed(galaxies: int, params: p.SimulateParams) -> None:
    """Draw `galaxies` both ways and print the ratio of the times, and how far the images are apart."""
    render.draw_bands(draw_galaxy(galaxies, params), params)  # libraries load their tables at the first call
    accuracy = galsim.GSParams()
    ours = default = 0.0
    cores, worst, spread = [], [], []
    for index in range(galaxies):
        galaxy = draw_galaxy(index, params)
        start = time.process_time()
        fast = render.draw_bands(galaxy, params)
        middle = time.process_time()
        exact = draw_with_galsim(galaxy, params, accuracy)
        default += time.process_time() - middle
        ours += middle - start
        noise = render.sky_noise(galaxy, params)[:, None, None]
        difference = np.abs(fast - exact) / noise
        # The core of a bright star is thousands of noises high, where a thousandth of it is several.
        core = exact > _CORE * noise
        cores.append((difference * noise / exact)[core].max(initial=0))
        worst.append(difference[~core].max())
        spread.append(np.mean(difference[~core] ** 2))
    print(f"{galaxies} galaxies, {params.size}x{params.size} pixels, g i H, one core")
    print(f"galmorph          {galaxies / ours:8.2f} galaxies/s")
    print(f"GalSim, default   {galaxies / default:8.2f} galaxies/s")
    print(f"ratio             {default / ours:8.1f}")
    print("difference of a pixel, in sky noises of its band:")
    print(f"largest           {max(worst):8.2f}")
    print(f"median galaxy's   {np.median(worst):8.2f}")
    print(f"root mean square  {np.sqrt(np.mean(spread)):8.3f}")
    print(f"in pixels brighter than {_CORE} sky noises, largest share of their light: {max(cores):.2%}")


def measure_memory(counts: list[int]) -> None:
    """Run the stage once for each count and print the peak of the memory of its processes together."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", STAGE, str(PARAMS), str(count), str(Path(folder) / "raw")]
            peak, seconds = peak_memory(command)
        print(f"{count:6d} galaxies: peak {peak / 2**20:7.0f} MiB, {count / seconds:6.2f} galaxies/s", flush=True)


def peak_memory(command: list[str]) -> tuple[int, float]:
    """Run a command; return the most memory (proportional set size, bytes) it and its children held, and its seconds.

    Shared pages are counted once: the sum of resident sizes would count the libraries in every process.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(watched))
        time.sleep(0.2)
    if process.returncode != 0:
        raise SystemExit(f"the stage failed with exit status {process.returncode}")
    return peak, time.perf_counter() - start


def memory(watched: psutil.Process) -> int:
    """Return the bytes that a process and its children hold now."""
    total = 0
    try:
        for process in [watched, *watched.children(recursive=True)]:
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)
    except psutil.NoSuchProcess:
        pass  # one ended between being listed and being asked
    return total


if __name__ == "__main__":
    main()
