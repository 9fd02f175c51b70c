"""API keys: a file of names and SHA-256 hashes, so that whoever reads the file has no key.

Keys are 256 random bits. Nobody can guess one, so a slow hash would protect nothing more.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from galmorph.errors import InputError

_LINE = re.compile(r"(?P<name>[\w.@-]{1,64})\s+(?P<digest>[0-9a-f]{64})")
_PREFIX = "galmorph_"


class Keys:
    """The keys of a service."""

    def __init__(self, digests: dict[str, bytes]) -> None:
        self._digests = digests

    def owner(self, key: str) -> str | None:
        """Return whose key this is, or None.

        Every hash is compared, in a time that does not depend on which of them agrees or how far.
        """
        given = _digest(key)
        found = None
        for name, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = name
        return found


def read_keys(path: Path) -> Keys:
    """Read a key file: a line `NAME SHA-256` for each key, `#` begins a comment.

    Raises
    ------
    InputError
        When the file is missing or holds no key, or a line is something else.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the key file cannot be read. Check serve.keys. Received: {error}") from error
    digests: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        parts = _LINE.fullmatch(content)
        if parts is None or parts["name"] in digests:
            # The line may be a key that was put there by mistake: it does not belong in a log.
            raise InputError(
                f"{path} line {number}: must be NAME SHA-256, each name once; `galmorph serve --new-key NAME` makes "
                f"such a line. Received: {len(content)} characters"
            )
        digests[parts["name"]] = parts["digest"].encode()
    if not digests:
        raise InputError(f"{path}: holds no key, so nobody could ask. Set serve.keys to null to let everyone ask.")
    return Keys(digests)


def new_key(name: str) -> tuple[str, str]:
    """Make a key.

    Parameters
    ----------
    name
        Of who shall have it.

    Returns
    -------
    key, line
        What to hand over, and what to add to the key file.

    Raises
    ------
    InputError
        When the name cannot stand in the file.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name} {_digest(key).decode()}"
    if not _LINE.fullmatch(line):
        raise InputError(f"a key's name has 1 to 64 letters, digits or any of . _ @ -. Received: {name!r}")
    return key, line


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest().encode()
