"""Backgrounds for synthetic scenes: textures, and clutter that is not a digit."""

import numpy as np
from numpy.typing import NDArray

Scene = NDArray[np.uint8]
Colour = NDArray[np.float32]

# Letters that cannot be taken for a digit, whatever the handwriting.
LETTERS = "AEFHKMNPRTVWXY"


def random_colour(rng: np.random.Generator) -> Colour:
    """BGR 0..255; half of them nearly grey, as paper, walls and ink are."""
    base = rng.uniform(40, 245)
    spread = rng.choice([8.0, 70.0])
    return np.clip(base + rng.uniform(-spread, spread, 3), 0, 255).astype(np.float32)


def background(side: int, rng: np.random.Generator) -> Scene:
    """A textured uint8 (side, side, 3) scene with clutter."""
    scene = _texture(side, rng)
    if rng.random() < 0.4:
        _ruled_lines(scene, rng)
    for _ in range(rng.integers(1, 7)):
        _CLUTTER[rng.integers(len(_CLUTTER))](scene, rng)
    return scene


def _texture(side: int, rng: np.random.Generator) -> Scene:
    import cv2

    corners = np.stack([random_colour(rng) for _ in range(4)]).reshape(2, 2, 3)
    middle = corners.mean(axis=(0, 1))
    scene = cv2.resize(
        middle + (corners - middle) * np.float32(0.5), (side, side), interpolation=cv2.INTER_LINEAR
    )
    for cells in (4, 12, 40, 110):
        # Coarse texture may be strong; noise as fine as pen strokes would drown small digits.
        strength = rng.uniform(0, 24 / np.log2(cells))
        noise = rng.normal(0, strength, (cells, cells, 1)) + rng.normal(0, strength / 3, (cells, cells, 3))
        scene += cv2.resize(noise.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(scene, 0, 255).astype(np.uint8)


def _ruled_lines(scene: Scene, rng: np.random.Generator) -> None:
    import cv2

    side = scene.shape[0]
    colour = random_colour(rng).tolist()
    gap = int(rng.integers(14, 60))
    crossed = rng.random() < 0.5
    for position in range(int(rng.integers(gap)), side, gap):
        cv2.line(scene, (0, position), (side, position), colour, 1, cv2.LINE_AA)
        if crossed:
            cv2.line(scene, (position, 0), (position, side), colour, 1, cv2.LINE_AA)


def _stroke(scene: Scene, rng: np.random.Generator) -> None:
    """A bent pen stroke, thinner than a digit's. It runs one way: a loop could be taken for a digit."""
    import cv2

    size = np.exp(rng.uniform(np.log(15), np.log(120)))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    bend = rng.normal(0, size / 2, (4, 1))
    start = rng.uniform(0, scene.shape[0], 2)
    control = start + size * np.linspace(0, 1, 4)[:, None] * along + bend * across
    steps = np.linspace(0, 1, 24)[:, None]
    weights = np.concatenate(
        [(1 - steps) ** 3, 3 * steps * (1 - steps) ** 2, 3 * steps**2 * (1 - steps), steps**3], axis=1
    )
    points = (weights @ control).round().astype(np.int32)
    width = max(1, round(size * rng.uniform(0.03, 0.08)))
    cv2.polylines(scene, [points], False, random_colour(rng).tolist(), width, cv2.LINE_AA)


def _blob(scene: Scene, rng: np.random.Generator) -> None:
    import cv2

    axes = tuple(int(value) for value in np.exp(rng.uniform(np.log(3), np.log(50), 2)))
    centre = tuple(int(value) for value in rng.uniform(0, scene.shape[0], 2))
    width = -1 if rng.random() < 0.6 else int(rng.integers(1, 6))
    # Outlines are open arcs: a closed ring would be a zero.
    sweep = 360 if width < 0 else float(rng.uniform(60, 200))
    cv2.ellipse(
        scene,
        centre,
        axes,
        float(rng.uniform(0, 180)),
        0,
        sweep,
        random_colour(rng).tolist(),
        width,
        cv2.LINE_AA,
    )


def _panel(scene: Scene, rng: np.random.Generator) -> None:
    import cv2

    start = rng.uniform(-20, scene.shape[0], 2)
    end = start + np.exp(rng.uniform(np.log(15), np.log(180), 2))
    cv2.rectangle(
        scene,
        start.astype(int).tolist(),
        end.astype(int).tolist(),
        random_colour(rng).tolist(),
        -1,
        cv2.LINE_AA,
    )


def _letter(scene: Scene, rng: np.random.Generator) -> None:
    import cv2

    letter = LETTERS[rng.integers(len(LETTERS))]
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
    height = np.exp(rng.uniform(np.log(14), np.log(90)))
    place = tuple(int(value) for value in rng.uniform(0, scene.shape[0], 2))
    thickness = max(1, round(height * rng.uniform(0.05, 0.14)))
    colour = random_colour(rng).tolist()
    cv2.putText(scene, letter, place, fonts[rng.integers(3)], height / 22, colour, thickness, cv2.LINE_AA)


_CLUTTER = (_stroke, _stroke, _blob, _panel, _letter, _letter)
