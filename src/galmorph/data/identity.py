"""The digests that name a set of galaxies: by its ids, its labels and the content of its images, or its ids alone."""

import hashlib
from collections.abc import Iterable


def data_digest(cataids: Iterable[str], labels: Iterable[str], file_digests: Iterable[str]) -> str:
    """Digest over (CATAID, label, file SHA-256), the same in whatever order the galaxies come.

    Parameters
    ----------
    cataids, labels, file_digests
        Of each galaxy: its id, its label, and the SHA-256 of its image file in hexadecimal.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Raises
    ------
    ValueError
        When the three have different lengths.
    """
    lines = sorted(
        f"{cataid},{label},{digest}\n" for cataid, label, digest in zip(cataids, labels, file_digests, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def ids_digest(cataids: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, of a set of ids, the same in whatever order they come."""
    digest = hashlib.sha256()
    for cataid in sorted(set(cataids)):
        digest.update(cataid.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
