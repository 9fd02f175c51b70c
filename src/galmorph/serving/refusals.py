"""What the service says when it does not answer: a status, a reason that metrics count by, and a text that helps."""

from collections.abc import Mapping
from typing import Literal

from starlette.exceptions import HTTPException

#: Every reason that there is.
Reason = Literal[
    "bad_request",
    "no_key",
    "not_found",
    "slow_request",
    "body_too_large",
    "too_many_images",
    "too_many_pixels",
    "unsupported_format",
    "unreadable_image",
    "small_image",
    "blank_image",
    "busy",
    "slow_answer",
    "no_model",
    "internal",
]

#: The status of each reason.
STATUS: dict[Reason, int] = {
    "bad_request": 400,
    "no_key": 401,
    "not_found": 404,
    "slow_request": 408,
    "body_too_large": 413,
    "too_many_images": 413,
    "too_many_pixels": 413,
    "unsupported_format": 415,
    "unreadable_image": 422,
    "small_image": 422,
    "blank_image": 422,
    "busy": 503,
    "slow_answer": 503,
    "no_model": 503,
    "internal": 500,
}


class RefusedError(HTTPException):
    """A request, or an image of it, that is not answered.

    Attributes
    ----------
    reason
        One of `Reason`.
    status_code, detail
        Of the response: the status, and the text.
    counted
        Whether metrics have it already.
    """

    counted = False

    def __init__(
        self, reason: Reason, message: str, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Refuse; `status` stands in for the reason's own, where the framework knows better."""
        super().__init__(status or STATUS[reason], message, headers)
        self.reason: Reason = reason
