"""Waiting for a run, and what went wrong with it."""

import time
from typing import Any

import kfp_server_api
import urllib3

from galmorph.errors import RunError
from pipelines.kubeflow import Client, explained

#: `kfp.Client` does not count CANCELED, and waits for ever.
_FINAL = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
#: Answers in a row that may be missing: a run takes hours, and a network does not.
_PATIENCE = 5


def wait(client: Client, host: str, run_id: str, url: str, every: float) -> None:
    """Wait for a run to end.

    Parameters
    ----------
    client
        Of the server.
    host, url
        The server's address and the run's page, for messages.
    run_id
        The run.
    every
        Seconds between questions.

    Raises
    ------
    RunError
        When it ended in any way but success, with each task that failed and what that says.
    SubmissionError
        When the server does not answer any more.
    """
    missing = 0
    while True:
        try:
            run = client.get_run(run_id)
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError) as error:
            missing += 1
            if missing == _PATIENCE or 400 <= (getattr(error, "status", None) or 0) < 500:
                with explained(f"{url} goes on, but {host}"):
                    raise
        else:
            missing = 0
            if run.state in _FINAL:
                break
        time.sleep(every)
    if run.state != "SUCCEEDED":
        raise RunError(f"{url}: {_reasons(run)}. Received: {run.state}")


def failed_tasks(run: Any) -> list[tuple[str, str]]:
    """Return the name and message of each task that failed by itself, not because a task inside it did.

    Parameters
    ----------
    run
        As the API describes it.
    """
    tasks = (run.run_details.task_details if run.run_details else None) or []
    failed = {task.task_id: task for task in tasks if task.state == "FAILED"}
    around = {task.parent_task_id for task in failed.values()} | {
        task.task_id for task in failed.values() if any(child.task_id in failed for child in task.child_tasks or [])
    }
    return [
        (task.display_name, (task.error.message if task.error else "") or "")
        for identifier, task in failed.items()
        if identifier not in around
    ]


def _reasons(run: Any) -> str:
    """Say in one sentence what the run failed of."""
    tasks = [f"{name}: {message.strip() or 'see its log there'}" for name, message in failed_tasks(run)]
    whole = [run.error.message.strip()] if run.error and run.error.message else []
    return "; ".join(tasks or whole or ["did not succeed"]).rstrip(".")
