"""`galmorph predict` as people run it: killed, interrupted, run twice at once, beside the service."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from galmorph.edge.predicting_parts import work_folder
from tests.exported import cutout, export_small, png
from tests.predicted import run, started, write_cutouts
from tests.service import running

COUNT = 600
#: Small parts, so that an end falls between two of them.
SMALL = ["predict.part=20", "predict.batch=8", "predict.ahead=16"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("galaxies")
    write_cutouts(folder, COUNT)
    (folder / "00300_giH.png").write_bytes(png(cutout(300))[:700])
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, exported_model, images):
    """The table of a run in one piece, and what that said."""
    output = tmp_path_factory.mktemp("whole") / "out.parquet"
    status, out, err = run(exported_model, images, output, "--heat-maps", values=SMALL)
    assert status == 0, err
    return output, out, err


def until_parts(process, output, count):
    """Wait until so many parts are there, and return their times."""
    deadline = time.monotonic() + 120
    while len(parts := sorted(work_folder(output).glob("part-*.parquet"))) < count:
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return parts


def times(parts):
    return {part.name: part.stat().st_mtime_ns for part in parts}


def results(output):
    """Every result beside a table, by name; Parquet and CSV are written the same from the same rows."""
    return {path.name: path.read_bytes() for path in output.parent.iterdir()}


def test_a_run_says_what_it_did(whole):
    output, out, err = whole
    table = pd.read_parquet(output)
    assert table["CATAID"].tolist() == [f"{number:05d}" for number in range(COUNT) if number != 300]
    near = int(table["near_threshold"].sum())
    assert f"599 galaxies answered: {(table['label'] == 'Elliptical').sum():,} Elliptical" in out
    assert f"{near:,} of them near the threshold" in out
    assert f"1 rows and files without an answer ({output.parent}/out.rejected.csv)" in out
    # Plain lines, and how fast: there is no terminal here.
    assert "600/600" in err
    assert "images/s" in err
    assert "\r" not in err


def test_killed_outright_and_run_again_equals_a_run_in_one_piece(whole, images, exported_model, tmp_path):
    output = tmp_path / "out.parquet"
    before = {}
    for parts in (3, 12):
        process = started(
            exported_model, images, output, "--heat-maps", values=SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        kept = until_parts(process, output, parts)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert before.items() <= times(kept).items(), "what was finished was made again"
        before = times(kept)
        assert not output.exists()
    half = work_folder(output) / ".part-000029.k1lled.partial.parquet"
    half.write_bytes(b"PAR1 half a part")

    status, _, err = run(exported_model, images, output, "--heat-maps", values=SMALL)
    assert status == 0, err
    assert "parts are there from an interrupted run; going on" in err
    assert results(output) == results(whole[0])


@pytest.mark.parametrize("change", ["model", "catalogue", "images", "options"])
def test_the_parts_of_other_work_are_not_taken_up(change, images, exported_model, params, tmp_path):
    folder = tmp_path / "galaxies"
    folder.mkdir()
    for path in list(images.iterdir())[:100]:
        os.link(path, folder / path.name)
    output = tmp_path / "results/out.parquet"
    process = started(exported_model, folder, output, values=SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_parts(process, output, 2)
    process.kill()
    process.communicate()

    model, options = exported_model, []
    if change == "model":
        model = export_small(tmp_path / "other", params, version=2)
    elif change == "catalogue":
        names = sorted(path.name[:5] for path in folder.iterdir())
        (tmp_path / "mine.csv").write_text("CATAID\n" + "\n".join(reversed(names)) + "\n")
        options = ["--catalogue", str(tmp_path / "mine.csv")]
    elif change == "images":
        path = min(folder.iterdir())
        path.unlink()
        path.write_bytes(png(cutout(1234)))
    else:
        options = ["--shard", "1/2"]
    status, _, err = run(model, folder, output, *options, values=SMALL)
    assert status == 0, err
    assert "going on" not in err
    fresh = tmp_path / "fresh/out.parquet"
    assert run(model, folder, fresh, *options, values=SMALL)[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(output), pd.read_parquet(fresh))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_tidily_and_goes_on(number, whole, images, exported_model, tmp_path):
    output = tmp_path / "out.parquet"
    process = started(
        exported_model, images, output, "--heat-maps", values=SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until_parts(process, output, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; what was finished is kept" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [work_folder(output).name]
    assert not list(work_folder(output).glob(".*"))
    assert run(exported_model, images, output, "--heat-maps", values=SMALL)[0] == 0
    assert results(output) == results(whole[0])


def test_a_second_run_into_the_same_table_is_refused(images, exported_model, tmp_path):
    output = tmp_path / "out.parquet"
    first = started(exported_model, images, output, values=SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_parts(first, output, 1)
    first.send_signal(signal.SIGSTOP)  # so that it is still at it
    try:
        status, _, err = run(exported_model, images, output, values=SMALL)
    finally:
        first.send_signal(signal.SIGCONT)
    assert status == 1
    assert "another process is writing it" in err
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert len(pd.read_parquet(output)) == COUNT - 1


def test_it_agrees_with_the_service(whole, exported_model, tmp_path):
    table = pd.read_parquet(whole[0]).set_index("CATAID")
    with running(tmp_path / "service", str(exported_model), {"precision": "f32", "threads": 1}) as service:
        service.until_ready()
        for number in (0, 41, 599):
            sent = {"images": ("a.png", png(cutout(number, 48)))}
            answer = service.client.post("/v1/predictions", files=sent).json()["predictions"][0]["answer"]
            row = table.loc[f"{number:05d}"]
            assert row["p_elliptical"] == pytest.approx(answer["p_elliptical"], abs=1e-6)
            assert (row["label"], row["near_threshold"]) == (answer["label"], answer["near_threshold"])


def test_shards_are_merged_on_the_command_line(whole, images, exported_model, tmp_path):
    parts = [tmp_path / f"{i}.parquet" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        status, _, err = run(exported_model, images, part, "--shard", f"{i}/2", values=SMALL)
        assert status == 0, err
    output = tmp_path / "all.parquet"
    command = [sys.executable, "-m", "galmorph", "predict", "--merge", *parts, "--output", output]
    done = subprocess.run([*command, "--export", tmp_path / "all.fits"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "all.fits").exists()
    found = pd.read_parquet(output).sort_values("CATAID", ignore_index=True)
    pd.testing.assert_frame_equal(found, pd.read_parquet(whole[0]), rtol=1e-5)

    parts[1].unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2.parquet: not a table of `galmorph predict`" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "0/3"], "--shard: takes i/n with i from 1 to n. Received: 0/3"),
        (["--shard", "4/3"], "--shard: takes i/n with i from 1 to n. Received: 4/3"),
        (["--pattern", "galaxy.png"], "patterns: Value error, each of patterns must hold {CATAID} once"),
        (["--set", "predict.batch=0"], "predict.batch: Input should be greater than 0"),
        (["--set", "predict.speed=9"], "predict.speed: unknown key. Known here: ahead, batch, decoders, part"),
    ],
)
def test_a_wrong_option_is_told_before_the_work(options, message, images, exported_model, tmp_path):
    status, _, err = run(exported_model, images, tmp_path / "out.parquet", *options)
    assert status == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def peak(process):
    """Bytes of the largest resident set of a process."""
    most = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            most = max(most, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    return most


@pytest.mark.slow
def test_memory_is_flat(images, exported_model, tmp_path):
    """A hundred times the images, and no more memory than their names and ids need: some 300 bytes each."""
    found = {}
    for count in (1_000, 100_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            os.link(images / f"{number % 300:05d}_giH.png", folder / f"{number:06d}_giH.png")
        process = started(
            exported_model, folder, tmp_path / f"{count}.parquet", values=["predict.part=1000"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        found[count] = peak(process)
        assert process.returncode == 0
        assert len(pd.read_parquet(tmp_path / f"{count}.parquet")) == count
    # What 99,000 images add. Prepared they would be 170 MB, and their files 480 MB.
    assert found[100_000] - found[1_000] < 99_000 * 400, found


def test_the_serving_install_has_all_it_needs():
    """Neither TensorFlow nor the whole of MLflow is imported on the way."""
    script = (
        "import sys, galmorph.edge.predicting;"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'sqlalchemy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
