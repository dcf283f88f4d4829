"""The README of an exported network: what it is, what it was measured to do, and how to run it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evidence import DISTURBANCE
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from search.export import Verification
    from storage.records import StudyRecord, TrialRecord

_INT8_NOTE = """\
Load an int8 `model.onnx` into OpenVINO through `evaluators.latency.open_engine`, as the commands below do: OpenVINO
2026.4 by itself computes convolutions behind a concatenation wrongly with signed int8 activations (docs/latency.md).

"""
_USE = """\
## Run it
`model.onnx` takes `images` ({batch} x 3 x {size} x {size}, RGB, 0..1; the image's longer side scaled to {load} px,
centred, the rest gray {fill}) and returns `boxes` ({batch} x anchors x 4, x1 y1 x2 y2 in input pixels) and `scores`
({batch} x anchors x {classes}, a probability for each class). NMS is not in the graph; AP was measured with class-aware
NMS: {postprocessing}.

```
python -m evaluators latency  --artefact {folder}
python -m evaluators accuracy --artefact {folder} --data {data}
```

| file | what |
|---|---|
| `candidate.json` | the architecture, recipe and precision |
| `weights.safetensors` | the training form of the weights, to train on |
| `model.onnx` | the deployed network that was judged |
| `artefact.json` | classes, shapes, content hash |
"""
_POSTPROCESSING = ("conf_threshold", "nms_iou", "max_detections", "max_candidates", "multi_label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the card tells of the measurement beyond the trial's record.

    Attributes:
        environment: machine, versions and threads of the deployed latency.
        samples: passes that were timed.
    """

    environment: Mapping[str, Any]
    samples: int


def model_card(
    study: StudyRecord,
    trial: TrialRecord,
    evidence: Evidence | None,
    verification: Verification | None,
    *,
    folder: str,
    data: str,
) -> str:
    """Markdown; every number with its origin and protocol. `folder` is where the card will lie.

    `evidence` is None where nobody measured the latency.
    """
    from evaluators.accuracy.protocol import stored_protocol

    settings = study.settings
    candidate = Candidate.from_dict(trial.spec)
    deployed = trial.deployed
    assert deployed is not None
    size = candidate.image_size or settings["image_size"]
    rules = stored_protocol(deployed.protocol)
    seed = deployed.protocol.get("seed", "unknown")
    use = _USE.format(
        batch=settings["batch"],
        size=size,
        load=rules.load_pixels(size),
        fill=rules.fill,
        classes=len(settings["classes"]),
        postprocessing=_words({name: deployed.protocol.get(name) for name in _POSTPROCESSING}),
        folder=shlex.quote(folder),
        data=shlex.quote(data),
    )
    return f"""# {trial.title}

A detector of the YOLOv6 family, found by study `{study.name}`: trial {trial.number}, candidate
`{trial.candidate_key}`.

{_architecture(candidate)}
- cost: {(trial.params or 0) / 1e6:.2f} M parameters, {(trial.flops or 0) / 1e9:.2f} GFLOPs at {size} px (2 x MAC)
- precision: {candidate.precision.label}{_tuning(deployed.protocol)}
- classes: {", ".join(settings["classes"])}
- data: {settings["data"]["name"]}: {settings["data"]["description"]}
- trained for {deployed.epochs:.0f} epochs {_origin(deployed.protocol)}, one seed ({seed})

{_results(study, trial, evidence, verification)}

{_INT8_NOTE if candidate.precision.kind == "int8" else ""}{use}"""


def _origin(protocol: Mapping[str, Any]) -> str:
    """What a training began with, and who taught it."""
    start, before = protocol.get("init_sha256"), protocol.get("epochs_before")
    words = "from scratch"
    if start and before:
        words = f"from scratch, in two trainings: {before}, and the others from the weights of the first"
    elif start:
        words = f"on top of earlier weights (SHA-256 {start})"
    teacher = protocol.get("teacher_sha256")
    if teacher and teacher == start:
        return f"{words}, which are its teacher too"
    return f"{words}, with a teacher (SHA-256 {teacher})" if teacher else words


def _tuning(protocol: Mapping[str, Any]) -> str:
    """How QAT made an int8 network; empty where it did not."""
    if protocol.get("quantization") != "qat":
        return ""
    return (
        f", fine-tuned after training with int8 in the loop (QAT): {protocol['qat_epochs']} epochs at a rate of "
        f"{protocol['qat_lr']:g}, {protocol['qat_distillation']} distillation from its own float weights"
    )


def _architecture(candidate: Candidate) -> str:
    """The network in words, one line per part."""
    model = candidate.model
    stages = ", ".join(
        f"{stage.block} x{stage.repeats} to {stage.channels} channels" for stage in model.backbone
    )
    neck = ", ".join(f"{stage.block} x{stage.repeats} to {stage.channels}" for stage in model.neck)
    head = (
        f"box distances through DFL, reg_max {model.reg_max}"
        if model.reg_max
        else "box distances without DFL"
    )
    return (
        f"- backbone (EfficientRep): {stages}\n"
        f"- neck (Rep-PAN): {neck}\n"
        f"- head: decoupled, {head}; convolutions `{model.conv}`, activation {model.activation}"
    )


def _results(
    study: StudyRecord, trial: TrialRecord, evidence: Evidence | None, verification: Verification | None
) -> str:
    settings, deployed, latency = study.settings, trial.deployed, trial.final_latency
    assert deployed is not None and latency is not None
    how = " (estimated)" if latency.estimated else ""
    rows = [("deployed", _ap(deployed.ap, deployed.ap50), f"{latency.ms:.2f} ms{how}", "when it was found")]
    if verification is not None:
        again = (
            "not verified: the device is not here"
            if latency.estimated
            else f"{verification.median_ms:.2f} ms"
        )
        rows.append(("verified", _ap(verification.ap, None), again, "in new processes"))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    unverified = "" if verification else "\n\nNot verified: the files were not loaded and measured again."
    shown = {name: value for name, value in deployed.protocol.items() if not name.endswith("_sha256")}
    limit = "none" if study.target_latency_ms is None else f"{study.target_latency_ms:g} ms"
    return f"""| origin | AP | latency | when |
|---|---|---|---|
{table}{unverified}

AP: COCO AP (IoU .50:.95) on the val split through the deployed engine: {_words(shown)}.
The val split chose this network among others, so expect a little less on new images.

{_latency(trial, evidence, str(settings["device"]))} The limit: {limit}."""


def _latency(trial: TrialRecord, evidence: Evidence | None, device: str) -> str:
    """What the latency is, of what and where."""
    latency, measured = trial.final_latency, trial.deployed_latency
    assert latency is not None
    between = f"{latency.low_ms:.2f} to {latency.high_ms:.2f} ms"
    if measured is None or evidence is None:
        return (
            f"Latency: **estimated for {device}, nobody measured it**, 90 % interval {between} "
            f"({latency.about['source']}). The AP is of the files here on a CPU; `model.onnx` of an fp16 network is "
            "fp32, to be built in fp16 on the device."
        )
    doubt = evidence.environment.get(DISTURBANCE)
    return (
        f"Latency: median of {evidence.samples} passes, 95 % interval {between}, p99 {measured.p99_ms:.2f} ms;\n"
        f"decoding included, NMS not included; {_words(measured.workload)}.\n"
        f"Measured {measured.created_at:%Y-%m-%d} on {_machine(evidence.environment)}. It holds for that machine only."
        + (
            f"\n**The measurement was disturbed**: {doubt}. Measure again on a quiet machine."
            if doubt
            else ""
        )
    )


def _machine(environment: Mapping[str, Any]) -> str:
    """The machine, versions and options of a measurement, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    commit = environment.get("git_commit")
    parts = [
        str(environment.get("gpu") or environment.get("cpu") or "an unknown machine"),
        f"{environment.get('physical_cores', '?')} cores",
        f"{environment.get('threads', '?')} threads used",
        versions,
        f"this program at {commit[:10]}" if commit else "",
    ]
    return ", ".join(part for part in parts if part)


def _words(values: Mapping[str, Any]) -> str:
    """Entries of a protocol as words; what is absent is left out."""
    return ", ".join(
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
        for name, value in sorted(values.items())
        if value is not None and value is not False
    )


def _ap(ap: float | None, ap50: float | None) -> str:
    text = "undefined" if ap is None else f"{ap:.3f}"
    return text if ap50 is None else f"{text} (AP50 {ap50:.3f})"
