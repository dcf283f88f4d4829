"""One training in several processes of this machine, with a GPU each where there are any.

Ray Train starts the processes and joins them (NCCL on GPUs, gloo on CPUs); `search.training.train` runs in every one of
them and knows its rank. What rank 0 reports and why a rank failed travel through a queue to the process that asked.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from foundation.cli import is_disk_full
from foundation.errors import UserError, WorkFailedError
from search.causes import lost_cause
from search.workers import one_line, ray_session

if TYPE_CHECKING:
    from search.training import TrainedNetwork, TrainingProgress

POLL_S = 0.5
PATIENCE_S = 24 * 3600  # with rank 0, which judges while the others wait; Ray notices dead and frozen ones


class ProcessLostError(WorkFailedError):
    """Processes that shared a training ended without saying why themselves; `cause` is what is known of it."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; the same command goes on from the last checkpoint")
        self.cause = cause


def check_processes(processes: int, batch: int) -> None:
    """UserError when so many cannot share a batch, or each of them would not have a GPU (a core without GPUs)."""
    import torch

    if processes > batch:
        raise UserError(
            f"--processes {processes}: a batch of {batch} images cannot be shared by so many; raise --batch"
        )
    gpus = torch.cuda.device_count()
    there, kind = (gpus, "GPUs") if gpus else (_cores(), "CPU cores")
    if processes > there:
        raise UserError(f"--processes {processes}: this machine has {there} {kind}; ask for at most that")


def threads_of_each(processes: int) -> int:
    """CPU threads of a process when so many share this machine's cores."""
    return max(1, _cores() // processes)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def train_in_processes(
    training: Callable[..., TrainedNetwork],
    *,
    processes: int,
    device: str,
    on_progress: Callable[[TrainingProgress], None],
) -> TrainedNetwork:
    """What `training` gives on `processes` ranks, which share every batch; the first error ends all of them.

    Args:
        training: `search.training.train` with all but `on_progress` and `ranks` bound; it is pickled.
        device: name of the device that this machine measures on.
        on_progress: called in this process with what rank 0 reports.

    Raises:
        UserError, WorkFailedError: as `training` does.
        WorkFailedError: a rank failed otherwise or died; one line.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; all processes have ended.
    """
    import torch

    share = {"CPU": 1.0, "GPU": float(torch.cuda.is_available())}
    with tempfile.TemporaryDirectory() as scratch, _session(processes, device):
        return train_joined(
            training, processes=processes, resources=share, scratch=scratch, on_progress=on_progress
        )


def train_joined(
    training: Callable[..., TrainedNetwork],
    *,
    processes: int,
    resources: Mapping[str, float],
    scratch: str,
    on_progress: Callable[[TrainingProgress], None],
) -> TrainedNetwork:
    """`train_in_processes` inside a Ray session that is there, on one of its machines.

    Args:
        resources: of each process, by Ray's names: CPU, and GPU (0 or 1).
        scratch: folder for Ray Train's own files, on that machine too.

    Raises:
        ProcessLostError: a process died, or the machine has no room for them within a minute.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.queue import Queue

    on_gpus = resources["GPU"] > 0
    reports = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        lambda: _rank(training, reports),
        # gloo beside NCCL: ranks that wait for rank 0 must not keep a GPU busy that is measured on
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout_s=PATIENCE_S),
        scaling_config=ScalingConfig(
            num_workers=processes,
            use_gpu=on_gpus,
            resources_per_worker={kind: amount for kind, amount in resources.items() if amount},
            placement_strategy="STRICT_PACK",
        ),
        run_config=RunConfig(
            name="training",
            storage_path=scratch,  # checkpoints are ours, beside the weights
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )
    try:
        return _followed(trainer, reports, on_progress)
    finally:
        reports.shutdown(force=True)


@contextmanager
def _session(processes: int, device: str) -> Iterator[None]:
    """Ray on this machine; SIGTERM ends the block as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # paths may be relative
    try:
        with ray_session(None, processes, device):
            # Ray has set one that exits without a word.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _followed(trainer: Any, reports: Any, on_progress: Callable[[TrainingProgress], None]) -> TrainedNetwork:
    """Pass on what the ranks report until they have ended."""
    from ray.exceptions import RayError
    from ray.util.queue import Empty

    outcome: list[Any] = []

    def fit() -> None:
        try:
            outcome.append(trainer.fit().return_value)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that can tell of it
            outcome.append(error)

    # Not in the main thread, where Ray Train would take Ctrl-C for itself: ours ends the session and all ranks with it.
    fitting = threading.Thread(target=fit, daemon=True)
    fitting.start()
    while True:
        ended = not fitting.is_alive()
        try:
            report = reports.get(timeout=POLL_S)
        except Empty:
            if ended:
                break
            continue
        except RayError as error:  # the queue's own process is gone
            raise _lost(error) from error
        if isinstance(report, Exception):
            raise report
        on_progress(report)
    if isinstance(outcome[0], BaseException):
        raise _lost(outcome[0]) from outcome[0]
    trained: TrainedNetwork = outcome[0]
    return trained


def _lost(error: BaseException) -> ProcessLostError:
    """Why Ray failed although no rank could say so itself."""
    from search.training.ranks import is_lost_peer

    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    # What a rank itself raised has been reported, so the others are those that ended without a word.
    silent = next((failure for failure in failures if not is_lost_peer(failure)), None)
    if silent is None:
        reason = f"the processes lost touch with each other: {one_line(failures[0])}"
    else:
        cause = getattr(silent, "health_check_failure", silent)
        reason = f"one of the processes was lost: {lost_cause(cause, time.monotonic())}"
    return ProcessLostError(reason)


def _rank(training: Callable[..., TrainedNetwork], reports: Any) -> TrainedNetwork:
    """What each process does. Its own failure is reported before the others notice that it is gone."""
    from search.training.ranks import Ranks, is_lost_peer

    ranks = Ranks.joined()
    try:
        return training(on_progress=reports.put, ranks=ranks)
    except (UserError, WorkFailedError) as error:
        reports.put(error)
        raise
    except Exception as error:
        if is_disk_full(error):
            reports.put(error)
        elif not is_lost_peer(error):
            where = f"process {ranks.rank + 1} of {ranks.count}"
            reports.put(WorkFailedError(f"{where} failed: {type(error).__name__}: {one_line(error)}"))
        raise
