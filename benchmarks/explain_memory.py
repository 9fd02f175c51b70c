"""Peak memory of Integrated Gradients, at several numbers of points and images: it grows with neither.

ResNet50 with random weights, a process for each number. Nothing passes or fails.

    python benchmarks/explain_memory.py                       64 pixels, minutes on a laptop
    python benchmarks/explain_memory.py --size 224 --steps 16 256 --images 8 64
"""

import argparse
import os
import resource
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def peak(size: int, steps: int, images: int, batch: int) -> float:
    """Explain in a process of its own; return its peak resident memory, MiB."""
    command = [sys.executable, __file__, "--one", *map(str, (size, steps, images, batch))]
    return float(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.split()[-1])


def one(size: int, steps: int, count: int, batch: int) -> None:
    """Be that process."""
    from explain import PARAMS, built, explaining, galaxies

    from galmorph import params as p
    from galmorph.explain.methods import METHODS

    params = p.check(p.read_values(PARAMS), str(PARAMS))
    chosen = explaining(params, batch, steps)
    explainer = METHODS["integrated_gradients"](built(params, size), chosen)
    explainer.explain(galaxies(count, size), ["Elliptical"] * count)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="pixels (64)")
    parser.add_argument("--batch", type=int, default=32, help="points at a time (32)")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 64], help="points of a path (16 64)")
    parser.add_argument("--images", type=int, nargs="+", default=[4, 32], help="images (4 32)")
    parser.add_argument("--one", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*options.one)
        return
    size = f"{options.size} x {options.size} pixels, batches of {options.batch}"
    print(f"Peak resident memory of Integrated Gradients of ResNet50, {size}, MiB")
    print(f"{'points':>8}" + "".join(f"{count:>10} images" for count in options.images))
    for steps in options.steps:
        peaks = [peak(options.size, steps, count, options.batch) for count in options.images]
        print(f"{steps:>8}" + "".join(f"{found:>17.0f}" for found in peaks), flush=True)


if __name__ == "__main__":
    main()
