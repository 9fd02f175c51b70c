"""A share of many galaxies, for one of several processes or machines that work at the same time."""

import hashlib
import re
from dataclasses import dataclass

from galmorph.errors import InputError


@dataclass(frozen=True)
class Shard:
    """The i-th of n shares, counted from 1.

    A galaxy's share depends on its id alone, so that every one is in exactly one share even where machines see the
    galaxies in another order, or a folder grows between two of them. Shares of many galaxies are nearly equal.

    Attributes
    ----------
    i, n
        Which share, and of how many.

    Raises
    ------
    InputError
        When there is no such share.
    """

    i: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.i <= self.n:
            raise InputError(f"--shard: takes i/n with i from 1 to n. Received: {self}")

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `i/n`.

        Raises
        ------
        InputError
            When it is no such text, or there is no such share.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise InputError(f"--shard: takes i/n with i from 1 to n, for example 1/4. Received: {text!r}")
        return cls(int(found[1]), int(found[2]))

    def holds(self, name: str) -> bool:
        """Whether the galaxy of this id, or the file of this name, is in this share."""
        if self.n == 1:
            return True
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.n == self.i - 1


#: All galaxies.
WHOLE = Shard(1, 1)
