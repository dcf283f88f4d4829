"""`python -m storage`: look after the database."""

from pathlib import Path

import click

from foundation.cli import PathOption, json_option, print_json, progress, run
from foundation.errors import UserError

_storage_option = click.option(
    "--storage",
    "url",
    metavar="URL",
    help="Database. [default: $YOLOV6_SEARCH_STORAGE, else sqlite:///runs/search.db]",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: python -m storage check --storage sqlite:///runs/search.db",
)
def storage() -> None:
    """Look after the database of a search."""


@storage.command(epilog="Example: python -m storage upgrade --storage postgresql://me@server/search")
@_storage_option
@json_option
def upgrade(url: str | None, as_json: bool) -> None:
    """Create the database or bring it to this program's version."""
    from storage.database import upgrade_url
    from storage.urls import parse_url, shown, url_default

    parsed = parse_url(url or url_default())
    before, after = upgrade_url(parsed)
    if as_json:
        print_json({"database": shown(parsed), "before": before, "after": after})
    elif before == after:
        click.echo(f"{shown(parsed)} is at version {after} already")
    else:
        click.echo(f"{shown(parsed)}: version {before or 'none'} -> {after}")


@storage.command(epilog="Example: python -m storage check --json")
@_storage_option
@json_option
def check(url: str | None, as_json: bool) -> None:
    """Say what the database holds, changing nothing; exit 2 if this program cannot read it."""
    from storage.repository import Repository
    from storage.urls import url_default

    with Repository.open(url or url_default(), read_only=True) as repository:
        address, version = repository.url, repository.version()
        problems, checked = repository.problems(), repository.checked()
        studies = repository.list_studies()
        counts = [repository.count_by_state(study.id) for study in studies]
    if problems:
        raise UserError(f"database {address} is damaged: {'; '.join(problems)[:300]}; restore a copy")
    if as_json:
        found = [
            {"study": study.name, "target_latency_ms": study.target_latency_ms, "trials": count}
            for study, count in zip(studies, counts, strict=True)
        ]
        print_json({"database": address, "version": version, "checked": checked, "studies": found})
        return
    click.echo(f"{address}: version {version}, {checked}, studies: {len(studies)}")
    for study, count in zip(studies, counts, strict=True):
        states = ", ".join(f"{number} {state}" for state, number in count.items() if number)
        click.echo(f"  {study.name}: {states or 'no trials'}")


@storage.command(epilog="Example: python -m storage release --study night-run")
@_storage_option
@click.option("--study", "name", required=True, help="Name of the study.")
def release(url: str | None, name: str) -> None:
    """Free a study whose driver is gone for good, for example with its machine."""
    from storage.owners import describe_owner
    from storage.repository import Repository
    from storage.urls import url_default

    with Repository.open(url or url_default(), must_exist=True) as repository:
        study = repository.get_study(name)
        if study.driver_owner is None:
            progress(f"study {name} is free already")
            return
        repository.release_study(study.id, force=True)
    progress(f"study {name} is free; it was held by {describe_owner(study.driver_owner)}")


@storage.command(
    name="export",
    epilog="Examples: python -m storage export --study night-run --out night-run.study.gz; "
    "python -m storage export --study night-run --optuna --out night-run.log",
)
@_storage_option
@click.option("--study", "name", required=True, help="Name of the study.")
@click.option("--out", "target", required=True, type=PathOption(), help="File to write.")
@click.option("--optuna", is_flag=True, help="Write an Optuna journal, for optuna-dashboard FILE.")
@json_option
def export_command(url: str | None, name: str, target: Path, optuna: bool, as_json: bool) -> None:
    """Write a study with everything but its weights to one file that `import` reads."""
    from storage.moving import export_study
    from storage.optuna_journal import export_optuna
    from storage.repository import Repository
    from storage.urls import url_default

    with Repository.open(url or url_default(), read_only=True) as repository:
        if optuna:
            counts = {"trials": export_optuna(repository, name, target)}
        else:
            counts = export_study(repository, name, target)
    if as_json:
        print_json({"study": name, "file": str(target), "rows": counts})
    else:
        click.echo(f"{target}: study {name}, {counts.get('trials', 0)} trials")


@storage.command(name="import", epilog="Example: python -m storage import night-run.study.gz --as copied")
@_storage_option
@click.argument("source", type=PathOption())
@click.option("--as", "name", help="Another name for the study. [default: the one it had]")
@json_option
def import_command(url: str | None, source: Path, name: str | None, as_json: bool) -> None:
    """Add an exported study to the database; refused when it has a study of that name."""
    from storage.moving import import_study
    from storage.repository import Repository
    from storage.urls import url_default

    with Repository.open(url or url_default()) as repository:
        study, trials = import_study(repository, source, name=name)
        address = repository.url
    if as_json:
        print_json({"study": study, "trials": trials, "database": address})
    else:
        click.echo(f"{address}: study {study}, {trials} trials (weights stay where they are)")


if __name__ == "__main__":
    run(storage, "python -m storage")
