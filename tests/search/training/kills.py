"""A kill in the midst of a training, as tests have it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class Killed(BaseException):
    """As sudden as a signal."""


def kill_after(steps: int) -> Callable[[], AbstractContextManager[None]]:
    """A guard of steps that lets so many begin."""
    left = steps

    @contextmanager
    def guard() -> Iterator[None]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        yield

    return guard
