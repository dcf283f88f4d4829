"""Channel-wise feature distillation against a slow loop, and in the loss of a network."""

import math

import pytest
import torch

from search.training.distill import TeacherNetwork
from search.training.feature_distill import FEATURE_WEIGHT, channel_divergence, feature_divergence
from search.training.losses import DetectionLoss
from tests.search.training.test_distill import SIZE, TRUTH, detector
from yolov6space.candidate import ModelSpec, Recipe


def maps(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = 3 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
    return first, second


def slowly(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> float:
    """Equations 3 and 4 of Shu et al., a channel and a position at a time."""
    images, channels = student.shape[:2]
    total = 0.0
    for image in range(images):
        for channel in range(channels):
            own, other = (each[image, channel].flatten().tolist() for each in (student, teacher))
            own_sum = sum(math.exp(value / temperature) for value in own)
            other_sum = sum(math.exp(value / temperature) for value in other)
            for mine, told in zip(own, other, strict=True):
                p = math.exp(told / temperature) / other_sum
                total += p * math.log(p / (math.exp(mine / temperature) / own_sum))
    return temperature**2 * total / (images * channels)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 7), (3, 2, 1, 1)])
def test_it_is_what_the_paper_defines(shape: tuple[int, ...], temperature: float) -> None:
    student, teacher = maps(*shape)
    expected = slowly(student, teacher, temperature)
    assert channel_divergence(student, teacher, temperature).item() == pytest.approx(expected, abs=1e-5)


def test_only_where_a_channel_is_active_counts_not_how_strongly() -> None:
    student, teacher = maps(2, 3, 4, 4)
    assert channel_divergence(student, student).item() == pytest.approx(0, abs=1e-7)
    raised = student + torch.arange(3.0)[None, :, None, None]
    assert channel_divergence(raised, student).item() == pytest.approx(0, abs=1e-6)
    assert channel_divergence(student, teacher) > 0.1


def test_the_student_learns_and_the_teacher_does_not() -> None:
    student, teacher = (each.requires_grad_() for each in maps(1, 2, 3, 3))
    channel_divergence(student, teacher).backward()
    assert teacher.grad is None and student.grad is not None
    p, q = teacher.flatten(2).softmax(-1), student.flatten(2).softmax(-1)
    torch.testing.assert_close(student.grad.flatten(2), (q - p) / 2)  # closed form, two channels


def test_extreme_and_half_features_stay_finite() -> None:
    student, teacher = 1e4 * maps(1, 2, 8, 8)[0], 1e4 * maps(1, 2, 8, 8)[1]
    assert torch.isfinite(channel_divergence(student, teacher))
    half = channel_divergence(student.bfloat16(), teacher.bfloat16())
    assert torch.isfinite(half) and half.dtype == torch.float32


def test_scales_are_added_and_other_shapes_refused() -> None:
    first, second = maps(1, 2, 4, 4), maps(1, 3, 2, 2, seed=1)
    both = feature_divergence((first[0], second[0]), (first[1], second[1]))
    torch.testing.assert_close(both, channel_divergence(*first) + channel_divergence(*second))
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\).*\(1, 3, 2, 2\)"):
        channel_divergence(first[0], second[0])


def test_a_loss_has_the_term_only_where_features_are_taught(tiny_model: ModelSpec) -> None:
    student, other = detector(tiny_model, 0), detector(tiny_model, 1)
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    loss = DetectionLoss(student, Recipe(), SIZE)
    output = student(images)
    teacher = TeacherNetwork(other, features=True)
    taught = teacher(images)
    found = loss(output, TRUTH, soft=teacher.soft_targets(taught, SIZE, 0.5))
    expected = 0.5 * FEATURE_WEIGHT * feature_divergence(output.features, taught.features)
    assert found.features is not None
    torch.testing.assert_close(found.features, expected)
    assert found.total.item() == pytest.approx(sum(found.parts().values()), rel=1e-5)
    plain, alone = TeacherNetwork(other), TeacherNetwork(other, predictions=False, features=True)
    without = loss(output, TRUTH, soft=plain.soft_targets(taught, SIZE, 0.5)).parts()
    only = loss(output, TRUTH, soft=alone.soft_targets(taught, SIZE, 0.5)).parts()
    assert found.parts().keys() - without.keys() == {"features"}
    assert found.parts().keys() - only.keys() == {"distillation"}
    assert found.parts() == pytest.approx(without | only)
