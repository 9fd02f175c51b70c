"""Submit a compiled pipeline to Kubeflow Pipelines: `python -m pipelines.submit --host URL`."""

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from galmorph.errors import GalmorphError, ParamsError, SubmissionError
from pipelines import settings
from pipelines.arguments import run_arguments

if TYPE_CHECKING:
    from pipelines.kubeflow import Client

COMPILED = Path(__file__).parent / "compiled"
#: Names of the environment that kfp gives them.
HOST, UI, TOKEN = "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH"
#: Where Kubernetes puts the token of a pod that asked for one to KFP.
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
#: The experiment that an installation of KFP starts with.
_DEFAULT_EXPERIMENT = "Default"


def main(arguments: list[str] | None = None) -> int:
    """Submit a pipeline, and return 0, or 1 when standard error says what is wrong, or 130 after an interrupt."""
    options = parser().parse_args(arguments)
    # It announces each retry. kfp sets the level of `urllib3` itself.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        submit(options)
    except GalmorphError as error:
        print(f"submit: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("submit: interrupted; a run that was submitted goes on", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the parser."""
    whole = argparse.ArgumentParser(prog="python -m pipelines.submit", description=__doc__)
    whole.add_argument("--host", default=os.environ.get(HOST, ""), metavar="URL", help=f"of KFP's API; else ${HOST}")
    whole.add_argument(
        "--pipeline",
        default="training",
        help="its name in pipelines/compiled (training), or the path of a compiled one",
    )
    whole.add_argument(
        "--image",
        default=os.environ.get(settings.IMAGE_NAME, ""),
        help=f"that every component runs in; else ${settings.IMAGE_NAME}, else what the pipeline was compiled with",
    )
    whole.add_argument("--experiment", default=_DEFAULT_EXPERIMENT, metavar="NAME", help="KFP's, to list the run under")
    whole.add_argument("--new-experiment", action="store_true", help="make the experiment where there is none")
    whole.add_argument("--namespace", help="yours, where KFP has several users")
    whole.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a value of params.yaml, or NAME=VALUE another parameter of the pipeline",
    )
    whole.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"a bearer token; else ${TOKEN}, else that of the pod"
    )
    whole.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates that the host's is signed by, as PEM")
    when = whole.add_mutually_exclusive_group()
    when.add_argument(
        "--wait",
        type=float,
        nargs="?",
        const=30.0,
        metavar="SECONDS",
        help="until the run has ended, asking every so often (30)",
    )
    when.add_argument("--cron", metavar="'0 0 3 * * *'", help="recurring: seconds, minutes, hours, day, month, weekday")
    return whole


def submit(options: argparse.Namespace) -> None:
    """Check what was asked, submit it, print the address of the run, and wait where that was asked."""
    if not options.host.startswith(("http://", "https://")):
        raise SubmissionError(
            f"no server: give --host, or set {HOST}, to a URL such as https://kubeflow.example.org/pipeline. "
            f"Received: {options.host!r}"
        )
    if options.cron is not None:
        _check_cron(options.cron)
    if options.ca_file and not options.ca_file.is_file():
        raise SubmissionError(f"{options.ca_file}: no such file. Give --ca-file one in PEM. Received: nothing")
    path = compiled(options.pipeline)
    spec = read(path)
    arguments = run_arguments(spec, options.param, path.name)
    if not options.image:
        refuse_nobodys_image(spec, path)

    # Only now: kfp takes seconds to import, and what is wrong above is said at once.
    from pipelines.kubeflow import Client, explained, refuse_older
    from pipelines.watch import wait

    host = options.host.rstrip("/")
    client = Client(host, options.namespace, token_file(options.token_file), options.ca_file)
    refuse_older(client, spec, host)
    name, page = spec["pipelineInfo"]["name"], os.environ.get(UI, host)
    # kfp prints addresses of its own.
    with in_image(path, options.image) as path, explained(host), contextlib.redirect_stdout(io.StringIO()):
        experiment = _experiment(client, options, host)
        if options.cron is not None:
            recurring = _recur(client, experiment, f"{name} {options.cron}", path, arguments, options.cron)
            url = f"{page}/#/recurringrun/details/{recurring}"
        else:
            title = f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
            run = client.run_pipeline(experiment, title, str(path), arguments)
            url = f"{page}/#/runs/details/{run.run_id}"
    print(url, flush=True)
    if options.wait is not None:
        wait(client, host, run.run_id, url, options.wait)


def compiled(name: str) -> Path:
    """Return the compiled pipeline of a name, or at a path.

    Raises
    ------
    SubmissionError
        When there is none.
    """
    for path in (COMPILED / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    known = (
        ", ".join(sorted(path.stem for path in COMPILED.glob("*.yaml"))) or "none: run `python -m pipelines.compile`"
    )
    raise SubmissionError(f"--pipeline takes the path of a compiled pipeline, or one of: {known}. Received: {name!r}")


def read(path: Path) -> dict[str, Any]:
    """Read a compiled pipeline; what follows it in the file is for Kubernetes.

    Raises
    ------
    SubmissionError
        When the file is not one.
    """
    try:
        spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")), None)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise SubmissionError(f"{path}: not a compiled pipeline, nor YAML at all. Received: {said:.200}") from error
    if not isinstance(spec, dict) or not {"root", "pipelineInfo"} <= set(spec):
        raise SubmissionError(f"{path}: not a pipeline that kfp compiled. Received: {spec!r:.80}")
    return spec


def refuse_nobodys_image(spec: dict[str, Any], path: Path) -> None:
    """Refuse a pipeline whose image no cluster can pull.

    Raises
    ------
    SubmissionError
        When a component runs in an image of the registry that stands for nobody's.
    """
    for container in _containers(spec):
        if container["image"].startswith(settings.NOBODYS):
            raise SubmissionError(
                f"{path}: its image is in nobody's registry. Give yours with --image or in ${settings.IMAGE_NAME}, "
                f"best pinned by digest: REGISTRY/galmorph/train-cpu@sha256:... Received: {container['image']}"
            )


@contextlib.contextmanager
def in_image(path: Path, image: str) -> Iterator[Path]:
    """Yield the compiled pipeline with another image for every component; itself, where none is given."""
    if not image:
        yield path
        return
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for container in _containers(documents[0]):
        container["image"] = image
    with tempfile.TemporaryDirectory(prefix="galmorph-submit-") as folder:
        changed = Path(folder) / path.name
        changed.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
        yield changed


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what says how each component is run; importers run in Kubeflow's own image."""
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    return [executor["container"] for executor in executors if "container" in executor]


def token_file(given: Path | None) -> Path | None:
    """Return the file with the token: the one that was given, else the environment's, else the pod's, else none.

    Raises
    ------
    SubmissionError
        When one was named that is not there or is empty.
    """
    named = given or (Path(os.environ[TOKEN]) if os.environ.get(TOKEN) else None)
    if named is None:
        return _POD_TOKEN if _POD_TOKEN.is_file() else None
    if not named.is_file() or not named.read_text().strip():
        what = "an empty file" if named.is_file() else "no such file"
        raise SubmissionError(f"{named}: must hold a bearer token. Give another --token-file. Received: {what}")
    return named


def _check_cron(cron: str) -> None:
    """Refuse what KFP would read in another way: its schedules begin with the second."""
    if len(cron.split()) != 6 and not cron.startswith("@"):
        raise ParamsError(
            "--cron takes six fields: second, minute, hour, day, month, weekday, such as '0 0 3 * * *' for every "
            f"night at three, or a word such as @daily. Received: {cron!r}"
        )


def _experiment(client: "Client", options: argparse.Namespace, host: str) -> str:
    """Return the identifier of the experiment, which is made where that was asked."""
    if client.multi_user and not client.get_user_namespace():
        raise SubmissionError(
            f"{host}: each user of this installation has a namespace. Give yours with --namespace. Received: none"
        )
    if not client.names("experiments", name=options.experiment) and not options.new_experiment:
        raise SubmissionError(
            f"{host}: no experiment has this name. Give --new-experiment to make it, or --experiment with one of: "
            f"{', '.join(client.names('experiments')) or 'none yet'}. Received: {options.experiment!r}"
        )
    return str(client.create_experiment(options.experiment).experiment_id)


def _recur(client: "Client", experiment: str, name: str, path: Path, arguments: dict[str, Any], cron: str) -> str:
    """Make a recurring run, one at a time, and return its identifier."""
    if client.names("recurring runs", experiment, name):
        raise SubmissionError(
            f"this recurring run is there already. Delete it first, on KFP's page, to make another. Received: {name!r}"
        )
    made = client.create_recurring_run(
        experiment, name, cron_expression=cron, pipeline_package_path=str(path), params=arguments, no_catchup=True
    )
    return str(made.recurring_run_id)


if __name__ == "__main__":
    sys.exit(main())
