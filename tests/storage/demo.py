"""A study that looks like a search half-way: made-up figures with the shape of real ones, for tests only."""

import random

from storage import (
    LATENCY_MS,
    NewArtefact,
    NewEstimate,
    NewEvaluation,
    NewMeasurement,
    Origin,
    Repository,
    Rung,
    StudyRecord,
    TrialKind,
)

TARGET_MS = 8.8
PROTOCOL = {"data": "made-up", "split": "val", "image_size": 320, "conf_threshold": 0.03}
WORKLOAD = {"image_size": 320, "batch": 1, "precision": "fp32", "device": "cpu", "backend": "openvino"}
ENVIRONMENT = {"cpu": "made-up CPU", "threads": 2, "openvino": "2026.4"}
ME, OTHER = "here:1:100.00", "there:2:200.00"
ESTIMATE = NewEstimate(quantity=LATENCY_MS, value=20.0, low=15.0, high=30.0, source="FLOPs")


def latency(
    rung: Rung, median_ms: float, rng: random.Random, artefact_hash: str | None = None
) -> NewMeasurement:
    """A measurement around a median, its interval about two percent wide."""
    samples = sorted(median_ms * (1 + abs(rng.gauss(0, 0.03))) for _ in range(30))
    half = 0.01 + 0.02 * rng.random()
    return NewMeasurement(
        rung=rung,
        median_ms=median_ms,
        low_ms=median_ms * (1 - half),
        high_ms=median_ms * (1 + half),
        p99_ms=max(samples[-1], median_ms),
        samples_ms=samples,
        workload=WORKLOAD,
        environment=ENVIRONMENT,
        artefact_hash=artefact_hash,
    )


def deployed(ap: float, median_ms: float, rng: random.Random, artefact_hash: str) -> dict:
    """Arguments of `Repository.finish` for a network that was trained and deployed."""
    return {
        "evaluations": [
            NewEvaluation(origin=Origin.TRAINED, ap=min(ap + 0.004, 1.0), ap50=min(ap + 0.22, 1.0), epochs=6),
            NewEvaluation(
                origin=Origin.DEPLOYED,
                ap=ap,
                ap50=min(ap + 0.21, 1.0),
                figures={"AP": ap, "AP50": ap + 0.21, "AP75": ap - 0.02},
                protocol=PROTOCOL,
                artefact_hash=artefact_hash,
                seconds=21.0,
                epochs=6,
            ),
        ],
        "measurements": [latency(Rung.DEPLOYED, median_ms, rng, artefact_hash)],
        "artefacts": [NewArtefact(hash=artefact_hash, path=f"runs/{artefact_hash}", size_bytes=4 << 20)],
    }


def seed_demo(
    repository: Repository, name: str = "demo", trials: int = 42, seed: int = 1, owner: str | None = None
) -> StudyRecord:
    """Fill a study: two official variants, one over the limit, sampled ones in every state."""
    rng = random.Random(seed)
    settings = {"data": {"name": "made-up", "description": "made-up figures for tests"}, "workload": WORKLOAD}
    study = repository.create_study(name, {**settings, "seed": seed}, target_latency_ms=TARGET_MS)
    for number in range(trials):
        fixed = {0: ("YOLOv6-N", 8.1), 1: ("YOLOv6-T", 12.6), 2: ("YOLOv6-S", 19.8)}.get(number)
        width = rng.choice([0.125, 0.1875, 0.25, 0.375])
        width = {0: 0.25, 1: 0.375, 2: 0.5}.get(number, width)
        kind = rng.choice(["fp32", "int8"])
        kind = "fp32" if fixed else kind
        speed = 1.2 + 34 * width * (0.45 if kind == "int8" else 1.0) * rng.uniform(0.7, 1.5)
        speed = fixed[1] if fixed else speed
        ap = 0.62 - 0.52 * 2 ** (-speed / (2.2 if kind == "int8" else 3.2)) - abs(rng.gauss(0, 0.035))
        int8 = {"kind": "int8", "scheme": "ptq", "float_layers": 0}
        precision = int8 if kind == "int8" else {"kind": "fp32"}
        trial = repository.add_trial(
            study.id,
            f"{seed:04x}{number:08x}",
            {"model": {"width": width}, "recipe": {"box_loss": "siou"}, "precision": precision},
            kind=TrialKind.FIXED if fixed else TrialKind.SAMPLED,
            name=fixed[0] if fixed else None,
            label=f"w{width:g} d{rng.choice([1, 2, 3])} {rng.choice(['rep', 'csp'])} {precision['kind']}",
            params=int(4.3e6 * (width / 0.25) ** 2),
            flops=int(2.8e9 * (width / 0.25) ** 2),
        )
        if number == trials - 1:
            continue  # left waiting
        if not fixed and speed > TARGET_MS * 1.6:
            low = speed * 0.8
            bound = NewEstimate(quantity=LATENCY_MS, value=speed, low=low, high=speed * 1.3, source="FLOPs")
            repository.infeasible(trial, bound, f"at least {low:.2f} ms, limit {TARGET_MS:g} ms")
            continue
        repository.claim(trial, owner)
        if number == trials - 2:
            continue  # left running
        untrained = latency(Rung.UNTRAINED, speed * rng.uniform(0.98, 1.02), rng)
        if not fixed and untrained.median_ms > TARGET_MS * 1.03:
            repository.infeasible(
                trial, untrained, f"{untrained.median_ms:.2f} ms, limit {TARGET_MS:g} ms", owner=owner
            )
            continue
        repository.record(trial, owner=owner, measurements=[untrained])
        if number % 19 == 7:
            repository.fail(trial, "training diverged: the loss is not finite at step 37", owner=owner)
        else:
            repository.finish(trial, owner=owner, **deployed(ap, speed, rng, f"{seed:02x}{number:014x}"))
    return study
