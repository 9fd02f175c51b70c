"""Many small requests, few large batches: images that arrive together are answered together.

The queue is bounded. A request reserves its images' places before it is read, so that a service that is asked too much
says so at once, and its memory does not grow with the number of those who wait.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np

from galmorph.params import BatchParams


class Answers(Protocol):
    """What a runtime answers; see `galmorph.serving.runtime.Answers`."""

    @property
    def p_elliptical(self) -> np.ndarray:
        """`(N,)` float64."""

    @property
    def maps(self) -> np.ndarray | None:
        """`(N, h, w)` float32, or None."""


class Answering(Protocol):
    """A runtime: what a batch is given to."""

    def answer(self, images: np.ndarray, *, maps: bool) -> Answers:
        """Answer `(N, S, S, 3)` uint8 images; called from several threads at once."""


class Watching(Protocol):
    """Whoever counts batches."""

    def batch(self, size: int) -> None:
        """Count a batch of `size` images."""

    def depth(self, images: int) -> None:
        """Note how many images wait."""


class BusyError(Exception):
    """There is no place left in the queue."""


@dataclass(frozen=True)
class Answer:
    """The answers for the images of one request: `(n,)` float64, and `(n, h, w)` float32 where maps were asked for."""

    p_elliptical: np.ndarray
    maps: np.ndarray | None


@dataclass(frozen=True)
class _Job:
    runtime: Answering
    images: np.ndarray
    maps: bool
    answer: "asyncio.Future[Answer]"


class Batcher:
    """Collects images, and answers them in batches.

    A batch holds images for one runtime: while a new champion takes over, requests that began with the old one are
    answered by it.
    """

    def __init__(self, params: BatchParams, watch: Watching) -> None:
        self._params, self._watch = params, watch
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._reserved = self._coming = 0  # places taken; images of them that are still being read and prepared
        self._threads = ThreadPoolExecutor(params.parallel, "galmorph-answer")
        self._slots = asyncio.Semaphore(params.parallel)
        self._batches: set[asyncio.Task[None]] = set()

    def reserve(self, images: int) -> "Reservation":
        """Keep places for a request's images until the reservation is left.

        Raises
        ------
        BusyError
            When so many are not free.
        """
        if self._reserved + images > self._params.queue:
            raise BusyError
        self._reserved += images
        self._coming += images
        return Reservation(self, images)

    async def run(self) -> None:
        """Answer batches until cancelled."""
        while True:
            await self._slots.acquire()
            jobs = await self._collect()
            self._watch.depth(self._waiting)
            batch = asyncio.create_task(self._answer(jobs))
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _add(self, runtime: Answering, images: np.ndarray, maps: bool) -> "asyncio.Future[Answer]":
        job = _Job(runtime, images, maps, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._watch.depth(self._waiting)
        return job.answer

    @property
    def _waiting(self) -> int:
        return sum(len(job.images) for job in self._jobs)

    async def _collect(self) -> list[_Job]:
        """Wait for a job, then for those that can join it, no longer than `wait`."""
        loop = asyncio.get_running_loop()
        jobs = self._joinable()
        while not jobs:
            await self._arrival(None)
            jobs = self._joinable()
        until = loop.time() + self._params.wait
        while self._size(jobs) < self._params.size and self._coming:
            if not await self._arrival(until - loop.time()):
                break
            jobs = self._joinable()
            if not jobs:
                return await self._collect()
        for job in jobs:
            self._jobs.remove(job)
        return jobs

    async def _arrival(self, seconds: float | None) -> bool:
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _joinable(self) -> list[_Job]:
        """Look up the oldest jobs that make one batch; those whose request has given up are let go."""
        for given_up in [job for job in self._jobs if job.answer.done()]:
            self._jobs.remove(given_up)
        jobs: list[_Job] = []
        for job in self._jobs:
            fits = not jobs or self._size(jobs) + len(job.images) <= self._params.size
            if not fits or (jobs and job.runtime is not jobs[0].runtime):
                break
            jobs.append(job)
        return jobs

    @staticmethod
    def _size(jobs: list[_Job]) -> int:
        return sum(len(job.images) for job in jobs)

    async def _answer(self, jobs: list[_Job]) -> None:
        size = self._size(jobs)
        self._watch.batch(size)
        images = jobs[0].images if len(jobs) == 1 else np.concatenate([job.images for job in jobs])
        maps = any(job.maps for job in jobs)
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: jobs[0].runtime.answer(images, maps=maps)
            )
        except Exception as error:
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)
        else:
            self._hand_out(jobs, answers)
        finally:
            self._slots.release()

    @staticmethod
    def _hand_out(jobs: list[_Job], answers: Answers) -> None:
        start = 0
        for job in jobs:
            part = slice(start, start + len(job.images))
            start = part.stop
            if not job.answer.done():
                maps = answers.maps[part] if job.maps and answers.maps is not None else None
                job.answer.set_result(Answer(answers.p_elliptical[part], maps))


class Reservation:
    """Places in the queue, for the one answer of a request."""

    def __init__(self, batcher: Batcher, images: int) -> None:
        self._batcher, self._images, self._coming = batcher, images, images

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._arrived()
        self._batcher._reserved -= self._images
        self._images = 0

    async def answer(self, runtime: Answering, images: np.ndarray, *, maps: bool) -> Answer:
        """Answer images in the next batch.

        Parameters
        ----------
        runtime
            Who answers.
        images
            `(n, S, S, 3)` uint8, as the runtime prepared them; n is at most what was reserved.
        maps
            Whether heat maps are wanted.
        """
        answer = self._batcher._add(runtime, images, maps)
        self._arrived()
        return await answer

    def _arrived(self) -> None:
        self._batcher._coming -= self._coming
        self._coming = 0
        # A batch may be waiting for these images.
        self._batcher._arrived.set()
