"""Logs that machines read: one JSON object a line, each with the id of the request it belongs to."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any

#: Of the request that is being served; empty outside of any.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: What every record has, which is not a fact of its own.
_USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: time, level, logger, message, request id, and whatever `extra` it has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line: line ends within texts are escaped, so that no input can forge a line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


def write_json_lines() -> None:
    """Send every log record of this process to standard error as JSON, in place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [], True
    # It says each HTTP request it makes, and each that it makes again.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
