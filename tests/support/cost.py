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


def growth_of(call: Callable[[int], object], size: int, *, enough: float = 3.0, rounds: int = 12) -> float:
    """How many times more a call of twice the size costs: about 2 for linear cost, 4 for quadratic.

    Both are measured in turn, and the cheapest of each counts, so that whatever else the machine does meanwhile is in
    neither. Measured again until it is below `enough`, at most `rounds` times: noise only ever adds.
    """
    small = large = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            small, large = (min(best, _once(call, each)) for best, each in ((small, size), (large, 2 * size)))
            if large < enough * small:
                break
    finally:
        gc.enable()
    return large / small if small else 0.0


def _once(call: Callable[[int], object], size: int) -> float:
    start = process_time()
    call(size)
    return process_time() - start
