"""Denoisers beside the plain scikit-image loop of a notebook, and beside themselves in two processes.

Everything is measured in this one run, on the same images, and printed as ratios; nothing passes or fails.

    python benchmarks/denoise.py             images/s on one core, and the scaling from one process to two
    python benchmarks/denoise.py --memory    the stage's peak memory at 500 and 5,000 images
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

PARAMS = Path(__file__).parents[1] / "params.yaml"


def galaxies(count: int, side: int, seed: int = 0) -> list[np.ndarray]:
    """Return exponential discs with a cusp on a noisy sky, `(side, side, 3)` uint8 RGB; enough like a cutout."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] - side / 2
    images = []
    for _ in range(count):
        axis_ratio, scale = rng.uniform(0.4, 1), rng.uniform(5, 20)
        radius = np.hypot(rows, columns / axis_ratio) / scale
        light = np.stack([level * np.exp(-(radius**0.7)) for level in (200, 150, 110)], -1)
        noisy = 8 + light + rng.normal(0, 7, light.shape)
        images.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return images


def notebook_loops(params) -> dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]]:
    """Return what a notebook would call for each denoiser, with our parameters where both have them, and a remark."""
    from skimage.filters import median
    from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

    square = np.ones((params.median.kernel, params.median.kernel))

    def per_channel(image):
        return np.stack([median(image[..., band], square) for band in range(3)], -1)

    return {
        "median": (per_channel, "equal kernel"),
        "bilateral": (
            partial(
                denoise_bilateral,
                win_size=params.bilateral.diameter,
                sigma_color=params.bilateral.sigma_colour / 255,
                sigma_spatial=params.bilateral.sigma_space,
                channel_axis=-1,
            ),
            "equal window and sigmas; square window, Euclidean colour difference",
        ),
        "nlm": (
            partial(
                denoise_nl_means,
                patch_size=params.nlm.template,
                patch_distance=params.nlm.search // 2,
                h=params.nlm.strength / 255,
                fast_mode=True,
                channel_axis=-1,
            ),
            "equal patch, search and strength; fast mode",
        ),
        "tv": (
            partial(
                denoise_tv_chambolle,
                weight=params.tv.weight,
                eps=params.tv.tolerance,
                max_num_iter=params.tv.max_iterations,
                channel_axis=-1,
            ),
            "equal weight, tolerance, iterations; float64",
        ),
        "wavelet": (
            partial(
                denoise_wavelet,
                wavelet=params.wavelet.wavelet,
                wavelet_levels=params.wavelet.levels,
                mode=params.wavelet.mode,
                method="BayesShrink",
                channel_axis=-1,
            ),
            "equal wavelet, levels, mode",
        ),
    }


def notebook_call(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Denoise and bring back to 8 bits, as a notebook has to before it saves."""
    found = function(image)
    return found if found.dtype == np.uint8 else np.clip(np.rint(found * 255), 0, 255).astype(np.uint8)


def seconds_each(function: Callable[[np.ndarray], np.ndarray], images: list[np.ndarray]) -> float:
    """Return the median time of one call, the first one (imports, tables) left out."""
    function(images[0])
    times = []
    for image in images:
        start = time.perf_counter()
        function(image)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def report_speed(images: list[np.ndarray], params) -> None:
    """Print images/s per core of each denoiser and of the notebook's loop, measured in turn."""
    from galmorph.data.denoise import denoise

    side = images[0].shape[0]
    print(f"\nOne core, {len(images)} images of {side} x {side}, median time a call")
    print(f"{'denoiser':<11}{'galmorph':>12}{'notebook':>12}{'ratio':>8}{'mean |Δ|':>10}  parameters")
    for name, (loop, remark) in notebook_loops(params).items():
        ours = partial(denoise, params=getattr(params, name))
        theirs = partial(notebook_call, loop)
        mine, other = seconds_each(ours, images), seconds_each(theirs, images)
        apart = np.mean([np.abs(ours(image).astype(int) - theirs(image)).mean() for image in images])
        print(f"{name:<11}{1 / mine:>10.1f}/s{1 / other:>10.1f}/s{other / mine:>7.1f}x{apart:>10.2f}  {remark}")


def denoise_repeatedly(params, times: int, image: np.ndarray) -> int:
    """Denoise one image `times` times, to make a task as long as a few images."""
    from galmorph.data.denoise import denoise

    for _ in range(times):
        found = denoise(image, params)
    return int(found[0, 0, 0])


def seconds_in_processes(count: int, images: list[np.ndarray], params, times: int) -> float:
    """Return the time that `parallel.map_ordered` takes on `count` processes once they are up."""
    from galmorph.parallel import map_ordered

    os.environ["GALMORPH_WORKERS"] = str(count)
    # As many results as can be under way carry the processes' start and imports; the clock starts after them.
    warm_up = 4 * count
    results = map_ordered(partial(denoise_repeatedly, params, times), [*images[:1] * warm_up, *images], "denoise")
    for _ in range(warm_up):
        next(results)
    start = time.perf_counter()
    done = sum(1 for _ in results)
    return (time.perf_counter() - start) / done


def report_scaling(images: list[np.ndarray], params) -> None:
    """Print how much faster two processes are than one, start-up left out."""
    import cv2

    cv2.setNumThreads(1)
    print("\nTwo processes beside one through parallel.map_ordered, start-up left out")
    print(f"{'denoiser':<11}{'one':>12}{'two':>12}{'ratio':>8}")
    for name in type(params).model_fields:
        section = getattr(params, name)
        once = seconds_each(partial(denoise_repeatedly, section, 1), images[:5])
        times = max(1, round(0.05 / once))  # tasks of 50 ms: the pool's own cost is not what is measured
        # In turn and the best of three: what else the machine does hits both, and counts for neither.
        rounds = [[seconds_in_processes(count, images, section, times) for count in (1, 2)] for _ in range(3)]
        one, two = np.min(rounds, axis=0)
        print(f"{name:<11}{times / one:>10.1f}/s{times / two:>10.1f}/s{one / two:>7.2f}x")


STAGE = """
import sys
from pathlib import Path
from galmorph import params, stages

if __name__ == "__main__":
    here, variant = Path(sys.argv[1]), sys.argv[2]
    values = params.check(params.read_values(Path(sys.argv[3])), sys.argv[3])
    stages.denoise(
        here / "raw", here / "manifest.parquet", here / variant, here / f"{variant}.json", here / "report",
        getattr(values.denoise, variant), variant,
    )
"""


def peak_memory(count: int, side: int, variant: str) -> float:
    """Run the stage on `count` generated galaxies in a temporary folder; return its and its workers' peak RSS, MiB."""
    import pandas as pd
    import psutil

    from galmorph import stages, storage

    with tempfile.TemporaryDirectory(prefix="galmorph-benchmark-") as name:
        here = Path(name)
        rows = []
        originals = galaxies(50, side)
        for index in range(count):
            path = here / "raw" / "images" / f"{index:05d}.png"
            image = np.roll(originals[index % 50], index // 50, axis=1)
            storage.write_image(path, image)
            label = ("Elliptical", "Other")[index % 2]
            rows.append((path.stem, label, True, storage.digest_file(path), 20.0))
        columns = ["CATAID", "label", "accepted", "sha256", "radius_pixels"]
        storage.write_table(here / "manifest.parquet", pd.DataFrame(rows, columns=columns))
        storage.write_json(here / "raw" / stages.SOURCE_FILE, {"source": "generated"})
        script = here / "stage.py"
        script.write_text(STAGE)
        command = [sys.executable, script, here, variant, PARAMS]
        stage = subprocess.Popen(command, env={**os.environ, "GALMORPH_WORKERS": "2"}, stderr=subprocess.DEVNULL)
        peak, family = 0, psutil.Process(stage.pid)
        while stage.poll() is None:
            resident = 0
            for process in [family, *_children(family)]:
                try:
                    resident += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, resident)
            time.sleep(0.05)
        if stage.returncode:
            raise SystemExit(f"the stage failed with exit status {stage.returncode}")
        return peak / 2**20


def _children(process):
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def report_memory(counts: list[int], side: int, variant: str) -> None:
    """Print the peak memory of the stage at different numbers of images."""
    print(f"\nPeak resident memory of the stage `denoise {variant}`, parent and two workers, {side} x {side} images")
    peaks = []
    for count in counts:
        peaks.append(peak_memory(count, side, variant))
        print(f"{count:>7} images {peaks[-1]:>8.0f} MiB {peaks[-1] / peaks[0]:>7.2f}x", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40, help="images of the speed tables (40)")
    parser.add_argument("--side", type=int, default=300, help="their side in pixels (300)")
    parser.add_argument("--memory", action="store_true", help="measure the stage's memory instead")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 5000], help="images for --memory (500 5000)")
    parser.add_argument("--variant", default="median", help="denoiser for --memory (median)")
    options = parser.parse_args()

    from galmorph.params import check, read_values

    params = check(read_values(PARAMS), str(PARAMS)).denoise
    versions = {name: importlib.metadata.version(name) for name in ("opencv-python-headless", "scikit-image")}
    print(f"parameters: {PARAMS.name}; {json.dumps(versions)}; {os.cpu_count()} cores")
    if options.memory:
        report_memory(options.counts, options.side, options.variant)
        return
    import cv2

    cv2.setNumThreads(1)
    images = galaxies(options.images, options.side)
    report_speed(images, params)
    report_scaling(images, params)


if __name__ == "__main__":
    main()
