"""What a call costs in processor time, for tests of how cost grows with size; never for how much it is."""

import gc
from collections.abc import Callable
from functools import partial
from time import process_time


def cost_of(call: Callable[[], object]) -> float:
    """Processor seconds of the cheapest of three; the collector, which pays for other tests' objects, is off."""
    costs = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = process_time()
            call()
            costs.append(process_time() - start)
    finally:
        gc.enable()
    return min(costs)


def costs_of(call: Callable[[int], object], *sizes: int) -> tuple[float, ...]:
    """What it costs at each size."""
    return tuple(cost_of(partial(call, size)) for size in sizes)
