"""The images of `galmorph predict`: read, decoded and prepared ahead of the model, in threads, in order.

Threads and not processes: decoding, resizing and digests run outside Python's lock, and arrays need not travel.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from galmorph.data.cutout_file import check_not_blank, check_side, decode_cutout
from galmorph.data.images import max_bytes
from galmorph.data.wanted import Galaxy
from galmorph.edge.members import Source, close_archives, read_member, stream_tar
from galmorph.edge.outside import ReadImage
from galmorph.errors import ArchiveError, ImageError
from galmorph.parallel import worker_count
from galmorph.params import PredictParams
from galmorph.serving.runtime import Runtime


@dataclass(frozen=True)
class Reader:
    """Reads images of a source as a model takes them.

    Attributes
    ----------
    source
        Where they are.
    runtime
        The model.
    denoised
        Whether they went through the denoiser of the model's variant already.
    params
        Limits, and how bands become colours.
    """

    source: Source
    runtime: Runtime
    denoised: bool
    params: PredictParams

    def images(self, galaxies: Sequence[Galaxy]) -> Iterator[ReadImage]:
        """Yield the image of each galaxy, in order, or why it cannot be used.

        Raises
        ------
        ArchiveError
            When a tar cannot be read on, or was changed meanwhile.
        """
        ahead: deque[tuple[Future[ReadImage], int]] = deque()
        held, limit = 0, max_bytes(self.params.max_pixels)
        threads = self.params.predict.decoders or worker_count()
        pool = ThreadPoolExecutor(threads, "galmorph-decode")
        try:
            with closing(self._submitted(pool, galaxies)) as submitted:
                for future, size in submitted:
                    ahead.append((future, size))
                    held += size
                    # As many bytes of a tar are held as its largest image may have, or one image.
                    while len(ahead) >= self.params.predict.ahead or (held > limit and len(ahead) > 1):
                        done, size = ahead.popleft()
                        held -= size
                        yield done.result()
            while ahead:
                yield ahead.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)
            close_archives()

    def _submitted(
        self, pool: ThreadPoolExecutor, galaxies: Sequence[Galaxy]
    ) -> Generator[tuple["Future[ReadImage]", int]]:
        """Yield a future for each image, and the bytes that wait with it."""
        if self.source.kind != "tar":
            for galaxy in galaxies:
                yield pool.submit(self._read, galaxy), 0
            return
        contents = stream_tar(
            self.source.path, {one.file: one.place for one in galaxies}, max_bytes(self.params.max_pixels)
        )
        with closing(contents):
            for galaxy in galaxies:
                name, content = next(contents, ("", b""))
                if name != galaxy.file:
                    raise ArchiveError(
                        f"{self.source.path}: changed while it was read. Run the same command again when it is whole. "
                        f"Received: {name or 'its end'!r} instead of {galaxy.file!r}"
                    )
                yield (
                    pool.submit(self._prepared, galaxy, content),
                    0 if isinstance(content, ImageError) else len(content),
                )

    def _read(self, galaxy: Galaxy) -> ReadImage:
        assert self.source.kind != "tar"
        limit = max_bytes(self.params.max_pixels)
        try:
            content = read_member(self.source.path, self.source.kind, galaxy.file, galaxy.place, limit)
        except (ImageError, ArchiveError) as error:
            return ReadImage(galaxy.cataid, None, "", str(error))
        return self._prepared(galaxy, content)

    def _prepared(self, galaxy: Galaxy, content: bytes | ImageError) -> ReadImage:
        try:
            if isinstance(content, ImageError):
                raise content
            pixels = self.runtime.prepare(self._decoded(content, galaxy.file), denoised=self.denoised)
        except ImageError as error:
            return ReadImage(galaxy.cataid, None, "", str(error))
        return ReadImage(galaxy.cataid, pixels, hashlib.sha256(content).hexdigest(), "")

    def _decoded(self, content: bytes, name: str) -> np.ndarray:
        """Decode what the service would, and the other formats that acquire reads."""
        cutout = decode_cutout(content, name, self.params.max_pixels, self.params.bands)
        check_side(cutout, name, self.params.min_side)
        check_not_blank(cutout, name)
        return cutout
