"""Promotion and rollback, on versions in a real store."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from galmorph import cli, registry, storage
from galmorph.edge import promoting
from galmorph.edge.evidence import ABOUT, FOLDER, SCORED_FILE
from galmorph.edge.promoting import Asked, promote, rollback
from galmorph.errors import PromotionError, TrackingError
from galmorph.params import PromoteParams, merged
from tests import registered

MODEL, ALIAS = "galmorph", "champion"
#: The versions of the fixture: right about all, and wrong about most ellipticals.
GOOD, BAD = 1, 2


@pytest.fixture(scope="module")
def store(tmp_path_factory, params):
    """The working folder of a store with the two versions; no champion."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("promoting")
        patch.setenv("GALMORPH_WORKERS", "1")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        registered.project(folder, params)
        for version, shift in ((GOOD, 0.0), (BAD, 6.5)):
            registered.retrain(folder, shift=shift)
            registered.evaluate(folder, params)
            assert registered.register(folder, params)["version"] == version
        yield folder
        mlflow.set_tracking_uri(before)


@pytest.fixture
def client(store):
    """A client of the store without a champion or a history of any."""
    client = MlflowClient()
    yield client
    if ALIAS in client.get_registered_model(MODEL).aliases:
        client.delete_registered_model_alias(MODEL, ALIAS)
    for tag in client.get_registered_model(MODEL).tags:
        client.delete_registered_model_tag(MODEL, tag)


@pytest.fixture(scope="module")
def gate(params):
    """That of params.yaml; what the models here look at does not matter."""
    values = {"slices": {"max_gap": 1.0}, "max_calibration_error": 0.5, "min_accuracy": 0.2}
    return PromoteParams.model_validate(merged(params.promote.model_dump(), values))


def ask(gate, version, **changes):
    values = {"model": MODEL, "number": version, "alias": "challenger", "forced": "", "dry_run": False}
    return promote(Asked(**{**values, **changes}), gate, 32)


def champion(client):
    found = client.get_registered_model(MODEL).aliases.get(ALIAS)
    return None if found is None else int(found)


def history(client):
    return client.get_registered_model(MODEL).tags.get("champion_history")


def copied(client, version=GOOD):
    """Another version of the same model."""
    one = client.get_model_version(MODEL, str(version))
    return int(client.create_model_version(MODEL, one.source, one.run_id, tags=one.tags).version)


def artifact(client, version, name, folder=FOLDER):
    run = client.get_model_version(MODEL, str(version)).run_id
    return Path(mlflow.artifacts.download_artifacts(run_id=run, artifact_path=f"{folder}/{name}"))


@pytest.fixture
def changed(client, tmp_path):
    """Put another file among a version's artifacts for the length of a test."""
    undo = []

    def change(version, name, content, folder=FOLDER):
        run = client.get_model_version(MODEL, str(version)).run_id
        kept = tmp_path / f"kept{len(undo)}" / name
        kept.parent.mkdir()
        kept.write_bytes(artifact(client, version, name, folder).read_bytes())
        undo.append((run, kept, folder))
        (tmp_path / name).write_bytes(content)
        client.log_artifact(run, str(tmp_path / name), folder)

    yield change
    for run, kept, folder in undo:
        client.log_artifact(run, str(kept), folder)


class TestPromote:
    def test_the_first_champion(self, client, gate):
        outcome = ask(gate, GOOD)
        assert outcome.promoted
        assert "there is no champion yet" in outcome.text
        assert (champion(client), history(client)) == (GOOD, "1")
        tags = client.get_model_version(MODEL, str(GOOD)).tags
        assert (tags["promotion"], tags["promoted_over"]) == ("promoted", "nobody")
        assert tags["gate_accuracy"].startswith("passed: 1.000 on 120 test galaxies")
        assert "promotion_forced" not in tags

    def test_a_champion_is_left_alone(self, client, gate):
        ask(gate, GOOD)
        assert "is the champion already" in ask(gate, GOOD).text
        assert history(client) == "1"

    def test_a_worse_one_is_refused_and_every_reason_is_kept(self, client, gate):
        ask(gate, GOOD)
        outcome = ask(gate, None)  # by the alias that register gave it
        assert not outcome.promoted
        assert (champion(client), history(client)) == (GOOD, "1")
        assert "FAILED  champion      against version 1 on 120 of 120 galaxies (120 by stored answers" in outcome.text
        assert "significantly worse" in outcome.text
        version = client.get_model_version(MODEL, str(BAD))
        assert version.tags["promotion"] == "refused"
        assert version.tags["gate_champion"].startswith("failed: against version 1")
        (item,) = client.list_artifacts(version.run_id, f"{FOLDER}/decisions")
        kept = storage.read_json(artifact(client, BAD, item.path.removeprefix(f"{FOLDER}/")))
        assert (kept["gate"], kept["promoted"], kept["champion"]) == ("refused", False, GOOD)
        assert len(kept["reasons"]) == 7
        assert all(reason["text"] in outcome.text for reason in kept["reasons"])

    def test_a_dry_run_says_it_and_changes_nothing(self, client, gate):
        before = client.get_model_version(MODEL, str(GOOD)).tags
        outcome = ask(gate, GOOD, dry_run=True)
        assert outcome.promoted
        assert "version 1 would be the champion" in outcome.text
        assert (champion(client), history(client)) == (None, None)
        assert client.get_model_version(MODEL, str(GOOD)).tags == before

    @pytest.mark.parametrize(
        ("folder", "name"),
        [("evaluation", "metrics.json"), ("explanations", "faithfulness.json"), ("robustness", "metrics.json")],
    )
    def test_a_report_of_another_model_stands_in_the_way(self, client, gate, changed, folder, name):
        report = storage.read_json(artifact(client, GOOD, name, folder))
        changed(GOOD, name, json.dumps({**report, "model_digest": "0" * 64}).encode(), folder)
        outcome = ask(gate, GOOD, dry_run=True)
        assert not outcome.promoted
        assert f"{folder}/{name} is of another model. Register the model again." in outcome.text

    @pytest.mark.parametrize("change", [("export", None), ("export_digest", None), ("export_made_of", "unfinished")])
    def test_a_version_that_no_service_could_answer_with_stands_in_its_own_way(self, client, gate, change):
        version, (name, value) = str(copied(client)), change
        assert ask(gate, int(version), dry_run=True).promoted
        client.delete_model_version_tag(MODEL, version, name)
        if value is not None:
            client.set_model_version_tag(MODEL, version, name, value)
        outcome = ask(gate, int(version), dry_run=True)
        assert not outcome.promoted
        assert (
            "FAILED  report        its exported model is missing, so no service could answer with it." in outcome.text
        )

    def test_by_force_and_with_the_reason_on_record(self, client, gate):
        ask(gate, GOOD)
        outcome = ask(gate, BAD, forced="the good one is on holiday")
        assert outcome.promoted
        assert "by force: the good one is on holiday" in outcome.text
        assert (champion(client), history(client)) == (BAD, "1 2")
        tags = client.get_model_version(MODEL, str(BAD)).tags
        assert (tags["promotion"], tags["promotion_forced"]) == ("forced", "the good one is on holiday")
        assert tags["promoted_over"] == "1"

    @pytest.mark.parametrize(("number", "alias"), [(77, ""), (None, "nobody")])
    def test_no_such_version(self, client, gate, number, alias):
        with pytest.raises(PromotionError, match="there is no such version"):
            ask(gate, number, alias=alias)

    def test_no_such_model(self, client, gate):
        with pytest.raises((PromotionError, TrackingError), match="nothing"):
            ask(gate, GOOD, model="nothing")


class TestAgainstTheChampion:
    """Where the champion's answers come from."""

    def test_what_it_has_not_answered_it_is_asked_now(self, client, gate, changed, tmp_path):
        ask(gate, GOOD)
        stored = storage.read_table(artifact(client, GOOD, SCORED_FILE))
        storage.write_table(tmp_path / "half.parquet", stored.head(70))
        changed(GOOD, SCORED_FILE, (tmp_path / "half.parquet").read_bytes())
        text = ask(gate, BAD, dry_run=True).text
        assert "on 120 of 120 galaxies (70 by stored answers, 50 asked now)" in text
        # It answers as it did when it was scored.
        assert _counts(text) == (_wrong(client, BAD), 0)

    def test_without_their_images_galaxies_are_left_out(self, client, gate, changed, tmp_path, monkeypatch):
        ask(gate, GOOD)
        stored = storage.read_table(artifact(client, GOOD, SCORED_FILE))
        storage.write_table(tmp_path / "few.parquet", stored.head(49))
        changed(GOOD, SCORED_FILE, (tmp_path / "few.parquet").read_bytes())
        monkeypatch.setattr(promoting, "RAW_IMAGES", tmp_path / "nowhere")
        text = ask(gate, BAD, dry_run=True).text
        assert "on 49 of 120 galaxies" in text
        assert "71 left out without an image" in text
        assert "too few to tell whether it is worse; 50 are needed" in text

    def test_an_image_that_is_another_one_now_is_not_asked_about(self, client, gate, changed, tmp_path, store):
        ask(gate, GOOD)
        stored = storage.read_table(artifact(client, GOOD, SCORED_FILE))
        storage.write_table(tmp_path / "but two.parquet", stored.iloc[2:])
        changed(GOOD, SCORED_FILE, (tmp_path / "but two.parquet").read_bytes())
        image = storage.image_path(promoting.RAW_IMAGES, stored["CATAID"].iloc[0])
        before = image.read_bytes()
        image.write_bytes(before + b"\0")
        try:
            text = ask(gate, BAD, dry_run=True).text
        finally:
            image.write_bytes(before)
        assert "on 119 of 120 galaxies (118 by stored answers, 1 asked now, 1 left out without an image" in text

    def test_evidence_of_another_model_is_no_evidence(self, client, gate, changed):
        ask(gate, GOOD)
        about = storage.read_json(artifact(client, GOOD, ABOUT))
        changed(GOOD, ABOUT, json.dumps({**about, "model_digest": "0" * 64}).encode())
        text = ask(gate, BAD, dry_run=True).text
        assert "against version 1: of the champion, what its run keeps in promotion/ is of another model" in text

    def test_a_version_without_evidence_cannot_be_compared(self, client, gate):
        ask(gate, GOOD)
        with mlflow.start_run() as run:
            pass
        source = client.get_model_version(MODEL, str(GOOD)).source
        bare = int(client.create_model_version(MODEL, source, run.info.run_id).version)
        text = ask(gate, bare, dry_run=True).text
        assert "of the candidate, it does not say what it was trained on" in text
        assert "evaluation/metrics.json is missing" in text
        assert "does not say which data it was trained on" in text


def _counts(text):
    found = re.search(r"the champion alone is right on ([\d,]+), the candidate alone on ([\d,]+);", text)
    return tuple(int(number.replace(",", "")) for number in found.groups())


def _wrong(client, version):
    scored = storage.read_table(artifact(client, version, SCORED_FILE))
    return int((scored["label"] != scored["predicted"]).sum())


class TestRollback:
    def test_back_step_by_step_along_what_was_recorded(self, client, gate):
        for version in (GOOD, BAD, GOOD):
            ask(gate, version, forced="a test")
        assert history(client) == "1 2 1"
        assert "version 2 of galmorph (small) is the champion again in the place of version 1" in rollback(
            MODEL, ALIAS, "it was too slow"
        )
        tags = client.get_model_version(MODEL, str(GOOD)).tags
        assert (tags["promotion"], tags["rolled_back_reason"]) == ("rolled back", "it was too slow")
        rollback(MODEL, ALIAS, "")
        assert (champion(client), history(client)) == (GOOD, "1")
        with pytest.raises(PromotionError, match=r"no earlier champion is recorded.*champion is version 1"):
            rollback(MODEL, ALIAS, "")
        assert champion(client) == GOOD

    def test_what_came_back_is_promoted_with_clean_tags(self, client, gate):
        for version in (GOOD, BAD):
            ask(gate, version, forced="a test")
        rollback(MODEL, ALIAS, "")
        assert "rolled_back_at" in client.get_model_version(MODEL, str(BAD)).tags
        ask(gate, BAD)  # refused this time
        tags = client.get_model_version(MODEL, str(BAD)).tags
        assert tags["promotion"] == "refused"
        assert not {"rolled_back_at", "promotion_forced", "promoted_over"} & tags.keys()

    def test_who_was_made_champion_by_hand_is_not_forgotten(self, client, gate):
        ask(gate, GOOD)
        client.set_registered_model_alias(MODEL, ALIAS, str(BAD))
        third = copied(client)
        ask(gate, third, forced="a test")
        assert history(client) == f"1 2 {third}"
        rollback(MODEL, ALIAS, "")
        assert champion(client) == BAD
        rollback(MODEL, ALIAS, "")
        assert champion(client) == GOOD

    def test_a_champion_that_was_taken_away_comes_back(self, client, gate):
        ask(gate, GOOD)
        client.delete_registered_model_alias(MODEL, ALIAS)
        assert rollback(MODEL, ALIAS, "").endswith("is the champion again")
        assert (champion(client), history(client)) == (GOOD, "1")

    def test_one_that_is_gone_is_an_error_and_nothing_moves(self, client, gate):
        gone = copied(client)
        ask(gate, gone, forced="a test")
        ask(gate, GOOD, forced="a test")
        client.delete_model_version(MODEL, str(gone))
        with pytest.raises(PromotionError, match=f"no such version.*Received: version {gone}"):
            rollback(MODEL, ALIAS, "")
        assert champion(client) == GOOD

    @pytest.mark.parametrize("cut_in", ["promote", "rollback"])
    def test_a_move_that_was_cut_short_leads_back_to_no_bad_one(self, client, gate, monkeypatch, cut_in):
        """Between the two writes, whichever comes first: to the alias and to its history."""
        ask(gate, GOOD)
        if cut_in == "rollback":
            ask(gate, BAD, forced="a test")
        tag, alias, written = MlflowClient.set_registered_model_tag, MlflowClient.set_registered_model_alias, []

        def once(write):
            def cut(self, name, key, value):
                if not key.endswith("_claim"):
                    if written:
                        raise KeyboardInterrupt
                    written.append(key)
                write(self, name, key, value)

            return cut

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(MlflowClient, "set_registered_model_tag", once(tag))
            patch.setattr(MlflowClient, "set_registered_model_alias", once(alias))
            rollback(MODEL, ALIAS, "") if cut_in == "rollback" else ask(gate, BAD, forced="a test")
        assert len(written) == 1
        rollback(MODEL, ALIAS, "")
        assert (champion(client), history(client)) == (GOOD, "1")

    def test_nobody_ever_was_champion(self, client):
        with pytest.raises(PromotionError, match="no earlier champion is recorded"):
            rollback(MODEL, ALIAS, "")


class TestAtTheSameTime:
    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_on_two_hosts_one_finds_the_other(self, client, gate, monkeypatch, moment):
        """The other host does its part between this one's claim and its move, or after the move."""
        ask(gate, GOOD)
        third = copied(client)
        own = MlflowClient.set_registered_model_alias if moment == "after" else MlflowClient.set_registered_model_tag

        def with_the_other(self, name, key, value):
            own(self, name, key, value)
            if key in (ALIAS, f"{ALIAS}_claim") and value != "the other's":
                own_tag(self, name, f"{ALIAS}_claim", "the other's")
                own_alias(self, name, ALIAS, str(third))

        own_tag, own_alias = MlflowClient.set_registered_model_tag, MlflowClient.set_registered_model_alias
        monkeypatch.setattr(MlflowClient, own.__name__, with_the_other)
        with pytest.raises(PromotionError, match=f"someone else moved the alias champion.*champion is version {third}"):
            ask(gate, BAD, forced="a test")
        assert champion(client) == third, "the other's, untouched"
        assert client.get_model_version(MODEL, str(BAD)).tags["promotion"] == "promoting", "and never promoted"

    def test_on_one_host_they_take_turns(self, client, store, repository):
        """Two commands at once, each of its own process: both are done, one after the other."""
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}"}
        environment["PYTHONPATH"] = str(repository / "src")
        commands = [
            [
                *(sys.executable, "-m", "galmorph", "promote", "--params", str(repository / "params.yaml")),
                *("--version", str(version), "--force", "--reason", f"the test's version {version}"),
            ]
            for version in (GOOD, BAD)
        ]
        running = [
            subprocess.Popen(
                command, cwd=store, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for command in commands
        ]
        said = [process.communicate(timeout=120)[0] for process in running]
        assert [process.returncode for process in running] == [0, 0], said
        assert history(client) in ("1 2", "2 1")
        assert history(client).split()[-1] == str(champion(client))
        last = client.get_model_version(MODEL, str(champion(client)))
        assert last.tags["promoted_over"] == history(client).split()[0], "it knew of the first"


class TestCommand:
    @pytest.fixture
    def command(self, client, repository, capsys):
        def run(*arguments):
            code = cli.main([*arguments, "--params", str(repository / "params.yaml")])
            said = capsys.readouterr()
            return code, said.out, said.err

        return run

    def test_the_gates_no_has_a_status_of_its_own(self, command, client):
        code, out, error = command("promote", "--version", str(BAD))
        assert code == 3
        assert "FAILED  accuracy" in out
        assert "the gate of" in error
        assert champion(client) is None

    def test_promote_and_back(self, command, client):
        assert command("promote", "--version", str(GOOD))[0] == 0
        assert command("promote", "--force", "--reason", "why not")[0] == 0
        assert champion(client) == BAD
        code, out, _ = command("rollback", "--reason", "that is why")
        assert code == 0
        assert "version 1 of galmorph (small) is the champion again" in out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--force"], "--force needs --reason"),
            (["--force", "--reason", " "], "--force needs --reason"),
            (["--reason", "why"], "--reason is for --force"),
            (["--version", "1", "--alias", "challenger"], "not both"),
            (["--version", "newest"], "must be a number"),
            (["--set", "promote.min_accuracy=2"], "promote.min_accuracy"),
        ],
    )
    def test_what_makes_no_sense_is_said_at_once(self, command, client, arguments, said):
        code, _, error = command("promote", *arguments)
        assert code == 1
        assert said in error
        assert champion(client) is None


def test_a_relative_store_is_the_same_lock_from_anywhere(store, monkeypatch):
    monkeypatch.setattr(mlflow, "get_registry_uri", lambda: "sqlite:///mlflow.db")
    here = promoting._registry()
    monkeypatch.chdir(store / "data")
    monkeypatch.setattr(mlflow, "get_registry_uri", lambda: "sqlite:///../mlflow.db")
    assert promoting._registry() == here == f"sqlite:///{store / 'mlflow.db'}"


def test_a_history_too_long_for_the_tag_loses_its_beginning(client):
    registry.move_alias(MODEL, ALIAS, GOOD, None, (*range(10_000, 10_400), GOOD), back=False)
    kept = registry.history_of(MODEL, ALIAS)
    assert len(kept) == 200
    assert kept[-2:] == (10_399, GOOD)
