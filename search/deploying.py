"""From trained weights to an artefact and its AP: the same for a search and for one training outside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    import numpy as np

    from evaluators.accuracy import Accuracy, Engine
    from evaluators.artefact import Artefact
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from evaluators.quantization.fine_tuned import QuantizedNetwork
    from yolov6space.networks import Detector

CALIBRATION_IMAGES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A built artefact and what it was judged to be; JSON values.

    Attributes:
        trained, deployed: `figures` and `protocol` of AP on val, in PyTorch and through the artefact's engine.
        measurement: latency of the artefact (`Measurement.to_dict`); None where it was not asked for.
    """

    artefact: Artefact
    trained: dict[str, Any]
    deployed: dict[str, Any]
    measurement: dict[str, Any] | None


def deploy(
    candidate: Candidate,
    detector: Detector,
    data: DetectionData,
    *,
    hardware: Hardware,
    image_size: int,
    batch: int,
    folder: Path,
    training: Mapping[str, Any],
    quantized: QuantizedNetwork | None = None,
    quantizing: Mapping[str, Any] | None = None,
    ap_to_beat: float | None = None,
    measure: Callable[[Artefact], dict[str, Any]] | None = None,
    opened: Callable[[Artefact, Hardware], AbstractContextManager[Engine]] | None = None,
    look: Callable[[Engine], None] = lambda engine: None,
    alive: Callable[[], None] = lambda: None,
) -> Deployment:
    """Build the artefact, judge the network in PyTorch and that very artefact through its engine.

    Args:
        candidate: as it is built; its precision is that of the artefact.
        detector: training form with the trained weights.
        hardware: that runs the engine.
        training: what the protocol tells of the training (epochs, seed, distillation).
        quantized: what QAT made of the detector; that is deployed then.
        quantizing: what the protocol of the deployed network alone tells of it.
        ap_to_beat: judging may end early once AP is clearly below (see `judge`).
        opened: opens the engine; None opens it in this process, which must then be one that may crash.
        look: gets the open engine once AP is known.
        alive: called whenever something got done.

    Raises:
        UserError, WorkFailedError: as of `build_artefact`, `opened` and `judge`.
    """
    from evaluators.accuracy import PAPER, TorchEngine, judge
    from evaluators.artefact import build_artefact
    from evaluators.device_lock import working
    from evaluators.devices import overflows_int8
    from evaluators.hardware import float_format
    from evaluators.latency import open_engine

    val = data.split("val")
    protocol = {
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "split": "val",
        "image_size": image_size,
        **training,
        **PAPER.to_dict(),
    }

    def pausing() -> AbstractContextManager[None]:
        return working(hardware.device)  # while somebody measures there

    def judged(engine: Engine, precision: str, device: str, backend: str, **more: Any) -> dict[str, Any]:
        accuracy = judge(
            engine,
            val,
            image_size=image_size,
            ap_to_beat=ap_to_beat,
            on_image=lambda _: alive(),
            guard=pausing,
        )
        where = {"precision": precision, "device": device, "backend": backend}
        return {
            "figures": accuracy.figures.to_dict(),
            "protocol": {**protocol, **judged_images(accuracy), **where, **more},
        }

    trained = judged(TorchEngine(detector, batch), "fp32", "cpu", "pytorch")
    ranges_from_images = candidate.precision.kind == "int8" and quantized is None
    with pausing():
        artefact = build_artefact(
            candidate,
            detector,
            class_names=data.class_names,
            image_size=image_size,
            batch=batch,
            folder=folder,
            calibration=calibration_images(data, image_size, batch) if ranges_from_images else None,
            quantized=quantized,
            float_format=float_format(hardware),
            half_weights=overflows_int8(hardware),
        )
    alive()
    measurement = None if measure is None else measure(artefact)
    alive()
    with (opened or open_engine)(artefact, hardware) as engine:
        deployed = judged(
            engine, candidate.precision.label, hardware.device, hardware.backend, **(quantizing or {})
        )
        look(engine)
    return Deployment(artefact=artefact, trained=trained, deployed=deployed, measurement=measurement)


def judged_images(accuracy: Accuracy) -> dict[str, Any]:
    """What a protocol says of the images AP is of; with the interval of AP where those are only a part."""
    told: dict[str, Any] = {"images": accuracy.images}
    if accuracy.ended_early and accuracy.interval is not None:
        told |= {
            "of_images": accuracy.of_images,
            "ap_low": accuracy.interval.low,
            "ap_high": accuracy.interval.high,
        }
    return told


def calibration_images(data: DetectionData, image_size: int, batch: int) -> list[np.ndarray]:
    """Letterboxed training images (batch x 3 x size x size, RGB 0..1), evenly spread over the split."""
    import numpy as np

    from evaluators.data import letterbox, read_image, to_network

    images = data.split("train").images
    step = max(1, len(images) // CALIBRATION_IMAGES)
    chosen = [
        to_network(letterbox(read_image(image.path), image_size)[0])
        for image in images[::step][:CALIBRATION_IMAGES]
    ]
    whole = -(-len(chosen) // batch) * batch  # whole batches only: the graph has a fixed batch
    cycled = [chosen[index % len(chosen)] for index in range(whole)]
    return [np.stack(cycled[start : start + batch]) for start in range(0, whole, batch)]


def describe_artefact(artefact: Artefact) -> dict[str, Any]:
    """What the database keeps of an artefact: hash, folder, size."""
    size = sum(file.stat().st_size for file in artefact.folder.iterdir())
    return {"hash": artefact.hash, "path": str(artefact.folder), "size_bytes": size}
