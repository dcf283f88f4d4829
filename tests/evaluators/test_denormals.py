import pytest
import torch

from evaluators.denormals import denormals_flushed, flushes_denormals


@pytest.mark.parametrize("before", [False, True])
def test_flushed_inside_and_as_before_afterwards(before):
    torch.set_flush_denormal(before)
    try:
        assert flushes_denormals() is before
        with pytest.raises(KeyError), denormals_flushed():
            assert flushes_denormals()
            raise KeyError
        assert flushes_denormals() is before
    finally:
        torch.set_flush_denormal(False)
