"""`python -m dashboard`: look at the searches of a database in a browser."""

import os
import socket
from pathlib import Path

import click

from foundation.cli import progress, run, storage_option
from foundation.errors import UserError

_FLAGS = {
    "server.headless": "true",  # opens no browser and asks for no e-mail address
    "browser.gatherUsageStats": "false",
    "server.fileWatcherType": "none",
    "client.toolbarMode": "minimal",
    "theme.base": "light",
    "theme.primaryColor": "#0f766e",
    "theme.textColor": "#1f2a37",
    "theme.secondaryBackgroundColor": "#f5f7f9",
}


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: python -m dashboard --storage sqlite:///runs/search.db --port 8501",
)
@storage_option
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; 0.0.0.0 lets other machines look.",
)
def dashboard(storage: str | None, port: int, address: str) -> None:
    """Show the searches of a database: front, trials and what happened. Changes nothing.

    Everything stays on this machine: no usage statistics, nothing is loaded from elsewhere.
    """
    from dashboard.load import Problem, load_studies
    from storage.urls import STORAGE_VARIABLE, parse_url, shown, url_default

    url = storage or url_default()
    where = shown(parse_url(url))
    _require_free(address, port)
    missing = load_studies(url)
    if isinstance(missing, Problem):
        progress(f"note: {missing.message}")
    # by the environment and not by an argument, which every user of the machine could read
    os.environ[STORAGE_VARIABLE] = url
    progress(f"dashboard of {where}: http://{'127.0.0.1' if address == '0.0.0.0' else address}:{port}")

    from streamlit.web.cli import main as streamlit

    # with an address given, Streamlit does not ask a public server for this machine's own
    flags = {**_FLAGS, "server.port": str(port), "server.address": address}
    arguments = ["run", str(Path(__file__).with_name("app.py"))]
    streamlit(arguments + [f"--{name}={value}" for name, value in flags.items()], standalone_mode=False)


def _require_free(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {address}:{port} ({error.strerror}); choose another --port"
            ) from None


if __name__ == "__main__":
    run(dashboard, "python -m dashboard")
