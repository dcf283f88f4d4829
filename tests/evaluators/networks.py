"""A very small network of the family, for tests that need a real one fast."""

from yolov6space.candidate import Candidate, ModelSpec, Precision, StageSpec

INT8 = Precision(kind="int8", scheme="ptq", float_layers=0)


def tiny_candidate(precision: Precision | None = None) -> Candidate:
    stage = StageSpec(block="rep", channels=8, repeats=1)
    csp = StageSpec(block="csp_rep", channels=16, repeats=1, hidden_channels=8)
    model = ModelSpec(
        stem_channels=8,
        backbone=(stage, stage, csp, stage),
        neck=(stage, stage, csp, stage),
        head_channels=(8, 8, 8),
        conv="plain",
    )
    return Candidate(model=model, precision=precision or Precision())
