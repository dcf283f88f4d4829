"""The README of an exported network: what it is, what it was measured to do, and how to run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
`model.onnx` takes `images` ({batch} x 3 x {size} x {size}, RGB, 0..1, letterboxed with gray 114) and
returns `boxes` (xyxy in input pixels) and `scores` (one per class). NMS is not in the graph: class-aware, IoU 0.65,
at most 300.

```
python -m evaluators latency  --artefact DIR
python -m evaluators accuracy --artefact DIR --data DATA
```

| file | what |
|---|---|
| `candidate.json` | the architecture, recipe and precision |
| `weights.safetensors` | the training form of the weights, to train on |
| `model.onnx` | the deployed network that was measured |
| `artefact.json` | classes, shapes, content hash |
"""


def model_card(study: StudyRecord, trial: TrialRecord, verification: Verification | None) -> str:
    """Markdown; every number with its origin and protocol."""
    settings = study.settings
    candidate = Candidate.from_dict(trial.spec)
    deployed, latency = trial.deployed, trial.deployed_latency
    assert deployed is not None and latency is not None
    size = candidate.image_size or settings["image_size"]
    rows = [
        ("deployed", _ap(deployed.ap, deployed.ap50), f"{latency.median_ms:.2f} ms", "when it was found"),
    ]
    if verification is not None:
        rows.append(
            (
                "verified",
                _ap(verification.ap, None),
                f"{verification.median_ms:.2f} ms",
                "again, in new processes",
            )
        )
    interval = f"95 % interval {latency.low_ms:.2f} to {latency.high_ms:.2f} ms, p99 {latency.p99_ms:.2f} ms"
    accuracy_protocol = json.dumps(dict(deployed.protocol), sort_keys=True)
    workload = json.dumps(dict(latency.workload), sort_keys=True)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    limit = "none" if study.target_latency_ms is None else f"{study.target_latency_ms:g} ms"
    return f"""# {trial.title}

A detector of the YOLOv6 family, found by study `{study.name}`: trial {trial.number}, candidate
`{trial.candidate_key}`.

- architecture: {candidate.label}
- {(trial.params or 0) / 1e6:.2f} M parameters, {(trial.flops or 0) / 1e9:.2f} GFLOPs at {size} px (2 x MAC)
- precision: {candidate.precision.label}
- classes: {", ".join(settings["classes"])}
- data: {settings["data"]["name"]}: {settings["data"]["description"]}
- trained for {deployed.epochs:.0f} epochs from scratch

| origin | AP | latency | when |
|---|---|---|---|
{table}

AP: COCO AP (IoU .50:.95) on the val split through the deployed engine, `{accuracy_protocol}`.
The val split chose this network among others, so expect a little less on new images.

Latency: median, {interval}, `{workload}`; limit {limit}. It holds for that device only.

{_INT8_NOTE if candidate.precision.kind == "int8" else ""}{_USE.format(batch=settings["batch"], size=size)}"""


def _ap(ap: float | None, ap50: float | None) -> str:
    text = "undefined" if ap is None else f"{ap:.3f}"
    return text if ap50 is None else f"{text} (AP50 {ap50:.3f})"
