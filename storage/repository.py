"""The repository: the only way into the database.

Contract
- Every method is one transaction: it happens entirely or not at all, also when the process is killed in it.
  When the database is away for a moment (a restarted server, a lost connection) a method waits and tries
  again, up to `transaction.OUTAGE_SECONDS`; what was stored is never stored twice.
- What comes out are frozen records, true at the time of reading; changing one changes nothing here.
- A trial is created `waiting`, or claimed already. `claim` makes it `running` and gives it to one owner until
  its lease ends; only that owner may `renew`, `record`, `finish`, mark `infeasible`, `fail`, `release` or give it up as
  `lost`. Whoever names no owner may also end a trial that is `waiting` as infeasible or failed, because nobody
  holds it. The state of an ended one never changes; to a finished one later evidence may be added.
- `lost` and `recover` give back what dead workers held; after MAX_ATTEMPTS of them the trial has failed. A
  worker that comes back later finds LeaseLostError: its report is refused, so nothing is counted twice.
- One driver at a time holds a study, by a lease too: `hold_study`, then `renew_study` while it works. A
  driver whose lease has ended may be replaced and is told so by LeaseLostError.
- Every change of a trial leaves an event in the same transaction, so events say what to read again.
- One repository may be used by many threads; every process opens its own.
- Errors: UserError for anything wrong with the database or a name given by a person (passwords masked),
  RecordRefusedError for a broken constraint, DuplicateCandidateError and LeaseLostError as said below.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Executable, select

from storage._statements import (
    BACK_TO_WAITING,
    CLAIM,
    END_HELD,
    END_WAITING,
    FIND_SAME,
    HOLDER,
    LOCK_STUDY,
    RENEW,
    TOUCH_FINISHED,
    TOUCH_HELD,
    add_if_absent,
    insert_trial,
)
from storage._writing import add_event, add_evidence
from storage.errors import DuplicateCandidateError, LeaseLostError
from storage.models import CandidateRow, Trial
from storage.owners import describe_owner, owner_alive, this_owner
from storage.records import NewArtefact, NewEstimate, NewEvaluation, NewMeasurement
from storage.states import TrialKind, TrialState
from storage.study_store import LEASE_SECONDS, StudyStore
from storage.urls import mask

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
        claim_by: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> int:
        """Add a trial with the next number of the study (from 0); returns its id. It waits, or is claimed.

        Args:
            spec: the candidate as JSON values.
            label: short description for tables.
            flops: multiply-adds count as two.
            claim_by: an owner who runs it at once, so that it is never waiting for others.
        Raises:
            DuplicateCandidateError: the study has this candidate already; the exception says which trial.
            RecordRefusedError: there is no such study.
        """
        label = label[:200]
        key = {"study_id": study_id, "candidate_key": candidate_key}

        def work(connection: Connection) -> int:
            candidate = {"key": candidate_key, "spec": dict(spec), "label": label}
            add_if_absent(connection, CandidateRow, **candidate, params=params, flops=flops)
            if connection.dialect.name == "postgresql":
                # holding the study's row makes numbers safe between programs; SQLite has one writer anyway.
                # As late as possible: others wait for it.
                connection.execute(LOCK_STUDY, {"study_id": study_id})
            now = self._now()
            lease: dict[str, Any] = {"new_state": str(TrialState.WAITING), "owner": None, "expires": None}
            if claim_by is not None:
                expires = now + timedelta(seconds=lease_seconds)
                lease = {"new_state": str(TrialState.RUNNING), "owner": claim_by, "expires": expires}
            lease["started_at"] = None if claim_by is None else now
            trial_id = insert_trial(connection, **key, **lease, kind=str(kind), name=name, now=now)
            if trial_id is None:
                same = connection.execute(FIND_SAME, key).one()
                raise DuplicateCandidateError(candidate_key, same.id, same.number)
            by = f", claimed by {describe_owner(claim_by)}" if claim_by is not None else ""
            what = f"{name or label or candidate_key}{by}"
            add_event(connection, study_id, trial_id, now, "added", what)
            return trial_id

        return self._write(work)

    def claim(self, trial_id: int, owner: str | None = None, lease_seconds: float = LEASE_SECONDS) -> bool:
        """waiting -> running, held by `owner` (default: this process). False if it was not waiting."""
        owner = owner or this_owner()

        def work(connection: Connection) -> bool:
            now = self._now()
            expires = now + timedelta(seconds=lease_seconds)
            values = {"trial_id": trial_id, "owner": owner, "now": now, "expires": expires}
            study_id = connection.scalar(CLAIM, values)
            if study_id is not None:
                add_event(connection, study_id, trial_id, now, "claimed", describe_owner(owner))
            return study_id is not None

        return self._write(work)

    def renew(self, trial_id: int, owner: str | None = None, lease_seconds: float = LEASE_SECONDS) -> None:
        """Keep a running trial for another lease. Raises LeaseLostError."""

        def work(connection: Connection) -> None:
            expires = self._now() + timedelta(seconds=lease_seconds)
            self._change_held(connection, RENEW, trial_id, owner, expires=expires)

        self._write(work)

    def record(
        self,
        trial_id: int,
        *,
        owner: str | None = None,
        evaluations: Sequence[NewEvaluation] = (),
        measurements: Sequence[NewMeasurement] = (),
        estimates: Sequence[NewEstimate] = (),
        artefacts: Sequence[NewArtefact] = (),
    ) -> None:
        """Keep what a running trial has learnt so far, whatever happens next. Raises LeaseLostError."""

        def work(connection: Connection) -> None:
            study_id = self._held(connection, trial_id, owner)[0]
            now = self._now()
            add_evidence(connection, trial_id, now, evaluations, measurements, estimates, artefacts)
            add_event(connection, study_id, trial_id, now, "recorded", "")

        self._write(work, durable=True)

    def finish(
        self,
        trial_id: int,
        *,
        owner: str | None = None,
        evaluations: Sequence[NewEvaluation] = (),
        measurements: Sequence[NewMeasurement] = (),
        estimates: Sequence[NewEstimate] = (),
        artefacts: Sequence[NewArtefact] = (),
    ) -> None:
        """running -> finished, with the last of what was learnt. Raises LeaseLostError."""

        def work(connection: Connection) -> None:
            now = self._now()
            end = {"new_state": str(TrialState.FINISHED), "reason": None, "now": now}
            study_id = self._change_held(connection, END_HELD, trial_id, owner, **end)
            add_evidence(connection, trial_id, now, evaluations, measurements, estimates, artefacts)
            add_event(connection, study_id, trial_id, now, "finished", "")

        self._write(work, durable=True)

    def add_evidence(
        self,
        trial_id: int,
        *,
        evaluations: Sequence[NewEvaluation] = (),
        measurements: Sequence[NewMeasurement] = (),
        estimates: Sequence[NewEstimate] = (),
        artefacts: Sequence[NewArtefact] = (),
    ) -> None:
        """Add to a finished trial what was learnt later, such as a longer training; the newest counts.

        Raises LeaseLostError if the trial is not finished: an open one belongs to its owner.
        """

        def work(connection: Connection) -> None:
            study_id = connection.scalar(TOUCH_FINISHED, {"trial_id": trial_id})
            if study_id is None:
                raise LeaseLostError(f"trial {trial_id} is not finished; use record() while it runs")
            now = self._now()
            add_evidence(connection, trial_id, now, evaluations, measurements, estimates, artefacts)
            add_event(connection, study_id, trial_id, now, "recorded", "")

        self._write(work, durable=True)

    def infeasible(
        self, trial_id: int, evidence: NewMeasurement | NewEstimate, reason: str, *, owner: str | None = None
    ) -> None:
        """running, or without `owner` also waiting, -> infeasible, with the latency that shows it.

        Raises LeaseLostError.
        """

        def work(connection: Connection) -> None:
            study_id = self._end_open(connection, trial_id, owner, TrialState.INFEASIBLE, reason)
            if isinstance(evidence, NewMeasurement):
                add_evidence(connection, trial_id, self._now(), measurements=[evidence])
            else:
                add_evidence(connection, trial_id, self._now(), estimates=[evidence])
            add_event(connection, study_id, trial_id, self._now(), "infeasible", reason)

        self._write(work, durable=True)

    def fail(self, trial_id: int, reason: str, *, owner: str | None = None) -> None:
        """running, or without `owner` also waiting, -> failed, with the reason in one line.

        Raises LeaseLostError.
        """

        def work(connection: Connection) -> None:
            study_id = self._end_open(connection, trial_id, owner, TrialState.FAILED, reason)
            add_event(connection, study_id, trial_id, self._now(), "failed", reason)

        self._write(work, durable=True)

    def release(self, trial_id: int, *, owner: str | None = None) -> None:
        """running -> waiting, when a worker stops on purpose; costs no attempt. Raises LeaseLostError."""

        def work(connection: Connection) -> None:
            study_id = self._change_held(connection, BACK_TO_WAITING, trial_id, owner, lost=0)
            add_event(connection, study_id, trial_id, self._now(), "released", "")

        self._write(work)

    def lost(
        self, trial_id: int, cause: str, *, owner: str | None = None, max_attempts: int = MAX_ATTEMPTS
    ) -> TrialState:
        """running -> waiting, or -> failed after `max_attempts`: its worker is gone. Raises LeaseLostError.

        Args:
            cause: why, in one line, such as `out of memory`.
        """

        def work(connection: Connection) -> TrialState:
            attempts = self._held(connection, trial_id, owner)[1] + 1
            return self._give_up_or_wait(connection, trial_id, owner, attempts, max_attempts, cause)

        return self._write(work, durable=True)

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
        running = (
            select(Trial.id, Trial.lease_owner, Trial.lease_expires_at, Trial.attempts)
            .where(Trial.study_id == study_id, Trial.state == str(TrialState.RUNNING))
            .order_by(Trial.number)
            .with_for_update(key_share=True)
        )

        def work(connection: Connection) -> list[int]:
            recovered = []
            for trial in connection.execute(running).all():
                expired = trial.lease_expires_at <= self._now()
                if not expired and is_alive(trial.lease_owner):
                    continue
                cause = f"{describe_owner(trial.lease_owner)} {'let its lease end' if expired else 'died'}"
                self._give_up_or_wait(
                    connection, trial.id, trial.lease_owner, trial.attempts + 1, max_attempts, cause
                )
                recovered.append(trial.id)
            return recovered

        return self._write(work)

    def _give_up_or_wait(
        self,
        connection: Connection,
        trial_id: int,
        owner: str | None,
        attempts: int,
        max_attempts: int,
        cause: str,
    ) -> TrialState:
        study_id = self._change_held(connection, BACK_TO_WAITING, trial_id, owner, lost=1)
        if attempts < max_attempts:
            add_event(connection, study_id, trial_id, self._now(), "recovered", cause)
            return TrialState.WAITING
        reason = f"given up after {attempts} attempts: {cause}"
        self._end_open(connection, trial_id, None, TrialState.FAILED, reason)  # it waits by now
        add_event(connection, study_id, trial_id, self._now(), "failed", reason)
        return TrialState.FAILED

    def _end_open(
        self, connection: Connection, trial_id: int, owner: str | None, state: TrialState, reason: str
    ) -> int:
        text = mask(" ".join(reason.split())) or "no reason given"
        values = {"new_state": str(state), "reason": text, "now": self._now()}
        if owner is None:  # who held it once and is late must not end what waits for others
            study_id: int | None = connection.scalar(END_WAITING, {**values, "trial_id": trial_id})
            if study_id is not None:
                return study_id
        return self._change_held(connection, END_HELD, trial_id, owner, **values)

    def _held(self, connection: Connection, trial_id: int, owner: str | None) -> tuple[int, int]:
        """Study and attempts of a running trial of that owner, locked."""
        owner = owner or this_owner()
        row = connection.execute(TOUCH_HELD, {"trial_id": trial_id, "owner": owner}).first()
        if row is None:
            raise _not_held(connection, trial_id, owner)
        return row.study_id, row.attempts

    def _change_held(
        self, connection: Connection, statement: Executable, trial_id: int, owner: str | None, **values: Any
    ) -> int:
        owner = owner or this_owner()
        study_id: int | None = connection.scalar(statement, {"trial_id": trial_id, "owner": owner, **values})
        if study_id is None:
            raise _not_held(connection, trial_id, owner)
        return study_id


def _not_held(connection: Connection, trial_id: int, owner: str) -> LeaseLostError:
    now = connection.execute(HOLDER, {"trial_id": trial_id}).first()
    state = "unknown" if now is None else now.state
    by = f" by {describe_owner(now.lease_owner)}" if now is not None and now.lease_owner else ""
    return LeaseLostError(f"trial {trial_id} is {state}{by}, not held by {describe_owner(owner)}")
