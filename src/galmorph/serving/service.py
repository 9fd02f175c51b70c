"""The work of the service: uploads in, answers out. Nothing here knows a route or a header."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from galmorph.explain.faithfulness.maps import TURNS
from galmorph.params import Label, ServiceParams
from galmorph.serving import contract
from galmorph.serving.batching import Answer, Batcher, BusyError, Reservation
from galmorph.serving.champion import Champion, ChampionWatch
from galmorph.serving.drift import DriftWatch
from galmorph.serving.explaining import turned
from galmorph.serving.intake import decode_upload
from galmorph.serving.monitoring import Monitor
from galmorph.serving.presenting import Explained, answer_of, present
from galmorph.serving.refusals import RefusedError

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Upload(Protocol):
    """A file that was sent."""

    async def read(self) -> bytes:
        """Return the whole of it."""


@dataclass(frozen=True)
class _Taken:
    """A cutout as it was sent, and as the model takes it."""

    cutout: np.ndarray
    prepared: np.ndarray


class Service:
    """Everything that lives as long as the service does.

    Attributes
    ----------
    watch
        Holds the champion.
    monitor
        Its metrics.
    """

    def __init__(self, params: ServiceParams, monitor: Monitor) -> None:
        self.params, self.monitor = params, monitor
        self._drift = DriftWatch(params.serve.drift)
        self.watch = ChampionWatch(params.serve, monitor, lambda champion: self._drift.begin(champion.reference))
        self._batcher = Batcher(params.serve.batch, monitor)
        self._threads = ThreadPoolExecutor(params.serve.decoders, "galmorph-decode")
        # A file is read into memory when there is a thread for it, and not before.
        self._decoding = asyncio.Semaphore(params.serve.decoders)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look for champions, to answer batches, and to compare images with the reference."""
        loops = (self.watch.run(), self._batcher.run(), self._compare())
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(_say_why_it_ended)

    async def stop(self) -> None:
        """End what `start` began. Requests that are under way have been answered by now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._batcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def champion(self) -> Champion:
        """Return who answers.

        Raises
        ------
        RefusedError
            When nobody does yet.
        """
        if self.watch.current is None:
            raise RefusedError("no_model", f"There is no model to answer with yet. {self.watch.problem}")
        return self.watch.current

    async def predict(
        self, uploads: Sequence[tuple[str, Upload]], denoised: bool
    ) -> tuple[Champion, list[contract.Prediction]]:
        """Answer images; each that cannot be read gets an error in its place.

        Parameters
        ----------
        uploads
            What each is called in answers, and its file.
        denoised
            Whether they went through the denoiser of the model's variant already.

        Raises
        ------
        RefusedError
            When there is no model or no place, when it takes too long, or when none of the images can be read: then
            with the reason of the first.
        """
        champion = self.champion()
        async with self._within_time():
            with self._reserve(len(uploads)) as place:
                taken = await asyncio.gather(
                    *(self._take(champion, name, file, denoised) for name, file in uploads), return_exceptions=True
                )
                unread = [each for each in taken if isinstance(each, BaseException)]
                for error in unread:
                    if not isinstance(error, RefusedError):
                        raise error
                    self.monitor.rejected.labels(error.reason).inc()
                if len(unread) == len(taken):
                    raise _AllRefusedError(_error(unread[0]).reason, _error(unread[0]).message)
                read = [each for each in taken if isinstance(each, _Taken)]
                answer = await place.answer(champion.runtime, np.stack([each.prepared for each in read]), maps=False)
        answers = iter(self._answers(champion, answer.p_elliptical, [each.prepared for each in read]))
        return champion, [
            contract.Prediction(name=name, answer=next(answers), error=None)
            if isinstance(each, _Taken)
            else contract.Prediction(name=name, answer=None, error=_error(each))
            for (name, _), each in zip(uploads, taken, strict=True)
        ]

    async def explain(self, name: str, upload: Upload, label: Label | None, denoised: bool) -> Explained:
        """Answer one image, with its heat map and its reasons.

        Parameters
        ----------
        name, upload, denoised
            As for `predict`.
        label
            Which the heat map shall be for; None: the answer's.

        Raises
        ------
        RefusedError
            As `predict`, or when the image cannot be read.
        """
        champion = self.champion()
        async with self._within_time():
            with self._reserve(len(TURNS)) as place:
                taken = await self._take(champion, name, upload, denoised)
                answer = await place.answer(champion.runtime, turned(taken.prepared), maps=True)
            result = await self._in_thread(self._present, champion, name, taken, answer, label)
        self._answers(champion, answer.p_elliptical[:1], [taken.prepared])
        return result

    def _within_time(self) -> "_WithinTime":
        return _WithinTime(self.params.serve.limits.answer_seconds)

    def _reserve(self, images: int) -> Reservation:
        try:
            return self._batcher.reserve(images)
        except BusyError as error:
            raise RefusedError("busy", "Too many images are waiting to be answered. Come back shortly.") from error

    async def _take(self, champion: Champion, name: str, upload: Upload, denoised: bool) -> _Taken:
        async with self._decoding:
            content = await upload.read()

            def take() -> _Taken:
                cutout = decode_upload(content, name, self.params)
                return _Taken(cutout, champion.runtime.prepare(cutout, denoised=denoised))

            return await self._in_thread(take)

    async def _in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        # With the request's id, that log lines and answers carry.
        here = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: here.run(work, *arguments))

    def _answers(
        self, champion: Champion, p_elliptical: np.ndarray, prepared: Sequence[np.ndarray]
    ) -> list[contract.Answer]:
        """Make answers of probabilities, count them, and hold some of their images against the reference."""
        facts = champion.runtime.facts
        answers = []
        for p, label, image in zip(p_elliptical.tolist(), champion.runtime.labels(p_elliptical), prepared, strict=True):
            answer = answer_of(p, label, facts.threshold, self.params.serve.near_threshold)
            self.monitor.answered(facts.name, label, p, answer.near_threshold)
            answers.append(answer)
            if champion is self.watch.current and self._drift.due():
                self._threads.submit(self._drift.see, image, p)
        return answers

    def _present(self, champion: Champion, name: str, taken: _Taken, answer: Answer, label: Label | None) -> Explained:
        explained = present(champion, name, taken.cutout, answer, label, self.params)
        drawn = explained.explanation.heat_map
        if drawn.available:
            self.monitor.mapped(drawn.empty, drawn.galaxy)
        return explained

    async def _compare(self) -> None:
        while True:
            self.monitor.drifted(*await asyncio.to_thread(self._drift.compare))
            await asyncio.sleep(self.params.serve.drift.seconds)


class _AllRefusedError(RefusedError):
    """None of a request's images could be read; each has been counted."""

    counted = True


class _WithinTime:
    """Refuses what takes longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._timeout = seconds, asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        try:
            await self._timeout.__aexit__(*raised)  # type: ignore[arg-type]
        except TimeoutError as error:
            raise RefusedError(
                "slow_answer", f"No answer within {self._seconds:g} seconds. Come back later."
            ) from error


def _error(error: object) -> contract.Error:
    assert isinstance(error, RefusedError)
    return contract.Error(reason=error.reason, message=str(error.detail))


def _say_why_it_ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("a part of the service ended", exc_info=error)
