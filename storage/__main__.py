"""`python -m storage`: look after the database."""

import click

from foundation.cli import json_option, print_json, progress, run
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
        problems = repository.problems()
        studies = repository.list_studies()
        counts = [repository.count_by_state(study.id) for study in studies]
    if problems:
        raise UserError(f"database {address} is damaged: {'; '.join(problems)[:300]}; restore a copy")
    if as_json:
        found = [
            {"study": study.name, "target_latency_ms": study.target_latency_ms, "trials": count}
            for study, count in zip(studies, counts, strict=True)
        ]
        print_json({"database": address, "version": version, "studies": found})
        return
    click.echo(f"{address}: version {version}, sound, studies: {len(studies)}")
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


if __name__ == "__main__":
    run(storage, "python -m storage")
