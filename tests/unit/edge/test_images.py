import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from galmorph.data.dataset import prepare
from galmorph.edge import images as images_module
from galmorph.edge.images import cache_for, prepared_images, remove_cache
from galmorph.edge.memory import free_memory
from galmorph.errors import ImageError, InputError, StorageError
from galmorph.params import PreprocessParams
from galmorph.storage import image_path, write_image

PARAMS = PreprocessParams(crop=0.8, image_size=16)
CATAIDS = [f"{number:03d}" for number in range(12)]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "2")


@pytest.fixture
def folder(tmp_path):
    """A dozen images of noise."""
    rng = np.random.default_rng(1)
    for cataid in CATAIDS:
        write_image(image_path(tmp_path / "images", cataid), rng.integers(0, 256, (40, 44, 3), np.uint8))
    return tmp_path / "images"


def read(folder, **changes) -> np.ndarray:
    return prepared_images(folder, CATAIDS, **{"params": PARAMS, "description": "reading", **changes})


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_images_are_prepared_in_order(folder):
    from galmorph.storage import read_image

    images = read(folder)
    assert (images.shape, images.dtype) == ((12, 16, 16, 3), np.uint8)
    for cataid, image in zip(CATAIDS, images, strict=True):
        np.testing.assert_array_equal(image, prepare(read_image(image_path(folder, cataid)), PARAMS))


@pytest.mark.parametrize("context", [1.0, 1.5])
@pytest.mark.parametrize("fill", ["nearest", "black"])
def test_a_cache_holds_the_same(folder, tmp_path, context, fill):
    in_memory = read(folder, context=context, fill=fill)
    cached = read(folder, context=context, fill=fill, cache=tmp_path / "work")
    assert isinstance(cached, np.memmap)
    assert not cached.flags.writeable
    np.testing.assert_array_equal(cached, in_memory)
    assert in_memory.shape[1] == 16 * context
    (name,) = files(tmp_path / "work")
    np.testing.assert_array_equal(np.load(tmp_path / "work" / name), in_memory)


def test_a_whole_cache_is_taken_as_it_is_and_another_s_is_not(folder, tmp_path):
    read(folder, cache=tmp_path / "work")
    (file,) = (tmp_path / "work").iterdir()
    written = file.stat().st_mtime_ns
    read(folder, cache=tmp_path / "work")
    assert file.stat().st_mtime_ns == written
    for changes in ({"context": 1.5}, {"fill": "nearest"}, {"params": PreprocessParams(crop=0.7, image_size=16)}):
        np.testing.assert_array_equal(read(folder, cache=tmp_path / "work", **changes), read(folder, **changes))
    assert len(files(tmp_path / "work")) == 4


def test_a_changed_image_is_read_again(folder, tmp_path):
    read(folder, cache=tmp_path / "work")
    write_image(image_path(folder, CATAIDS[3]), np.full((40, 44, 3), 9, np.uint8))
    assert (read(folder, cache=tmp_path / "work")[3] == 9).all()


def test_a_broken_image_leaves_no_cache(folder, tmp_path):
    image_path(folder, CATAIDS[7]).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"007\.png"):
        read(folder, cache=tmp_path / "work")
    assert files(tmp_path / "work") == []
    image_path(folder, CATAIDS[7]).unlink()
    with pytest.raises(InputError, match=r"007\.png"):
        read(folder, cache=tmp_path / "work")


def test_no_galaxies_no_cache(tmp_path):
    assert prepared_images(tmp_path, [], PARAMS, "reading", cache=tmp_path / "work").shape == (0, 16, 16, 3)
    assert prepared_images(tmp_path, [], PARAMS, "reading").shape == (0, 16, 16, 3)


READER = """
import sys, time
from pathlib import Path
from galmorph.edge import images
from galmorph.params import PreprocessParams

read = images.read_image
images.read_image = lambda path: (time.sleep(0.2), read(path))[1]
images._AHEAD = 2
cataids = [f"{number:03d}" for number in range(12)]
images.prepared_images(Path(sys.argv[1]), cataids, PreprocessParams(crop=0.8, image_size=16), "reading",
                       cache=Path(sys.argv[2]))
"""


def test_a_killed_decode_is_not_taken_for_whole(folder, tmp_path):
    work = tmp_path / "work"
    child = subprocess.Popen([sys.executable, "-c", READER, str(folder), str(work)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not files(work) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        assert child.poll() is None
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    (half_written,) = files(work)
    assert half_written.startswith(".images-")
    np.testing.assert_array_equal(read(folder, cache=work), read(folder))
    (whole,) = files(work)
    assert whole.startswith("images-")


def test_a_full_disk_is_named(folder, tmp_path, monkeypatch):
    written = []

    def full(paths, *arguments, **named):
        for image in in_threads(paths, *arguments, **named):
            if len(written) == 5:
                raise OSError(errno.ENOSPC, "No space left on device")
            written.append(1)
            yield image

    in_threads = images_module._in_threads
    monkeypatch.setattr(images_module, "_in_threads", full)
    with pytest.raises(StorageError, match="no space left"):
        read(folder, cache=tmp_path / "work")
    assert files(tmp_path / "work") == []


def test_a_write_that_fails_is_an_error_and_no_crash(folder, tmp_path):
    """Through a memory map a full disk would end the process with a bus error."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    command = [sys.executable, "-c", limit + READER.replace("sleep(0.2)", "sleep(0)"), str(folder), str(tmp_path / "w")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert files(tmp_path / "w") == []


def test_removing_a_cache_removes_nothing_else(folder, tmp_path):
    work = tmp_path / "work"
    images = read(folder, cache=work)
    (work / ".images-0123.abc.partial.npy").write_bytes(b"half")
    (work / "model.keras").write_bytes(b"model")
    remove_cache(work)
    assert files(work) == ["model.keras"]
    assert images[11].any()  # who still has it can read on
    remove_cache(tmp_path / "never")


def test_images_that_fit_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("galmorph.edge.images.free_memory", lambda: 1000 * 24 * 24 * 3)
    arguments = {"params": PARAMS, "context": 1.5, "memory_share": 0.5}
    assert cache_for(tmp_path, 500, **arguments) is None
    assert cache_for(tmp_path, 501, **arguments) == tmp_path
    assert cache_for(tmp_path, 501, **{**arguments, "context": 1.0}) is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_counts(tmp_path, version):
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}[version]
    place = tmp_path / "memory" if version == 1 else tmp_path
    place.mkdir(exist_ok=True)
    (place / "memory.stat").write_text("anon 100\ninactive_file 3000000\nactive_file 5\n")
    (place / names[0]).write_text("20000000\n")
    (place / names[1]).write_text("8000000\n")
    assert free_memory(tmp_path) == 15_000_000
    (place / names[1]).write_text("30000000\n")
    assert free_memory(tmp_path) == 0
    (place / names[0]).write_text("max\n" if version == 2 else "9223372036854771712\n")
    assert free_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)
