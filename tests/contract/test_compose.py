"""infra/compose.yaml: well formed, pinned, watched, confined, and without a secret in it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from galmorph import __version__
from tests.prometheus import binary

COMPOSE = "infra/compose.yaml"
OURS = {"mlflow": "mlflow", "prepare": "mlflow", "service": "serve"}
SERVICES = ["postgres", "s3", "mlflow", "prepare", "service", "prometheus", "grafana"]


@pytest.fixture(scope="module")
def compose(repository):
    return YAML(typ="safe").load(repository / COMPOSE)


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture
def infra(repository, tmp_path) -> Path:
    """A folder with the scripts, where they may write."""
    for name in ("make_secrets.sh", "with_secrets.sh"):
        (tmp_path / name).write_bytes((repository / "infra" / name).read_bytes())
    return tmp_path


def mounts(service) -> list[tuple[str, str]]:
    return [tuple(volume.split(":")[:2]) for volume in service.get("volumes", [])]


def test_it_is_what_the_compose_specification_says(repository):
    done = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_is_looked_at_here(services):
    assert list(services) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
class TestService:
    def test_has_one_version(self, services, name):
        image = services[name]["image"]
        if name in OURS:
            target = OURS[name]
            assert image == f"galmorph-{target}:{__version__}"
            assert services[name]["build"]["target"] == target
        else:
            assert re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)+", image), "two numbers at least: one would move"

    def test_is_asked_whether_it_is_well_or_ends(self, repository, services, name):
        service = services[name]
        if service.get("restart") == "no":
            waiting = [other.get("depends_on", {}).get(name) for other in services.values()]
            assert {"condition": "service_completed_successfully"} in waiting
        elif name in OURS:
            dockerfile = (repository / "infra/docker/Dockerfile").read_text()
            stage = re.split(r"^FROM ", dockerfile.partition(f" AS {OURS[name]}\n")[2], flags=re.MULTILINE)[0]
            assert "\nHEALTHCHECK " in stage
            assert "healthcheck" not in service
        else:
            assert service["healthcheck"]["test"][0] == "CMD"
            assert {"interval", "timeout", "start_period", "retries"} < set(service["healthcheck"])

    def test_may_do_no_more_than_it_must(self, services, name):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
        assert "/tmp" in service["tmpfs"]
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", []))

    def test_gets_its_secrets_by_file(self, compose, services, name):
        service = services[name]
        given = set(service.get("secrets", []))
        assert given <= set(compose["secrets"])
        settings = service.get("environment", {})
        named = {name: value for name, value in settings.items() if re.search("PASSWORD|SECRET|KEY|TOKEN", name)}
        assert all(key.endswith("_FILE") for key in named)
        paths = {*named.values(), *re.findall(r"/run/secrets/[\w.]+", " ".join(service.get("command", [])))}
        assert {path.removeprefix("/run/secrets/") for path in paths} == given
        if name in OURS:
            assert service["entrypoint"][:2] == ["sh", "/usr/local/bin/with_secrets.sh"]

    def test_mounts_what_exists_and_cannot_change_it(self, repository, compose, services, name):
        for volume in services[name].get("volumes", []):
            source, _, mode = volume.partition(":")[0], *volume.rpartition(":")[1:]
            if source.startswith("./"):
                assert (repository / "infra" / source).exists(), source
                assert mode == "ro"
            else:
                assert source in compose["volumes"]

    def test_waits_for_what_it_asks(self, services, name):
        for other, how in services[name].get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert set(services[other]["networks"]) & set(services[name]["networks"])
            else:
                assert (how["condition"], services[other]["restart"]) == ("service_completed_successfully", "no")


def test_only_mlflow_reaches_the_stores(services):
    assert {name for name, service in services.items() if "stores" in service["networks"]} == {
        "postgres", "s3", "mlflow", "prepare",
    }  # fmt: skip


def test_the_service_and_its_account_have_one_name_and_password(services):
    service, prepare, mlflow = (services[name] for name in ("service", "prepare", "mlflow"))
    reader = service["environment"]
    assert reader["MLFLOW_TRACKING_USERNAME"] == prepare["environment"]["MLFLOW_READER_USERNAME"]
    assert reader["MLFLOW_TRACKING_PASSWORD_FILE"] == prepare["environment"]["MLFLOW_READER_PASSWORD_FILE"]
    [bucket] = [part.partition("s3://")[2] for part in mlflow["command"] if "--artifacts-destination" in part]
    assert bucket in prepare["environment"]["BUCKETS"].split()


def test_who_does_not_reach_the_store_fetches_through_mlflow(services):
    assert "stores" not in services["service"]["networks"]
    for way in ("DOWNLOAD", "UPLOAD"):
        assert services["service"]["environment"][f"MLFLOW_ENABLE_PROXY_MULTIPART_{way}"] == "false"


def test_the_service_is_given_time_to_end(services, values):
    assert int(services["service"]["stop_grace_period"].removesuffix("s")) > values["serve"]["limits"]["stop_seconds"]


def test_the_example_of_an_env_file_has_every_variable_and_no_secret(repository):
    wanted = set(re.findall(r"\$\{(\w+)", (repository / COMPOSE).read_text()))
    lines = (repository / "infra/.env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example) == wanted
    assert not any(re.search("PASSWORD|SECRET|KEY", name) for name in example)


class TestSecrets:
    def test_are_made_once_at_random_and_all_of_them(self, compose, infra):
        subprocess.run(["sh", infra / "make_secrets.sh"], check=True, capture_output=True)
        made = {path.name: path.read_text() for path in (infra / "secrets").iterdir()}
        assert {f"secrets/{name}" for name in made} == {secret["file"] for secret in compose["secrets"].values()}
        random = {name: text for name, text in made.items() if name != "s3.json"}
        assert len(set(random.values())) == len(random)
        assert all(re.fullmatch("[0-9a-f]{48}", text) for text in random.values())
        [account] = YAML(typ="safe").load(made["s3.json"])["identities"]
        assert account["credentials"] == [{"accessKey": made["s3_access_key"], "secretKey": made["s3_secret_key"]}]
        assert (infra / "secrets").stat().st_mode & 0o777 == 0o700
        again = subprocess.run(["sh", infra / "make_secrets.sh"], check=True, capture_output=True, text=True)
        assert again.stdout == ""
        assert {path.name: path.read_text() for path in (infra / "secrets").iterdir()} == made

    def test_are_not_committed(self, repository):
        for path in ("infra/secrets/s3.json", "infra/.env"):
            assert subprocess.run(["git", "check-ignore", "-q", path], cwd=repository, check=False).returncode == 0

    def test_reach_a_command_and_only_those(self, infra):
        (infra / "given").mkdir()
        (infra / "given/one").write_text("it's $HOME and `id`\n")
        (infra / "other").write_text("not ours")
        environment = {
            "PATH": "/usr/bin:/bin", "SECRETS": str(infra / "given"), "A_PASSWORD_FILE": str(infra / "given/one"),
            "SSL_CERT_FILE": str(infra / "other"),
        }  # fmt: skip
        command = ["sh", infra / "with_secrets.sh", "env"]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
        assert "A_PASSWORD=it's $HOME and `id`" in said
        assert not any(line.startswith("SSL_CERT=") for line in said)

    def test_that_are_missing_stop_it_with_the_remedy(self, infra):
        environment = {"PATH": "/usr/bin:/bin", "SECRETS": str(infra), "A_KEY_FILE": str(infra / "none")}
        command = ["sh", infra / "with_secrets.sh", "env"]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 1
        assert re.search(r"secret of A_KEY .*make_secrets\.sh.* Received: .*none", done.stderr)


class TestMonitoring:
    def test_promtool_has_nothing_to_say(self, repository, services):
        [config] = [part for part in services["prometheus"]["command"] if part.startswith("--config.file=")]
        file = repository / "infra/prometheus" / Path(config).name
        done = subprocess.run(
            [binary("promtool"), "check", "config", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_it_scrapes_the_service_as_the_example_does(self, repository, services, values):
        example, here = (
            YAML(typ="safe").load(repository / "infra/prometheus" / name) for name in ("prometheus.yml", "compose.yml")
        )
        [target] = here["scrape_configs"][0]["static_configs"][0]["targets"]
        host, port = target.split(":")
        assert host in services
        assert port == str(values["serve"]["port"])
        here["scrape_configs"][0]["static_configs"][0]["targets"] = [f"localhost:{port}"]
        # A training runs elsewhere: beside the containers, or on a cluster.
        example["scrape_configs"] = [job for job in example["scrape_configs"] if job["job_name"] == "galmorph"]
        assert here == example

    def test_grafana_finds_prometheus_and_its_dashboards(self, repository, services):
        folder = repository / "infra/grafana/provisioning"
        [source] = YAML(typ="safe").load(folder / "datasources/prometheus.yml")["datasources"]
        assert source["url"] == "http://prometheus:9090"
        [provider] = YAML(typ="safe").load(folder / "dashboards/galmorph.yml")["providers"]
        assert provider["options"]["path"] in dict(mounts(services["grafana"])).values()
