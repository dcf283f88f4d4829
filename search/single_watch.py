"""What a person sees of one training: lines on standard error, a log beside the weights, TensorBoard if asked.

TensorBoard needs the package of that name (`pip install 'yolov6-search[tensorboard]'`); its files are written by
torch's own writer.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from search.training import TrainingProgress

LOG_FILE = "log.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
SAY_EVERY_S = 10.0
LOG_EVERY_S = 2.0


def require_tensorboard() -> None:
    """Raises UserError with the remedy when the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "--tensorboard needs the tensorboard package: pip install tensorboard, or leave the option out"
        )


class Watch:
    """Takes every progress report of a training; a context manager."""

    def __init__(self, out: Path, *, tensorboard: bool = False) -> None:
        self._out, self._tensorboard = out, tensorboard
        self._writers: dict[str, Any] = {}
        self._steps: dict[str, int] = {}
        self._said = self._logged = 0.0

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, now: TrainingProgress, phase: str = "") -> None:
        """A report; `phase` names what is trained where the report does not."""
        now = dataclasses.replace(now, phase=now.phase or phase)
        always, clock = now.ap is not None or now.step == now.steps, time.monotonic()
        if always or clock - self._said >= SAY_EVERY_S:
            progress(now.line())
            self._said = clock
        if not always and clock - self._logged < LOG_EVERY_S:
            return
        self._logged = clock
        with (self._out / LOG_FILE).open("a") as log:
            log.write(json.dumps(dataclasses.asdict(now)) + "\n")
        if self._tensorboard:
            self._write_scalars(now)

    def picture(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """A BGR picture (H, W, 3) for TensorBoard."""
        if self._tensorboard:
            self._writer("", step).add_image(name, image[..., ::-1].copy(), step, dataformats="HWC")

    def _write_scalars(self, now: TrainingProgress) -> None:
        writer = self._writer(now.phase, now.step)
        scalars = {f"loss/{name}": value for name, value in now.parts.items()}
        scalars |= {
            "loss/total": now.loss,
            "learning rate": now.learning_rate,
            "speed/images per second": now.images_per_second,
            "speed/share of time waiting for pictures": now.waiting,
            "memory MiB": now.memory_mib,
        }
        if now.ap is not None:
            scalars["val AP"] = now.ap
        for name, value in scalars.items():
            writer.add_scalar(name, value, now.step)

    def _writer(self, phase: str, step: int) -> Any:
        """Of a phase; a new one where a run goes back, which hides what was written beyond."""
        from torch.utils.tensorboard import SummaryWriter

        if step < self._steps.get(phase, step + 1):
            if phase in self._writers:
                self._writers[phase].close()
            folder = self._out / TENSORBOARD_FOLDER / phase
            self._writers[phase] = SummaryWriter(str(folder), purge_step=step)
        self._steps[phase] = step
        return self._writers[phase]
