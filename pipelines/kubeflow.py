"""Kubeflow Pipelines as `kfp.Client` reaches it, with errors that a person can act on."""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3
from kfp.client import ServiceAccountTokenVolumeCredentials

from galmorph.errors import SubmissionError

#: Seconds that a server may take for its first answer: kfp waits for ever, and tries five times.
_FIRST_ANSWER = 15
#: The operation EQUALS of KFP's filters.
_EQUALS = 1


class Client(kfp.Client):
    """`kfp.Client` for one server, which is asked once what it is.

    Parameters
    ----------
    host
        URL of the API.
    namespace
        Where the installation has several users: theirs.
    token
        File with a bearer token, read again for every request. None: no token.
    authority
        File with the certificates that the server's may be signed by. None: the public ones.

    Raises
    ------
    SubmissionError
        When the host cannot be reached, is no KFP API of version 2, or does not know who is asking.
    """

    _facts: Mapping[str, Any] | None = None

    def __init__(self, host: str, namespace: str | None, token: Path | None, authority: Path | None) -> None:
        self._address = host
        options: dict[str, Any] = {"namespace": namespace} if namespace else {}
        if token:
            options["credentials"] = ServiceAccountTokenVolumeCredentials(str(token))
        if authority:
            options["ssl_ca_cert"] = str(authority)
        with warnings.catch_warnings(), explained(host):
            # That it needs KFP 2 is checked here, not announced.
            warnings.simplefilter("ignore", FutureWarning)
            super().__init__(host=host, **options)
            self.get_kfp_healthz()

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ARG002 - kfp's signature
        """Ask what the server is, once: `kfp.Client` would try for half a minute and log a stack trace each time."""
        api = self._healthz_api
        answer: Any = None
        try:
            answer = api.healthz_service_get_healthz(_request_timeout=_FIRST_ANSWER)
            # The model leaves out the version, which servers have always said.
            self._facts = json.loads(api.api_client.last_response.data)
        except kfp_server_api.ApiException as error:
            if error.status != 404:
                raise
            raise self._stranger() from error
        except (ValueError, AttributeError, TypeError) as error:
            raise SubmissionError(
                f"{self._address}: answers, but not as a KFP API does. Behind a login page give --token-file; "
                f"in a browser {self._address}/apis/v2beta1/healthz must show JSON. "
                f"Received: {str(api.api_client.last_response.data)[:80]!r}"
            ) from error
        return answer

    @property
    def multi_user(self) -> bool:
        """Whether each user has a namespace."""
        return bool((self._facts or {}).get("multi_user"))

    @property
    def version(self) -> str:
        """What the server says it is, such as 2.17.0; empty when it does not say."""
        return str((self._facts or {}).get("tag_name", ""))

    def names(self, what: str, experiment_id: str | None = None, name: str | None = None) -> list[str]:
        """List the names of experiments, or of an experiment's recurring runs: all, or those that are `name`."""
        predicates = [{"operation": _EQUALS, "key": "display_name", "stringValue": name}]
        chosen = {"filter": json.dumps({"predicates": predicates})} if name else {}
        if what == "experiments":
            found = self.list_experiments(page_size=100, **chosen).experiments
        else:
            found = self.list_recurring_runs(page_size=100, experiment_id=experiment_id, **chosen).recurring_runs
        return [one.display_name for one in found or []]

    def _stranger(self) -> SubmissionError:
        """Say what a server is that does not know version 2 of the API."""
        old = "/apis/v1beta1/healthz"
        try:
            api = self._healthz_api.api_client
            api.call_api(old, "GET", response_type="object", _return_http_data_only=True, auth_settings=["Bearer"])
            version = json.loads(api.last_response.data).get("tag_name", "unknown")
        except (kfp_server_api.ApiException, ValueError, AttributeError):
            return SubmissionError(
                f"{self._address}: there is no KFP API. Give the address of the service ml-pipeline or of the KFP "
                f"page, with its path where it has one. Received: 404 for {self._address}/apis/v2beta1/healthz"
            )
        return SubmissionError(
            f"{self._address}: is KFP of version 1, which does not know compiled pipelines of version 2. "
            f"Upgrade it to 2.0 or later. Received: version {version}"
        )


def refuse_older(client: Client, spec: Mapping[str, Any], host: str) -> None:
    """Refuse a server that is older than what compiled the pipeline; one that does not say is believed.

    Raises
    ------
    SubmissionError
        When it is older: it would refuse what it does not know of the pipeline, or overlook it.
    """
    compiled, serving = _version(str(spec.get("sdkVersion", ""))), _version(client.version)
    if compiled and serving and serving < compiled:
        raise SubmissionError(
            f"{host}: is older than the kfp that compiled the pipeline ({spec['sdkVersion']}). Upgrade the server, or "
            f"compile again with kfp {serving[0]}.{serving[1]}. Received: version {client.version}"
        )


@contextmanager
def explained(host: str) -> Iterator[None]:
    """Turn what goes wrong between here and the server into an error that says what to do."""
    try:
        yield
    except kfp_server_api.ApiException as error:
        raise SubmissionError(f"{host}: {_meaning(error)} Received: {error.status} {_message(error)}") from error
    except OSError as error:  # the token
        raise SubmissionError(
            f"{error.filename or host}: cannot be read. Give another --token-file. Received: {error.strerror}"
        ) from error
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        raise SubmissionError(
            f"{host}: cannot be reached. Check the address, that `kubectl port-forward` still runs, and where the "
            f"certificate is your own, --ca-file. Received: {reason}"
        ) from error


def _meaning(error: kfp_server_api.ApiException) -> str:
    meanings = {
        400: "the server does not take what it was asked.",
        401: "the server does not know who is asking. Give --token-file with a token that is valid now.",
        403: "whoever the token belongs to may not do this here. Give --namespace, or ask for the right to.",
        404: "the server does not find what it was asked for.",
    }
    return meanings.get(error.status, "the server failed; see the log of ml-pipeline, or try again.")


def _message(error: kfp_server_api.ApiException) -> str:
    """Return the server's own words, which come in JSON with more around them."""
    try:
        body = json.loads(error.body)
        return str(body.get("message") or body.get("error_message") or body.get("error"))
    except (ValueError, TypeError, AttributeError):
        return str(error.body or error.reason)[:200].strip()


def _version(text: str) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
