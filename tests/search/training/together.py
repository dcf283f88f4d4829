"""Some processes of this machine, joined by gloo as Ray Train would join them."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from torch import distributed as dist

from search.training.ranks import Ranks

PATIENCE_S = 40


def together(count: int, meeting: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(ranks, *arguments)` gave, or the exception it raised, on each of `count` ranks.

    `meeting` is a path where nothing is yet; `work` is found by its name in its module.
    """
    # Forked from a clean process that has imported everything once, what DistributedDataParallel imports included.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["search.training.trainer", "torch._dynamo"])
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        running = [pool.submit(_joined, rank, count, meeting, work, arguments) for rank in range(count)]
        return [each.result(PATIENCE_S) for each in running]


def _joined(rank: int, count: int, meeting: Path, work: Callable[..., Any], arguments: Any) -> Any:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        return work(Ranks.joined(), *arguments)
    except BaseException as error:  # noqa: BLE001 - whatever happened is what the test looks at
        return error
    finally:
        dist.destroy_process_group()
