"""Batches: who is answered with whom, how many wait, and what happens to those who leave."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from galmorph.params import BatchParams
from galmorph.serving.batching import Batcher, BusyError

PARAMS = BatchParams(size=4, wait=0.2, queue=10, parallel=1)


class Runtime:
    """Answers each image with its first pixel; waits while `hold` is clear."""

    def __init__(self):
        self.sizes, self.hold = [], threading.Event()
        self.hold.set()

    def answer(self, images, *, maps):
        assert self.hold.wait(10)
        self.sizes.append(len(images))
        if (images == 255).any():
            raise RuntimeError("cannot")
        p = images[:, 0, 0, 0] / 255
        return SimpleNamespace(p_elliptical=p, maps=images[..., 0].astype(np.float32) if maps else None)


class Watch:
    def __init__(self):
        self.batches, self.depths = [], []

    def batch(self, size):
        self.batches.append(size)

    def depth(self, images):
        self.depths.append(images)


def images(*levels):
    return np.stack([np.full((2, 2, 3), level, np.uint8) for level in levels])


def run(scenario, params=PARAMS):
    async def whole():
        watch = Watch()
        batcher = Batcher(params, watch)
        task = asyncio.create_task(batcher.run())
        try:
            async with asyncio.timeout(10):
                return await scenario(batcher, watch)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            batcher.close()

    return asyncio.run(whole())


async def ask(batcher, runtime, *levels, maps=False, after=0.0):
    with batcher.reserve(len(levels)) as place:
        await asyncio.sleep(after)
        return await place.answer(runtime, images(*levels), maps=maps)


def test_images_that_come_together_are_answered_together_each_with_its_own():
    runtime = Runtime()

    async def scenario(batcher, watch):
        found = await asyncio.gather(*(ask(batcher, runtime, level) for level in (10, 20, 30)))
        assert [each.p_elliptical.tolist() for each in found] == [[10 / 255], [20 / 255], [30 / 255]]
        assert watch.batches == [3]

    run(scenario)


def test_a_batch_waits_for_images_that_are_on_their_way_and_not_otherwise():
    runtime = Runtime()

    async def scenario(batcher, watch):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await ask(batcher, runtime, 1)
        assert loop.time() - began < PARAMS.wait / 2
        await asyncio.gather(ask(batcher, runtime, 1), ask(batcher, runtime, 2, after=0.05))
        # One that takes longer than `wait` is not waited for.
        await asyncio.gather(ask(batcher, runtime, 1), ask(batcher, runtime, 2, after=0.5))

    run(scenario)
    assert runtime.sizes == [1, 2, 1, 1]


def test_a_batch_is_no_larger_than_its_size_unless_one_request_is():
    runtime = Runtime()

    async def scenario(batcher, watch):
        runtime.hold.clear()
        first = asyncio.create_task(ask(batcher, runtime, 1))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(ask(batcher, runtime, *levels)) for levels in ((1, 2), (3, 4), (5, 6, 7, 8))]
        await asyncio.sleep(0.05)
        assert watch.depths[-1] == 8
        runtime.hold.set()
        await asyncio.gather(first, *rest)
        assert await ask(batcher, runtime, *range(6)) is not None
        assert watch.depths[-1] == 0

    run(scenario)
    assert runtime.sizes == [1, 4, 4, 6]


def test_a_batch_is_of_one_model():
    old, new = Runtime(), Runtime()

    async def scenario(batcher, watch):
        await asyncio.gather(ask(batcher, old, 1), ask(batcher, new, 2), ask(batcher, old, 3))

    run(scenario)
    assert (sorted(old.sizes), new.sizes) == ([1, 1], [1])


def test_maps_go_to_those_who_asked():
    runtime = Runtime()

    async def scenario(batcher, watch):
        plain, mapped = await asyncio.gather(ask(batcher, runtime, 9), ask(batcher, runtime, 7, maps=True))
        assert plain.maps is None
        assert mapped.maps.tolist() == [[[7, 7], [7, 7]]]

    run(scenario)
    assert runtime.sizes == [2]


def test_a_full_queue_says_so_at_once_and_has_room_again():
    runtime = Runtime()

    async def scenario(batcher, watch):
        runtime.hold.clear()
        tasks = [asyncio.create_task(ask(batcher, runtime, *range(5))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError):
            batcher.reserve(1)
        runtime.hold.set()
        await asyncio.gather(*tasks)
        with batcher.reserve(10):
            pass

    run(scenario)


def test_a_request_that_gives_up_leaves_no_work_and_takes_no_place():
    runtime = Runtime()

    async def scenario(batcher, watch):
        runtime.hold.clear()
        first = asyncio.create_task(ask(batcher, runtime, 1))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(ask(batcher, runtime, 2, 3))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        runtime.hold.set()
        await first
        await ask(batcher, runtime, 4)
        with batcher.reserve(10):
            pass

    run(scenario)
    assert runtime.sizes == [1, 1]


def test_a_batch_that_fails_fails_its_requests_and_no_others():
    runtime = Runtime()

    async def scenario(batcher, watch):
        with pytest.raises(RuntimeError, match="cannot"):
            await ask(batcher, runtime, 255)
        assert (await ask(batcher, runtime, 51)).p_elliptical.tolist() == [0.2]

    run(scenario)
