from dataclasses import replace

from evaluators.accuracy import PAPER, Accuracy, ApInterval, CocoFigures
from search.deploying import judged_images
from search.export import Verification
from storage.front import of_a_part

WHOLE = Accuracy(
    figures=CocoFigures(*[0.5] * 12),
    split="val",
    images=160,
    of_images=160,
    image_size=320,
    protocol=PAPER,
    detections=9,
    seconds=1.0,
    inference_seconds=0.5,
)
PART = replace(
    WHOLE, images=40, interval=ApInterval(ap=0.5, low=0.4, high=0.6, confidence=0.99, resamplings=400)
)


def test_a_protocol_tells_a_part_from_the_whole() -> None:
    assert judged_images(WHOLE) == {"images": 160}
    assert judged_images(PART) == {"images": 40, "of_images": 160, "ap_low": 0.4, "ap_high": 0.6}
    assert of_a_part(judged_images(PART)) and not of_a_part(judged_images(WHOLE))
    # An interval that was only asked for does not make a part.
    assert not of_a_part(judged_images(replace(WHOLE, interval=PART.interval)))


def test_an_ap_of_a_part_is_verified_by_its_interval() -> None:
    found = Verification(
        ap_stored=0.5,
        ap=0.45,
        median_ms_stored=1.0,
        median_ms=1.0,
        low_ms=1.0,
        high_ms=1.0,
        target_ms=None,
        within_target=True,
    )
    assert not found.same_ap
    assert replace(found, ap_stored_interval=(0.4, 0.6)).same_ap
    assert not replace(found, ap_stored_interval=(0.46, 0.6)).same_ap
