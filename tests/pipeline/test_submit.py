"""The command that submits a pipeline, against a server that speaks KFP's API."""

import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

import kfp
import pytest
import yaml

from pipelines.submit import COMPILED, main, read
from tests.compiled import IMAGE, compile_small
from tests.kfp_server import Cluster, own_certificate, serving
from tests.project import REPOSITORY


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory, values):
    return compile_small(tmp_path_factory.mktemp("compiled") / "training.yaml", values)


@pytest.fixture
def cluster():
    with serving(Cluster()) as cluster:
        yield cluster


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def submit(pipeline, tmp_path, monkeypatch, capsys):
    """Run the command in this process; nothing of this machine's kfp is in its surroundings."""
    for name in [name for name in os.environ if name.startswith("KF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))

    def run(*options: str, host: str | None = None, given: str | None = "revision=v1") -> Done:
        at = [] if host is None else ["--host", host]
        needed = [] if given is None else ["--param", given]
        status = main([*at, "--pipeline", str(pipeline), *needed, *options])
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def start(pipeline, tmp_path):
    """Start the command as a process, as a user's shell does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KF_")}

    def run(host: str, *options: str) -> subprocess.Popen[str]:
        needed = ["--host", host, "--pipeline", str(pipeline), "--param", "revision=v1"]
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.submit", *needed, *options],
            cwd=REPOSITORY, env={**kept, "PYTHONPATH": "src", "HOME": str(tmp_path)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return run


def ended(process: subprocess.Popen[str]) -> Done:
    out, error = process.communicate(timeout=120)
    return Done(process.returncode, out, error)


def refused(done: Done) -> str:
    """What it said on its way out: one message of our own."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("submit: ")
    assert done.stderr.count("\n") == 1, "one line, and no stack trace"
    assert "Received: " in done.stderr or "unknown key" in done.stderr
    return done.stderr


class TestRun:
    def test_prints_where_the_run_is_and_sends_the_pipeline(self, start, cluster, pipeline):
        assert ended(start(cluster.url)) == Done(0, f"{cluster.url}/#/runs/details/r-1\n", "")
        (run,) = cluster.runs
        assert run["experiment_id"] == "e-0"
        assert run["pipeline_spec"]["root"] == yaml.safe_load(pipeline.read_text())["root"]
        assert run["runtime_config"]["parameters"] == {"revision": "v1"}

    def test_changes_values_of_sections_and_leaves_the_others(self, submit, cluster, values):
        changes = (
            "train.batch_size=8",
            "train.augmentation=null",
            "train.scratch.epochs=4",
            "gpus=1",
            "tune=true",
            "node_selector={disk: ssd}",
        )
        done = submit(*(part for change in changes for part in ("--param", change)), host=cluster.url)
        assert done.returncode == 0, done.stderr
        given = cluster.runs[0]["runtime_config"]["parameters"]
        assert set(given) == {"revision", "train", "gpus", "tune", "node_selector"}
        scratch = {**values["train"]["scratch"], "epochs": 4}
        # Nothing is carried as a word.
        assert given["train"] == {**values["train"], "batch_size": 8, "augmentation": "null", "scratch": scratch}
        assert (given["gpus"], given["tune"], given["node_selector"]) == (1, True, {"disk": "ssd"})

    def test_takes_host_and_page_from_the_environment(self, submit, cluster, monkeypatch):
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", cluster.url)
        monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example.org/_/pipeline")
        assert submit().stdout == "https://kubeflow.example.org/_/pipeline/#/runs/details/r-1\n"

    @pytest.mark.parametrize("compiled", sorted(COMPILED.glob("*.yaml")), ids=lambda path: path.stem)
    def test_the_projects_own_pipelines(self, submit, cluster, compiled):
        parameters = read(compiled)["root"]["inputDefinitions"]["parameters"]
        needed = [name for name, one in parameters.items() if "defaultValue" not in one and not one.get("isOptional")]
        given = [part for name in needed for part in ("--param", f"{name}=x")]
        done = submit("--pipeline", compiled.stem, *given, "--image", IMAGE, host=cluster.url, given=None)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(cluster.runs) == 1


class TestImage:
    def images(self, sent: dict) -> set[str]:
        whole = sent["pipeline_spec"]
        executors = whole.get("pipeline_spec", whole)["deploymentSpec"]["executors"]
        return {executor["container"]["image"] for executor in executors.values()}

    def test_what_a_pipeline_was_compiled_with_stays(self, submit, cluster):
        assert submit(host=cluster.url).returncode == 0
        assert self.images(cluster.runs[0]) == {IMAGE}

    def test_another_replaces_that_of_every_component_and_nothing_else(self, submit, cluster):
        done = submit("--pipeline", "prediction", "--image", "my.org/train@sha256:0", "--param", "model=m",
                      "--param", "images=i", host=cluster.url, given=None)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        sent = cluster.runs[0]["pipeline_spec"]
        assert self.images(cluster.runs[0]) == {"my.org/train@sha256:0"}
        kept = COMPILED.joinpath("prediction.yaml").read_text()
        whole, platform = yaml.safe_load_all(re.sub(r"(image: )\S+/train-cpu:\S+", r"\1my.org/train@sha256:0", kept))
        assert sent["pipeline_spec"] == whole
        assert sent["platform_spec"] == platform

    def test_it_comes_from_the_environment_too(self, submit, cluster, monkeypatch):
        monkeypatch.setenv("GALMORPH_IMAGE", "my.org/train@sha256:1")
        assert submit(host=cluster.url).returncode == 0
        assert self.images(cluster.runs[0]) == {"my.org/train@sha256:1"}

    def test_a_recurring_run_gets_it_too(self, submit, cluster):
        assert submit("--cron", "@daily", "--image", "my.org/train@sha256:2", host=cluster.url).returncode == 0
        assert self.images(cluster.recurring[0]) == {"my.org/train@sha256:2"}

    def test_one_that_nobody_can_pull_is_refused(self, submit, cluster):
        message = refused(submit("--pipeline", "training", host=cluster.url, given=None))
        assert "Give yours with --image" in message
        assert "Received: registry.example.org/galmorph/train-cpu:" in message
        assert cluster.requests == []


class TestParams:
    """A mistake is found before anything is sent."""

    @pytest.mark.parametrize(
        ("param", "message"),
        [
            ("train.batchsize=8", "train.batchsize: unknown key. Known here: augmentation, "),
            ("train.batch_size=many", "train.batch_size: Input should be a valid integer"),
            ("trian.batch_size=8", "has no parameter trian. Known: compare, experiments, gpus"),
            ("experiments.vit_raw.overrides.train.batch_sizes=1", "unknown key"),
            ("compare.reference=nobody", "compare.reference: must be `chosen` or one of experiments: baseline_cnn_raw"),
            ("gpus=one", "gpus: must be NUMBER_INTEGER"),
            ("gpus=true", "gpus: must be NUMBER_INTEGER"),
            ("train.batch_size", "--param takes section.key=value"),
            ("train={", "the value is not valid YAML"),
        ],
    )
    def test_is_refused(self, submit, cluster, param, message):
        assert message in refused(submit("--param", param, host=cluster.url))
        assert cluster.requests == []

    def test_a_parameter_without_default_must_be_given(self, submit, cluster):
        assert "needs --param revision=VALUE" in refused(submit(host=cluster.url, given=None))

    def test_text_stays_text(self, submit, cluster):
        submit("--param", "revision=012", host=cluster.url)
        assert cluster.runs[0]["runtime_config"]["parameters"] == {"revision": "012"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [(None, "--pipeline takes the path of a compiled pipeline"), ("a: 1", "not a pipeline"), ("a: [", "nor YAML")],
    )
    def test_a_pipeline_that_is_none(self, submit, cluster, tmp_path, content, message):
        if content:
            (tmp_path / "other.yaml").write_text(content)
        assert message in refused(submit("--pipeline", str(tmp_path / "other.yaml"), host=cluster.url))


class TestServer:
    @pytest.mark.parametrize("host", [None, "localhost:8080"])
    def test_no_host(self, submit, host):
        assert "give --host" in refused(submit(host=host))

    def test_a_host_that_does_not_answer(self, start):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        assert "cannot be reached" in refused(ended(start(f"http://127.0.0.1:{port}")))

    def test_a_host_that_nobody_knows(self, submit):
        assert "cannot be reached" in refused(submit(host="http://nobody.invalid"))

    def test_a_certificate_of_ones_own(self, submit, tmp_path):
        certificate = own_certificate(tmp_path / "own.pem")
        with serving(Cluster(), certificate) as cluster:
            message = refused(submit(host=cluster.url))
            assert "--ca-file" in message
            assert "certificate verify failed" in message
            assert submit("--ca-file", str(certificate), host=cluster.url).returncode == 0
            assert "no such file" in refused(submit("--ca-file", str(tmp_path / "none.pem"), host=cluster.url))

    def test_something_else_than_kfp(self, submit, cluster):
        cluster.kind = "other"
        assert "there is no KFP API" in refused(submit(host=cluster.url))

    def test_a_login_page(self, submit, cluster):
        cluster.kind = "login"
        assert "Behind a login page give --token-file" in refused(submit(host=cluster.url))

    def test_version_1(self, submit, cluster):
        cluster.kind, cluster.tag = "kfp1", "1.8.5"
        assert "version 1.8.5" in refused(submit(host=cluster.url))

    def test_an_older_version(self, submit, cluster):
        cluster.tag = "2.4.0"
        message = refused(submit(host=cluster.url))
        assert "compile again with kfp 2.4" in message
        assert cluster.runs == []

    @pytest.mark.parametrize("tag", ["2.17.0-rc.1", "3.0.0", "unknown"])
    def test_a_version_that_will_do(self, submit, cluster, tag):
        cluster.tag = tag
        assert submit(host=cluster.url).returncode == 0


class TestToken:
    @pytest.fixture
    def token(self, cluster, tmp_path):
        cluster.token = "s3cret"
        (tmp_path / "token").write_text("s3cret\n")
        return tmp_path / "token"

    def test_is_sent(self, submit, cluster, token):
        assert submit("--token-file", str(token), host=cluster.url).returncode == 0

    def test_of_a_service_account_is_sent(self, submit, cluster, token, monkeypatch):
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
        assert submit(host=cluster.url).returncode == 0

    def test_of_the_pod_is_sent(self, submit, cluster, token, monkeypatch):
        monkeypatch.setattr("pipelines.submit._POD_TOKEN", token)
        assert submit(host=cluster.url).returncode == 0

    def test_is_read_again_while_waiting(self, submit, cluster, token):
        """The kubelet renews it, and a run takes longer than it is valid."""

        def renew():
            cluster.token = f"renewed {len(cluster.requests)}"
            token.write_text(cluster.token)

        cluster.meanwhile = renew
        cluster.looks = [{"state": "RUNNING"}, {"state": "RUNNING"}, {"state": "SUCCEEDED"}]
        done = submit("--token-file", str(token), "--wait", "0.05", host=cluster.url)
        assert (done.returncode, done.stderr) == (0, "")

    def test_none(self, submit, cluster, token):
        message = refused(submit(host=cluster.url))
        assert "--token-file" in message
        assert "401" in message

    def test_a_wrong_one(self, submit, cluster, token):
        token.write_text("other")
        message = refused(submit("--token-file", str(token), host=cluster.url))
        assert "401" in message
        assert "other" not in message

    @pytest.mark.parametrize("content", [None, "\n"])
    def test_a_file_without(self, submit, cluster, tmp_path, content):
        if content:
            (tmp_path / "token").write_text(content)
        assert "must hold a bearer token" in refused(submit("--token-file", str(tmp_path / "token"), host=cluster.url))

    def test_may_not(self, submit, cluster):
        cluster.namespaces = ("mine",)
        message = refused(submit("--namespace", "theirs", host=cluster.url))
        assert "403" in message
        assert "namespace theirs" in message

    def test_a_namespace_is_needed_where_there_are_users(self, submit, cluster):
        cluster.namespaces = ("mine",)
        assert "--namespace" in refused(submit(host=cluster.url))
        assert submit("--namespace", "mine", host=cluster.url).returncode == 0


class TestExperiment:
    def test_unknown(self, submit, cluster):
        cluster.experiments["nightly"] = "e-1"
        message = refused(submit("--experiment", "nightyl", host=cluster.url))
        assert "one of: Default, nightly. Received: 'nightyl'" in message
        assert cluster.runs == []

    def test_known(self, submit, cluster):
        cluster.experiments["nightly"] = "e-1"
        assert submit("--experiment", "nightly", host=cluster.url).returncode == 0
        assert cluster.runs[0]["experiment_id"] == "e-1"

    def test_new(self, submit, cluster):
        done = submit("--experiment", "nightly", "--new-experiment", host=cluster.url)
        assert done.returncode == 0, done.stderr
        assert cluster.experiments["nightly"] == cluster.runs[0]["experiment_id"]


def task(name: str, state: str, message: str = "", inside: str | None = None) -> dict:
    error = {"code": 2, "message": message} if message else None
    return {"task_id": name, "display_name": name, "state": state, "error": error, "parent_task_id": inside}


class TestWait:
    def test_until_it_succeeded(self, submit, cluster):
        cluster.looks = [{"state": "PENDING"}, {"state": "RUNNING"}, {"state": "SUCCEEDED"}]
        done = submit("--wait", "0.05", host=cluster.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert cluster.requests.count("GET /apis/v2beta1/runs/r-1") == 3

    def test_a_failed_run_names_the_task_and_what_it_said(self, start, cluster):
        tasks = [
            task("root", "FAILED"),
            task("split", "SUCCEEDED", inside="root"),
            task("experiments", "FAILED", "a child failed", inside="root"),
            task("train", "FAILED", "galmorph: models/vit_raw: no images. Received: 0", inside="experiments"),
            task("validate", "FAILED", inside="root"),
        ]
        cluster.looks = [{"state": "FAILED", "run_details": {"task_details": tasks}}]
        done = ended(start(cluster.url, "--wait", "0.05"))
        assert done.returncode == 1
        assert f"{cluster.url}/#/runs/details/r-1: train: galmorph: models/vit_raw: no images." in done.stderr
        assert "validate: see its log there" in done.stderr
        assert "Received: FAILED" in done.stderr
        assert not any(text in done.stderr for text in ("root", "split", "a child failed"))

    def test_a_run_that_failed_as_a_whole(self, submit, cluster):
        cluster.looks = [{"state": "FAILED", "error": {"code": 3, "message": "the template is not valid"}}]
        assert "the template is not valid. Received: FAILED" in submit("--wait", "0.05", host=cluster.url).stderr

    def test_a_run_that_was_cancelled(self, submit, cluster):
        cluster.looks = [{"state": "RUNNING"}, {"state": "CANCELED"}]
        done = submit("--wait", "0.05", host=cluster.url)
        assert (done.returncode, "Received: CANCELED" in done.stderr) == (1, True)

    def test_outlasts_a_server_that_restarts(self, submit, cluster):
        cluster.hiccups = [503, 502, 503]
        assert submit("--wait", "0.05", host=cluster.url).returncode == 0

    def test_gives_up_on_one_that_does_not(self, submit, cluster):
        cluster.hiccups = [503] * 50
        done = submit("--wait", "0.05", host=cluster.url)
        assert done.returncode == 1
        assert "/runs/details/r-1 goes on, but" in done.stderr
        assert "503 try again" in done.stderr

    def test_an_interrupt_leaves_the_run(self, start, cluster):
        cluster.looks = [{"state": "RUNNING"}]
        waiting = start(cluster.url, "--wait", "0.05")
        cluster.meanwhile = lambda: waiting.send_signal(signal.SIGINT)
        done = ended(waiting)
        assert (done.returncode, done.stderr) == (130, "submit: interrupted; a run that was submitted goes on\n")


class TestCron:
    def test_makes_a_recurring_run(self, submit, cluster):
        done = submit("--cron", "0 0 3 * * *", "--param", "train.seed=5", host=cluster.url)
        assert (done.returncode, done.stdout) == (0, f"{cluster.url}/#/recurringrun/details/c-1\n")
        (recurring,) = cluster.recurring
        assert recurring["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
        assert (recurring["max_concurrency"], recurring["no_catchup"], recurring["mode"]) == (1, True, "ENABLE")
        assert recurring["runtime_config"]["parameters"]["train"]["seed"] == 5
        assert cluster.runs == []

    def test_makes_it_once(self, submit, cluster):
        assert submit("--cron", "@daily", host=cluster.url).returncode == 0
        assert "there already" in refused(submit("--cron", "@daily", host=cluster.url))
        assert len(cluster.recurring) == 1

    def test_five_fields_would_mean_something_else(self, submit, cluster):
        assert "six fields" in refused(submit("--cron", "0 3 * * *", host=cluster.url))

    def test_there_is_nothing_to_wait_for(self, submit, cluster):
        with pytest.raises(SystemExit) as stopped:
            submit("--cron", "@daily", "--wait", host=cluster.url)
        assert stopped.value.code == 2
