"""The repository: the only way into the database.

Contract
- Every method is one transaction: it happens entirely or not at all, also when the process is killed in it.
- What comes out are frozen records, true at the time of reading; changing one changes nothing here.
- A trial is created `waiting`. `claim` makes it `running` and gives it to one owner until its lease ends;
  only that owner may `renew`, `record`, `finish`, mark `infeasible`, `fail` or `release` it. Anyone may end
  a trial that is `waiting` as infeasible or failed, because nobody holds it. The state of an ended one never
  changes; to a finished one later evidence may be added.
- `recover` gives back what dead workers held. A worker that comes back later finds LeaseLostError: its
  report is refused, so nothing is counted twice.
- One repository may be used by many threads; every process opens its own.
- Errors: UserError for anything wrong with the database or a name given by a person (passwords masked),
  RecordRefusedError for a broken constraint, DuplicateCandidateError and LeaseLostError as said below.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from storage._writing import add_event, add_evidence, ensure_candidate
from storage.errors import DuplicateCandidateError, LeaseLostError
from storage.models import Study, Trial
from storage.owners import describe_owner, owner_alive, this_owner
from storage.records import NewArtefact, NewEstimate, NewEvaluation, NewMeasurement
from storage.states import TrialKind, TrialState
from storage.study_store import StudyStore, changed
from storage.urls import mask

LEASE_SECONDS = 120.0
MAX_ATTEMPTS = 3  # a trial that lost this many workers is taken to be what kills them


class Repository(StudyStore):
    """Everything that is known, in SQL. See the contract at the top of this module."""

    def add_trial(
        self,
        study_id: int,
        candidate_key: str,
        spec: Mapping[str, Any],
        *,
        kind: TrialKind = TrialKind.SAMPLED,
        name: str | None = None,
        label: str = "",
        params: int | None = None,
        flops: int | None = None,
    ) -> int:
        """Add a waiting trial with the next number of the study (from 0); returns its id.

        Args:
            spec: the candidate as JSON values.
            label: short description for tables.
            flops: multiply-adds count as two.
        Raises:
            DuplicateCandidateError: the study has this candidate already; the exception says which trial.
        """
        with self._writing() as session:
            # holding the study's row makes numbers and the duplicate check safe between programs
            session.execute(select(Study.id).where(Study.id == study_id).with_for_update()).one()
            same = session.execute(
                select(Trial.id, Trial.number).where(
                    Trial.study_id == study_id, Trial.candidate_key == candidate_key
                )
            ).first()
            if same is not None:
                raise DuplicateCandidateError(candidate_key, same.id, same.number)
            ensure_candidate(session, candidate_key, spec, label, params, flops)
            last = session.scalar(select(func.max(Trial.number)).where(Trial.study_id == study_id))
            number = 0 if last is None else last + 1
            trial_id = session.scalars(
                insert(Trial)
                .values(
                    study_id=study_id,
                    number=number,
                    candidate_key=candidate_key,
                    kind=str(kind),
                    name=name,
                    state=str(TrialState.WAITING),
                    created_at=self._now(),
                    attempts=0,
                )
                .returning(Trial.id)
            ).one()
            add_event(session, study_id, trial_id, self._now(), "added", name or label or candidate_key)
        return trial_id

    def claim(self, trial_id: int, owner: str | None = None, lease_seconds: float = LEASE_SECONDS) -> bool:
        """waiting -> running, held by `owner` (default: this process). False if it was not waiting."""
        owner = owner or this_owner()
        now = self._now()
        with self._writing() as session:
            claimed = changed(
                session,
                update(Trial)
                .where(Trial.id == trial_id, Trial.state == TrialState.WAITING)
                .values(
                    state=str(TrialState.RUNNING),
                    started_at=now,
                    lease_owner=owner,
                    lease_expires_at=now + timedelta(seconds=lease_seconds),
                ),
            )
            if claimed:
                self._event(session, trial_id, "claimed", describe_owner(owner))
        return claimed

    def renew(self, trial_id: int, owner: str | None = None, lease_seconds: float = LEASE_SECONDS) -> None:
        """Keep a running trial for another lease. Raises LeaseLostError."""
        expires = self._now() + timedelta(seconds=lease_seconds)
        with self._writing() as session:
            self._change_held(session, trial_id, owner, lease_expires_at=expires)

    def record(
        self,
        trial_id: int,
        *,
        owner: str | None = None,
        evaluations: Iterable[NewEvaluation] = (),
        measurements: Iterable[NewMeasurement] = (),
        estimates: Iterable[NewEstimate] = (),
        artefacts: Iterable[NewArtefact] = (),
    ) -> None:
        """Keep what a running trial has learnt so far, whatever happens next. Raises LeaseLostError."""
        with self._writing() as session:
            self._change_held(session, trial_id, owner, state=str(TrialState.RUNNING))
            add_evidence(session, trial_id, self._now(), evaluations, measurements, estimates, artefacts)

    def finish(
        self,
        trial_id: int,
        *,
        owner: str | None = None,
        evaluations: Iterable[NewEvaluation] = (),
        measurements: Iterable[NewMeasurement] = (),
        estimates: Iterable[NewEstimate] = (),
        artefacts: Iterable[NewArtefact] = (),
    ) -> None:
        """running -> finished, with the last of what was learnt. Raises LeaseLostError."""
        with self._writing() as session:
            self._change_held(session, trial_id, owner, **self._end(TrialState.FINISHED))
            add_evidence(session, trial_id, self._now(), evaluations, measurements, estimates, artefacts)
            self._event(session, trial_id, "finished", "")

    def add_evidence(
        self,
        trial_id: int,
        *,
        evaluations: Iterable[NewEvaluation] = (),
        measurements: Iterable[NewMeasurement] = (),
        estimates: Iterable[NewEstimate] = (),
        artefacts: Iterable[NewArtefact] = (),
    ) -> None:
        """Add to a finished trial what was learnt later, such as a longer training; the newest counts.

        Raises LeaseLostError if the trial is not finished: an open one belongs to its owner.
        """
        finished = (Trial.id == trial_id, Trial.state == TrialState.FINISHED)
        with self._writing() as session:
            if session.scalars(select(Trial.id).where(*finished).with_for_update()).first() is None:
                raise LeaseLostError(f"trial {trial_id} is not finished; use record() while it runs")
            add_evidence(session, trial_id, self._now(), evaluations, measurements, estimates, artefacts)

    def infeasible(
        self, trial_id: int, evidence: NewMeasurement | NewEstimate, reason: str, *, owner: str | None = None
    ) -> None:
        """running or waiting -> infeasible, with the latency that shows it. Raises LeaseLostError."""
        with self._writing() as session:
            self._end_open(session, trial_id, owner, self._end(TrialState.INFEASIBLE, reason))
            add_evidence(
                session,
                trial_id,
                self._now(),
                evaluations=(),
                measurements=[evidence] if isinstance(evidence, NewMeasurement) else [],
                estimates=[evidence] if isinstance(evidence, NewEstimate) else [],
                artefacts=(),
            )
            self._event(session, trial_id, "infeasible", reason)

    def fail(self, trial_id: int, reason: str, *, owner: str | None = None) -> None:
        """running or waiting -> failed, with the reason in one line. Raises LeaseLostError."""
        with self._writing() as session:
            self._end_open(session, trial_id, owner, self._end(TrialState.FAILED, reason))
            self._event(session, trial_id, "failed", reason)

    def release(self, trial_id: int, *, owner: str | None = None) -> None:
        """running -> waiting, when a worker stops on purpose; costs no attempt. Raises LeaseLostError."""
        with self._writing() as session:
            self._change_held(session, trial_id, owner, **_BACK_TO_WAITING)
            self._event(session, trial_id, "released", "")

    def recover(
        self,
        study_id: int,
        is_alive: Callable[[str], bool] = owner_alive,
        *,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> list[int]:
        """Take back the running trials whose owner is dead or whose lease has ended; returns their ids.

        Each costs an attempt: after `max_attempts` lost ones the trial has failed, until then it waits.
        """
        now = self._now()
        running = select(Trial).where(Trial.study_id == study_id, Trial.state == TrialState.RUNNING)
        recovered = []
        with self._writing() as session:
            for trial in session.scalars(running.order_by(Trial.number).with_for_update()).all():
                assert trial.lease_owner is not None and trial.lease_expires_at is not None
                expired = trial.lease_expires_at <= now
                if not expired and is_alive(trial.lease_owner):
                    continue
                cause = f"{describe_owner(trial.lease_owner)} {'let its lease end' if expired else 'died'}"
                attempts = trial.attempts + 1
                given_up = attempts >= max_attempts
                reason = f"given up after {attempts} attempts: {cause}"
                values = self._end(TrialState.FAILED, reason) if given_up else _BACK_TO_WAITING
                session.execute(update(Trial).where(Trial.id == trial.id).values(**values, attempts=attempts))
                self._event(
                    session, trial.id, "failed" if given_up else "recovered", reason if given_up else cause
                )
                recovered.append(trial.id)
        return recovered

    def _event(self, session: Session, trial_id: int, kind: str, message: str) -> None:
        study_id = session.scalars(select(Trial.study_id).where(Trial.id == trial_id)).one()
        add_event(session, study_id, trial_id, self._now(), kind, message)

    def _end(self, state: TrialState, reason: str | None = None) -> dict[str, Any]:
        text = None if reason is None else mask(" ".join(reason.split())) or "no reason given"
        return {
            "state": str(state),
            "reason": text,
            "finished_at": self._now(),
            "lease_owner": None,
            "lease_expires_at": None,
        }

    def _end_open(self, session: Session, trial_id: int, owner: str | None, values: dict[str, Any]) -> None:
        waiting = Trial.state == TrialState.WAITING
        if not changed(session, update(Trial).where(Trial.id == trial_id, waiting).values(**values)):
            self._change_held(session, trial_id, owner, **values)

    def _change_held(self, session: Session, trial_id: int, owner: str | None, **values: Any) -> None:
        owner = owner or this_owner()
        held = (Trial.id == trial_id, Trial.state == TrialState.RUNNING, Trial.lease_owner == owner)
        if not changed(session, update(Trial).where(*held).values(**values)):
            now = session.execute(select(Trial.state, Trial.lease_owner).where(Trial.id == trial_id)).first()
            state = "unknown" if now is None else now.state
            by = f" by {describe_owner(now.lease_owner)}" if now is not None and now.lease_owner else ""
            raise LeaseLostError(f"trial {trial_id} is {state}{by}, not held by {describe_owner(owner)}")


_BACK_TO_WAITING: dict[str, Any] = {
    "state": str(TrialState.WAITING),
    "started_at": None,
    "lease_owner": None,
    "lease_expires_at": None,
}
