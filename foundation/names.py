"""Names that people give to studies; each names a folder, too."""

import re

from foundation.errors import UserError

_STUDY_NAME = re.compile(r"[A-Za-z0-9][\w .+-]{0,119}")


def require_study_name(name: str, option: str) -> None:
    """Raises UserError, which names the command line's `option`, if `name` cannot name a study."""
    if not _STUDY_NAME.fullmatch(name):
        raise UserError(
            f"{option} {name[:40]!r}: a name has 1 to 120 letters, digits, spaces or . _ + - "
            "and begins with a letter or digit (it names a folder too)"
        )
