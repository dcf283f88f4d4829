"""The page: reads top to bottom as it looks. Started by `python -m dashboard`; read-only."""

from datetime import datetime
from typing import TYPE_CHECKING

import streamlit as st

from charts.front import front_figure, front_info, published_figure
from charts.plot import CONFIG
from charts.published import published_points
from dashboard.load import (
    FollowedStudy,
    Glance,
    Problem,
    Snapshot,
    StudyList,
    load_events,
    load_glance,
    load_studies,
)
from dashboard.tables import event_table, evidence_table, trial_table
from storage.records import TrialRecord
from storage.states import TrialState
from storage.urls import url_default

if TYPE_CHECKING:
    import pandas as pd

STATES = (
    TrialState.FINISHED,
    TrialState.INFEASIBLE,
    TrialState.FAILED,
    TrialState.RUNNING,
    TrialState.WAITING,
)
STYLE = "<style>.stMainBlockContainer {padding-top: 2.5rem; padding-bottom: 3rem}</style>"
LIVE_SECONDS, IDLE_SECONDS = 4, 30
MANY_TRIALS = 5_000  # the whole table is sent each time, so with more of them not every LIVE_SECONDS
URL = url_default()


@st.cache_resource(max_entries=4, show_spinner=False)
def followed(url: str, study_id: int, created_at: datetime) -> FollowedStudy:
    """The study in the memory of the server, for all who look at it; `created_at` tells databases apart."""
    return FollowedStudy(url, study_id)


def table_of(trials: tuple[TrialRecord, ...]) -> "pd.DataFrame":
    """The table of these trials, made anew only when they are others than before."""
    held: tuple[tuple[TrialRecord, ...], pd.DataFrame] | None = st.session_state.get("table")
    if held is None or held[0] is not trials:
        held = trials, trial_table(trials)
        st.session_state["table"] = held
    return held[1]


def pick_study(names: tuple[str, ...]) -> str:
    """The study named in the address of the page, else the newest; a choice goes into the address."""
    wanted = st.query_params.get("study", names[0])
    index = names.index(wanted) if wanted in names else 0
    chosen = st.selectbox("Study", names, index=index, width=360)
    st.query_params["study"] = chosen
    return chosen


def show_key_figures(glance: Glance) -> None:
    """Best AP within the limit, the limit, and how far the search is."""
    best = glance.overview.best
    limit = glance.study.target_latency_ms
    columns = st.columns([2, 2, 2, 1, 1, 1, 1, 1])
    columns[0].metric(
        "Best AP within the limit",
        "–" if best is None else f"{best.ap:.3f}",
        help=best.title if best else None,
    )
    estimated = best is not None and best.estimated
    columns[1].metric(
        "Its latency (estimated)" if estimated else "Its latency",
        "–" if best is None else f"{best.latency_ms:.2f} ms",
    )
    columns[2].metric("Latency limit", "none" if limit is None else f"{limit:g} ms")
    for column, state in zip(columns[3:], STATES, strict=True):
        column.metric(str(state).capitalize(), glance.overview.counts[state])


def show_front(snapshot: Snapshot) -> None:
    """Everything deployed here; what was published has a chart of its own further down."""
    info = front_info(snapshot.trials, target_ms=snapshot.study.target_latency_ms)
    st.subheader("AP against latency")
    st.plotly_chart(front_figure(info), theme=None, config=CONFIG, key="front")


def show_trials(snapshot: Snapshot) -> int | None:
    """The table; returns the number of the selected trial."""
    st.subheader("Trials")
    table = table_of(snapshot.trials)
    number = st.column_config.NumberColumn
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="trials",
        placeholder="–",
        column_config={
            "trial": number("#", width="small"),
            "candidate": st.column_config.TextColumn(pinned=True),
            "AP": number(format="%.3f", help="COCO AP at IoU 0.50:0.95"),
            "AP50": number(format="%.3f"),
            "latency_ms": number("latency, ms", format="%.2f", help="Median of one inference"),
            "interval_ms": st.column_config.TextColumn("95 % interval, ms"),
            "params_m": number("params, M", format="%.2f"),
            "flops_g": number("FLOPs, G", format="%.2f", help="2 per multiply-add"),
            "reason": st.column_config.TextColumn(width="large"),
        },
    )
    rows = event["selection"]["rows"]
    return int(table.iloc[rows[0]]["trial"]) if rows else None


def show_details(snapshot: Snapshot, trial: TrialRecord) -> None:
    """One trial: what it is, what is known of it, what happened."""
    st.subheader(f"Trial {trial.number}: {trial.title}")
    if trial.reason:
        st.warning(f"{trial.state}: {trial.reason}", icon=":material/info:")
    evidence, spec, events = st.tabs(["Evidence", "Candidate", "Events"])
    evidence.dataframe(evidence_table(trial), hide_index=True)
    spec.caption(f"key {trial.candidate_key}")
    spec.json(dict(trial.spec), expanded=2)
    events.dataframe(event_table(load_events(URL, snapshot.study, trial)), hide_index=True)


def show_published() -> None:
    """Figures from the literature, marked as such."""
    points = published_points()
    if not points:
        return
    with st.expander("Published figures of the official variants (Tesla T4, COCO): not comparable"):
        st.caption(
            "From the literature, not measured here: other data, another device, full training. "
            "They are never drawn on the axes of this study."
        )
        info = front_info((), published=points)
        st.plotly_chart(published_figure(info), theme=None, config=CONFIG, key="published")
        rows = [
            {"variant": p.name, "AP": p.ap, "latency, ms": p.latency_ms, "source": p.source} for p in points
        ]
        st.dataframe(rows, hide_index=True)


def show_study(name: str, first: list[Glance | Problem]) -> None:
    """All of a study; runs again on its own, oftener while a search is at work. `first` is used up first."""
    glance = first.pop() if first else load_glance(URL, name)
    if isinstance(glance, Problem):
        st.error(glance.message)
        return
    show_key_figures(glance)  # before every trial is read, which takes its time with tens of thousands
    snapshot = followed(URL, glance.study.id, glance.study.created_at).look(glance.study)
    if isinstance(snapshot, Problem):
        st.error(snapshot.message)
        return
    if not snapshot.trials:
        st.info("This study has no trials yet. They appear here as soon as the search adds them.")
        return
    show_front(snapshot)
    selected = snapshot.trial(show_trials(snapshot))
    if selected is not None:
        show_details(snapshot, selected)


# no page_icon by name: the browser would fetch it from a public server
st.set_page_config(page_title="YOLOv6 search", layout="wide")
st.html(STYLE)
st.title("YOLOv6 search")
studies = load_studies(URL)
if isinstance(studies, Problem):
    st.info(studies.message)
    st.stop()
assert isinstance(studies, StudyList)
st.caption(f"{studies.url}, read-only")
if not studies.names:
    st.info("The database is empty. Start a search: python -m search.run --target-latency 8.8ms")
    st.stop()
study_name = pick_study(studies.names)
current = load_glance(URL, study_name)
live = isinstance(current, Glance) and current.live and current.trials <= MANY_TRIALS
st.fragment(show_study, run_every=LIVE_SECONDS if live else IDLE_SECONDS)(study_name, [current])
show_published()
