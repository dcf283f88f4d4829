"""An artefact: the files of one candidate with one set of weights, for an engine, named by their content.

Folder layout:
    candidate.json       the candidate
    weights.safetensors  weights in the training form, from which everything else can be made again (int8 by QAT:
                         from which it was fine-tuned)
    model.onnx           folded network of static shape: float32, strongly typed float16, or Q/DQ for int8
    artefact.json        `ArtefactMeta`

Latency and AP belong to `Artefact.hash`, so both always speak of the same network.
"""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.atomic_folder import put_in_place, sha256_of, write_through
from evaluators.buildable import check_buildable, float_format_of
from evaluators.network_files import write_graph, write_weights
from foundation.errors import UserError
from yolov6space.candidate import Candidate, SpecError

if TYPE_CHECKING:
    from evaluators.quantization.fine_tuned import QuantizedNetwork
    from yolov6space.networks import Detector

FORMAT = 1
WEIGHTS_FILE = "weights.safetensors"  # of an artefact's folder: the training form
_CANDIDATE, _ONNX, _META = "candidate.json", "model.onnx", "artefact.json"
# Ranges of noise do not depend on its size, and choosing float layers takes a pass per layer.
MAX_NOISE_SIZE = 256
Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactMeta:
    """What the files are.

    Attributes:
        hash: names the artefact, see `Artefact.hash`.
        candidate_key: key of the candidate.
        precision: kind of number format the engine has to use.
        class_names: names in order of label.
        image_size: side of the square input in pixels.
        batch: images per pass.
        float_layers: layers of an int8 network that were left in float.
        float_format: number format in the graph of what is not int8: fp32, or fp16 for NVIDIA's compilers.
        half_weights: whether int8 weights use half their range.
        trained: False for weights that only serve to measure latency.
        onnx_sha256: of model.onnx.
        weights_sha256: of weights.safetensors.
        format: version of this layout.
    """

    hash: str
    candidate_key: str
    precision: str
    class_names: tuple[str, ...]
    image_size: int
    batch: int
    float_layers: tuple[str, ...]
    trained: bool
    onnx_sha256: str
    weights_sha256: str
    float_format: str = "fp32"
    half_weights: bool = False
    format: int = FORMAT


@dataclass(frozen=True)
class Artefact:
    """A folder whose contents were verified; immutable from then on."""

    folder: Path
    meta: ArtefactMeta

    @property
    def onnx(self) -> Path:
        """The network: `images` B,3,H,W (RGB, 0..1) to `boxes` B,A,4 (pixels) and `scores` B,A,C."""
        return self.folder / _ONNX

    @property
    def weights(self) -> Path:
        """Weights in the training form."""
        return self.folder / WEIGHTS_FILE

    @property
    def hash(self) -> str:
        """64 hexadecimal digits: SHA-256 of the precision and the bytes of the ONNX file.

        The precision counts because fp32 and bf16 share one ONNX file but neither latency nor AP.
        """
        return self.meta.hash

    @cached_property
    def candidate(self) -> Candidate:
        """The candidate this was built from."""
        return Candidate.from_dict(json.loads((self.folder / _CANDIDATE).read_text()))


def build_artefact(
    candidate: Candidate,
    detector: "Detector",
    *,
    class_names: Sequence[str],
    image_size: int,
    batch: int = 1,
    folder: Path,
    calibration: Sequence[Images] | None = None,
    quantized: "QuantizedNetwork | None" = None,
    trained: bool = True,
    float_format: str = "fp32",
    half_weights: bool = False,
) -> Artefact:
    """Fold, quantize if asked, export, and put the result at `folder` in one step.

    A crash or power cut leaves no half artefact: `folder` is as it was, or the new one, or, between taking the old one
    away and renaming the new one, absent.

    Args:
        detector: training form, with weights; not changed.
        calibration: B,3,H,W batches (RGB, 0..1) that int8 takes its activation ranges from.
        quantized: what QAT made of the detector; exported as it is instead of quantizing here.
        trained: False when the weights only serve to measure latency.
        float_format: of what stays float in an int8 network (`hardware.float_format` knows what a device needs);
            an fp16 network is fp16 throughout.
        half_weights: int8 weights use half their range (`devices.overflows_int8` knows which devices need it).

    Raises:
        UserError: a precision this release cannot build, int8 without calibration images, or `folder` holds
            something that is no artefact.
        WorkFailedError: a weight does not fit into fp16.
        ValueError: the detector is folded, or has another number of classes than there are names.
    """
    if detector.is_folded:
        raise ValueError("the detector is folded; give the training form")
    if detector.num_classes != len(class_names):
        raise ValueError(f"{len(class_names)} class names for a detector of {detector.num_classes} classes")
    check_buildable(candidate.precision, calibration, tuned=quantized is not None, trained=trained)
    float_format = float_format_of(candidate.precision, float_format)
    folder = Path(folder)
    _check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_weights(detector, temporary / WEIGHTS_FILE)
        float_layers = write_graph(
            detector,
            candidate.precision,
            temporary / _ONNX,
            image_size=image_size,
            batch=batch,
            calibration=calibration or (),
            quantized=quantized,
            half_weights=half_weights,
        )
        if float_format == "fp16":
            from evaluators.graphs.half import write_half

            write_half(temporary / _ONNX, temporary / _ONNX)
        onnx_sha256 = sha256_of(temporary / _ONNX)
        meta = ArtefactMeta(
            hash=_artefact_hash(candidate.precision.kind, onnx_sha256),
            candidate_key=candidate.key,
            precision=candidate.precision.kind,
            class_names=tuple(class_names),
            image_size=image_size,
            batch=batch,
            float_layers=float_layers,
            trained=trained,
            onnx_sha256=onnx_sha256,
            weights_sha256=sha256_of(temporary / WEIGHTS_FILE),
            float_format=float_format,
            half_weights=half_weights,
        )
        _write_json(temporary / _CANDIDATE, candidate.to_dict())
        _write_json(temporary / _META, dataclasses.asdict(meta))
        temporary.chmod(0o755)  # mkdtemp makes it private
        write_through(temporary)
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Artefact(folder, meta)


def load_artefact(folder: Path | str) -> Artefact:
    """Open an artefact after checking every file against its hash.

    Raises:
        UserError: missing or damaged files, or a newer layout; says what to do.
    """
    folder = Path(folder)
    again = "build it again or copy it again from where it came"
    try:
        fields: dict[str, Any] = json.loads((folder / _META).read_text())
        if not isinstance(fields, dict):
            raise ValueError(f"{_META} is no JSON object")
        if fields.get("format", 0) > FORMAT:
            raise UserError(
                f"{folder}: written by a newer version (layout {fields['format']}); update this one"
            )
        fields["class_names"], fields["float_layers"] = (
            tuple(fields["class_names"]),
            tuple(fields["float_layers"]),
        )
        artefact = Artefact(folder, ArtefactMeta(**fields))
        key = artefact.candidate.key
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; give that of an artefact") from None
        if (folder / "network" / _META).is_file():
            raise UserError(f"{folder}: the artefact is in {folder / 'network'}; give that folder") from None
        raise UserError(f"{folder}: {Path(error.filename).name} is missing; {again}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SpecError) as error:
        raise UserError(f"{folder}: not a readable artefact ({error}); {again}") from None
    meta = artefact.meta
    for path, expected in ((artefact.onnx, meta.onnx_sha256), (artefact.weights, meta.weights_sha256)):
        if not path.is_file():
            raise UserError(f"{folder}: {path.name} is missing; {again}")
        if sha256_of(path) != expected:
            raise UserError(f"{folder}: {path.name} is damaged (its hash differs); {again}")
    if key != meta.candidate_key or _artefact_hash(meta.precision, meta.onnx_sha256) != meta.hash:
        raise UserError(f"{folder}: {_META} does not belong to the other files; {again}")
    return artefact


def untrained_artefact(
    candidate: Candidate,
    *,
    num_classes: int,
    image_size: int,
    batch: int = 1,
    folder: Path,
    seed: int = 0,
    float_format: str = "fp32",
    half_weights: bool = False,
) -> Artefact:
    """An artefact that serves to measure the latency of a candidate before it is trained.

    Weights are random; BatchNorm statistics and int8 ranges come from noise images, so that no denormal
    numbers appear and every layer gets the kernel it will get when trained. Deterministic in `seed`.

    Raises:
        UserError: see `build_artefact`.
    """
    import torch

    from yolov6space.networks import build, realistic_statistics

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = realistic_statistics(build(candidate.model, num_classes), seed)
    int8 = candidate.precision.kind == "int8"
    return build_artefact(
        candidate,
        detector,
        class_names=[f"class {label}" for label in range(num_classes)],
        image_size=image_size,
        batch=batch,
        folder=folder,
        calibration=[noise_images(2, min(image_size, MAX_NOISE_SIZE), seed)] if int8 else None,
        trained=False,
        float_format=float_format,
        half_weights=half_weights,
    )


def noise_images(n: int, image_size: int, seed: int) -> Images:
    """n,3,image_size,image_size in 0..1 with the spectrum of photographs; deterministic in `seed`."""
    import torch

    from yolov6space.networks import initialise

    images = initialise.noise_images(n, image_size, torch.Generator().manual_seed(seed))
    return np.ascontiguousarray(images.numpy())


def _check_target(folder: Path) -> None:
    if not folder.exists() or (folder / _META).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UserError(f"{folder} exists and is no artefact; choose another folder")


def _artefact_hash(precision: str, onnx_sha256: str) -> str:
    return hashlib.sha256(f"{precision}\n{onnx_sha256}".encode()).hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
