"""What is served of a training: its numbers, where they are asked for, and never at the cost of the training."""

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from galmorph.edge import training_metrics
from galmorph.edge.training_metrics import PORT, TrainingMonitor, served

ROW = {"loss": 0.4, "accuracy": 0.8, "val_loss": 0.5, "val_accuracy": 0.7, "learning_rate": 0.001}


def sample(monitor: TrainingMonitor, name: str, **labels: str) -> float | None:
    return monitor.registry.get_sample_value(f"galmorph_{name}", labels)


@pytest.fixture
def port():
    """One that nobody listens on."""
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]


def test_a_resumed_training_counts_from_where_it_is_and_one_phase_is_under_way():
    monitor = TrainingMonitor()
    monitor.learned("a", "frozen", 16)
    monitor.learned("a", "frozen", 4)
    monitor.epoch_done("a", {"epoch": 7, "phase": "frozen", **ROW}, planned=20, best_epoch=6, seconds=3.5)
    monitor.learned("a", "finetune", 16)
    monitor.learned("b", "scratch", 5)
    assert sample(monitor, "training_images_total", experiment="a") == 36
    assert sample(monitor, "training_phase", experiment="a", phase="frozen") == 0
    assert sample(monitor, "training_phase", experiment="a", phase="finetune") == 1
    assert sample(monitor, "training_phase", experiment="b", phase="scratch") == 1
    assert sample(monitor, "training_epoch", experiment="a") == 7
    assert sample(monitor, "training_epochs_planned", experiment="a") == 20
    assert sample(monitor, "training_best_epoch", experiment="a") == 6
    assert sample(monitor, "training_epoch_seconds", experiment="a") == 3.5
    assert sample(monitor, "training_loss", experiment="a", split="train") == 0.4
    assert sample(monitor, "training_loss", experiment="a", split="validation") == 0.5
    assert sample(monitor, "training_accuracy", experiment="a", split="validation") == 0.7
    assert sample(monitor, "training_checkpoint_timestamp_seconds", experiment="a") is None


def test_what_has_not_happened_is_not_there():
    assert [each for family in TrainingMonitor().registry.collect() for each in family.samples] == []


def test_a_study_without_a_complete_trial_has_no_best_value():
    monitor = TrainingMonitor()
    monitor.studied("s", {"fail": 1, "complete": 0}, "loss", None)
    assert sample(monitor, "tuning_best_value", study="s", metric="loss") is None
    monitor.studied("s", {"fail": 1, "complete": 1}, "loss", 0.25)
    assert sample(monitor, "tuning_best_value", study="s", metric="loss") == 0.25
    assert sample(monitor, "tuning_trials", study="s", state="fail") == 1


def test_it_is_served_while_the_block_runs_and_the_port_is_free_after_it(port, monkeypatch):
    monkeypatch.setenv(PORT, str(port))
    for images in (3, 5):  # the second finds the port free again
        with served() as monitor:
            monitor.learned("a", "scratch", images)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        found = {each.name: each.value for family in text_string_to_metric_families(text) for each in family.samples}
        assert found["galmorph_training_images_total"] == images
    with socket.socket() as closed:
        assert closed.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("value", ["", "  ", None])
def test_nothing_is_served_unless_it_is_asked_for(value, monkeypatch):
    monkeypatch.delenv(PORT, raising=False)
    if value is not None:
        monkeypatch.setenv(PORT, value)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(training_metrics, "start_http_server", refuse)
    with served() as monitor:
        monitor.learned("a", "scratch", 1)


@pytest.mark.parametrize("value", ["a port", "70000", "-1"])
def test_a_value_that_is_no_port_is_a_warning(value, monkeypatch, caplog):
    monkeypatch.setenv(PORT, value)
    with served() as monitor:
        monitor.learned("a", "scratch", 1)
    assert f"Received: '{value}'" in caplog.text


def test_a_busy_port_is_a_warning_and_the_block_runs(monkeypatch, caplog):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setenv(PORT, str(taken.getsockname()[1]))
        with served() as monitor:
            monitor.kept("a")
    assert "training goes on without" in caplog.text
    assert sample(monitor, "training_checkpoint_timestamp_seconds", experiment="a")


def test_an_error_of_the_block_is_not_taken_for_one_of_the_port(port, monkeypatch):
    monkeypatch.setenv(PORT, str(port))
    with pytest.raises(OSError, match="no space"), served():
        raise OSError("no space")
