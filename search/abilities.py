"""What this release can really do with a space, so that nothing is searched that would only look searched."""

from evaluators.hardware import Hardware, supported_precisions
from foundation.errors import UserError
from yolov6space.space import Space

# Described by the space and not trained or chosen yet: dimension -> what can be done.
_ABLE = {
    "sensitivity_metric": ("mse", "cosine", "snr"),
}


def require_able(space: Space, hardware: Hardware) -> None:
    """Raises UserError naming the first dimension that offers what this release cannot do on that hardware."""
    able = {**_ABLE, "precision": supported_precisions(hardware)}
    for name, choices in able.items():
        beyond = [str(choice) for choice in space.choices[name] if choice not in choices]
        if beyond:
            raise UserError(
                f"space {space.name!r}: {name} offers {', '.join(beyond)}, which this release cannot do on "
                f"{hardware.name}; narrow it in a --space FILE.yaml, for example: {name}: [{', '.join(choices)}]"
            )
