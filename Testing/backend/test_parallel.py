"""Work by several threads: order, errors, and how much is in work at a time."""

from __future__ import annotations

import threading
import time

import pytest
from genaug.parallel import MOST_THREADS, each_in_order, threads_for


def test_results_are_told_in_order_on_the_calling_thread() -> None:
    told = []

    def work(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    def tell(number: int, item: int, result: int) -> None:
        told.append((number, item, result, threading.current_thread() is threading.main_thread()))

    each_in_order(work, range(6), 3, tell)
    assert told == [(n, n, n * n, True) for n in range(6)]


def test_no_more_than_so_many_are_in_work() -> None:
    lock, working, most = threading.Lock(), set(), []

    def work(item: int) -> None:
        with lock:
            working.add(item)
            most.append(len(working))
        time.sleep(0.005)
        with lock:
            working.remove(item)

    each_in_order(work, range(12), 2, lambda *_: None)
    assert max(most) == 2


def test_the_first_error_in_order_is_raised_and_the_rest_is_not_begun() -> None:
    begun, ended = [], []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.03 if item == 0 else 0.01)
        ended.append(item)
        if item < 2:
            raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        each_in_order(work, range(50), 2, lambda *_: None)
    assert len(begun) < 50
    assert sorted(begun) == sorted(ended), "nothing goes on after the error"


def test_whoever_is_told_may_stop_it() -> None:
    begun: list[int] = []

    def tell(number: int, item: int, result: None) -> None:
        if number == 1:
            raise KeyboardInterrupt

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.005)

    with pytest.raises(KeyboardInterrupt):
        each_in_order(work, range(200), 2, tell)
    assert len(begun) < 20


def test_threads_are_bounded_by_items_and_memory() -> None:
    assert threads_for(1, 0) == 1
    assert 1 <= threads_for(100, 1) <= MOST_THREADS
    assert threads_for(100, 1 << 60) == 1
