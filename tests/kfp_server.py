"""A server that speaks as much of KFP's v2beta1 API as submitting and watching a run takes, over HTTP, for tests."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PREFIX = "/apis/v2beta1"


class Refused(Exception):  # noqa: N818 - as the answer is called
    """An answer other than 200, in the words of the gateway in front of KFP."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


@dataclass
class Cluster:
    """What the server is, holds and has been asked."""

    tag: str = "2.17.0"
    kind: str = "kfp2"  # kfp1: version 1; other: something else; login: a page for whoever has no token
    token: str = ""
    namespaces: tuple[str, ...] = ()
    experiments: dict[str, str] = field(default_factory=lambda: {"Default": "e-0"})
    #: What a run looks like, at each look; the last stays.
    looks: list[dict[str, Any]] = field(default_factory=lambda: [{"state": "SUCCEEDED"}])
    #: Answers to looks at a run that fail first, by their status.
    hiccups: list[int] = field(default_factory=list)
    #: What happens while the server answers a look.
    meanwhile: Callable[[], None] = lambda: None
    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, token: str) -> Any:
        """Answer one request."""
        self.requests.append(f"{method} {path}")
        if self.kind == "login" and not token:
            return "<html>Log in</html>"
        if self.token and token != f"Bearer {self.token}":
            raise Refused(401, "Request header error: there is no user identity header.")
        facts = {"commit_sha": "0", "tag_name": self.tag, "multi_user": bool(self.namespaces)}
        if self.kind == "kfp1" and path == "/apis/v1beta1/healthz":
            return facts
        if self.kind in ("kfp1", "other") or not path.startswith(PREFIX):
            raise Refused(404, "Not Found")
        match method, path.removeprefix(PREFIX).strip("/").split("/"):
            case "GET", ["healthz"]:
                return {**facts, "pipeline_store": "database"}
            case "GET", ["experiments"]:
                self._permit(query.get("namespace"))
                return {"experiments": self._named(query, self.experiments.items())}
            case "POST", ["experiments"]:
                self._permit(body.get("namespace"))
                identifier = f"e-{len(self.experiments)}"
                self.experiments[body["display_name"]] = identifier
                return {"experiment_id": identifier, "display_name": body["display_name"]}
            case "POST", ["runs"]:
                self._check(body)
                self.runs.append(body)
                return {**body, "run_id": f"r-{len(self.runs)}", "state": "PENDING"}
            case "GET", ["runs", identifier]:
                if self.hiccups:
                    raise Refused(self.hiccups.pop(0), "try again")
                self.meanwhile()
                look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
                return {"run_id": identifier, **look}
            case "GET", ["recurringruns"]:
                here = [one for one in self.recurring if one["experiment_id"] == query["experiment_id"]]
                return {"recurringRuns": self._named(query, [(one["display_name"], "") for one in here])}
            case "POST", ["recurringruns"]:
                self._check(body)
                self.recurring.append(body)
                return {**body, "recurring_run_id": f"c-{len(self.recurring)}"}
        raise Refused(404, f"Not Found: {method} {path}")

    def _permit(self, namespace: str | None) -> None:
        if self.namespaces and namespace not in self.namespaces:
            raise Refused(403, f"User 'u' is not authorized with reason: ... namespace {namespace}")

    def _named(self, query: dict[str, str], found: Any) -> list[dict[str, str]]:
        wanted = None
        if query.get("filter"):
            (predicate,) = json.loads(query["filter"])["predicates"]
            assert predicate["operation"] == 1, "EQUALS"
            assert predicate["key"] == "display_name"
            wanted = predicate["stringValue"]
        return [
            {"experiment_id": identifier, "display_name": name} for name, identifier in found if wanted in (None, name)
        ]

    def _check(self, body: dict[str, Any]) -> None:
        """Refuse as KFP does: an experiment that is not there, a parameter that the pipeline does not know."""
        if body["experiment_id"] not in self.experiments.values():
            raise Refused(404, f"Experiment {body['experiment_id']} not found.")
        spec = body["pipeline_spec"].get("pipeline_spec", body["pipeline_spec"])
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in body["runtime_config"].get("parameters", {}):
            if name not in known:
                raise Refused(400, f"Invalid input error: parameter {name} is not in the pipeline")


@contextmanager
def serving(cluster: Cluster, certificate: Path | None = None) -> Iterator[Cluster]:
    """Serve a cluster on a free port of this machine; with a certificate, a PEM file with its key, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                answer = cluster.answer(
                    self.command,
                    address.path,
                    query,
                    json.loads(text) if text else None,
                    self.headers.get("authorization", ""),
                )
                status = 200
            except Refused as refused:
                answer = {"error": refused.message, "code": refused.status, "message": refused.message, "details": []}
                status = refused.status
            page = isinstance(answer, str)
            body = (answer if page else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if page else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    cluster.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def own_certificate(path: Path) -> Path:
    """Write a certificate for 127.0.0.1 that nobody but itself has signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "galmorph test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
