"""A conductor over a real SQLite file, with a world that answers at once."""

from collections.abc import Callable
from itertools import islice

from search.budget import TimePlan, TrainingCost
from search.conductor import Conductor
from search.driver import fixed_trials
from search.roles import Policy
from search.stages import TrainJob
from storage import Repository
from tests.search.fakes import CLASSES, SIZE, FakeJudge, SilentView, trained
from yolov6space.space import Space

TARGET_MS = 8.8


class Clock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def conductor(
    repository: Repository,
    *,
    trials: int | None = 6,
    fixed: int = 0,
    budget_s: float | None = None,
    clock: Callable[[], float] | None = None,
    judge: FakeJudge | None = None,
    seed: int = 0,
    only_fixed: bool = False,
    target_ms: float = TARGET_MS,
    sampler: str = "random",
) -> Conductor:
    known = {study.name for study in repository.list_studies()}
    study = (
        repository.get_study("s")
        if "s" in known
        else repository.create_study("s", {}, target_latency_ms=TARGET_MS)
    )
    return Conductor(
        repository=repository,
        study=study,
        space=Space.default(),
        policy=Policy(
            target_ms=target_ms,
            only_fixed=only_fixed,
            image_size=SIZE,
            num_classes=CLASSES,
            epochs=5,
            train_images=100,
            sampler=sampler,
            seed=seed,
            trials=trials,
            fixed=tuple(islice(fixed_trials(), fixed)),
        ),
        plan=TimePlan(budget_s=budget_s, cost=TrainingCost(0.0, 0.01), clock=clock or Clock()),
        judge=judge or FakeJudge(),
        view=SilentView(),
    )


def run(one: Conductor, jobs: int | None = None) -> list[TrainJob]:
    """Answer every job at once; stop after `jobs` of them as a kill would, the last one unanswered."""
    one.add_fixed_trials()
    done: list[TrainJob] = []
    while (job := one.next_job()) is not None:
        done.append(job)
        if jobs is not None and len(done) == jobs:
            return done
        one.succeeded(job, trained(job))
    return done


def next_one(one: Conductor) -> TrainJob | None:
    """The next job, asked for as often as Ray Tune would; None while only running ones could bring another."""
    return next((job for _ in range(50) if (job := one.next_job()) is not None), None)


def story(repository: Repository) -> list[tuple[str, str]]:
    return [(trial.candidate_key, str(trial.state)) for trial in repository.trials(1)]
