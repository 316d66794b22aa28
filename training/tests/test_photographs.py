"""Pictures of one photograph are told from those of others, whatever was done to them and whatever they are called."""

import cv2
import numpy as np
import pytest

from training.photographs import same_photograph

WIDTH, HEIGHT = 200, 150


def _photograph(seed):
    """A field of discs, which all look alike but for where they lie, with a nucleus of its own."""
    random = np.random.default_rng(seed)
    field = np.full((HEIGHT, WIDTH, 3), 225, np.uint8)
    for x, y in random.integers(0, (WIDTH, HEIGHT), (45, 2)).tolist():
        cv2.circle(field, (x, y), 11, (150, 140, 205), -1, cv2.LINE_AA)
        cv2.circle(field, (x, y), 4, (185, 180, 220), -1, cv2.LINE_AA)
    for x, y in random.normal((WIDTH / 2, HEIGHT / 2), 9, (4, 2)).astype(int).tolist():
        cv2.circle(field, (x, y), 8, (150, 40, 90), -1, cv2.LINE_AA)
    return field


def _made_from(field, seed):
    """Turned, moved, mirrored, with black where there is nothing, and noise."""
    random = np.random.default_rng(seed)
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), random.uniform(-25, 25), 1.0)
    turn[:, 2] += random.uniform(-15, 15, 2)
    picture = cv2.warpAffine(field[:, ::-1] if seed % 2 else field, turn, (WIDTH, HEIGHT))
    return np.clip(picture + random.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def test_each_picture_finds_its_brothers(tmp_path):
    made_from = [photograph for _ in range(6) for photograph in range(5)]
    paths = []
    for number, photograph in enumerate(made_from):
        paths.append(tmp_path / f"{number // 5}_{number}.png")  # as Keras names them
        cv2.imwrite(str(paths[-1]), _made_from(_photograph(photograph), number))
    found = same_photograph(paths)
    assert len(set(found)) == 5
    assert len(set(zip(made_from, found, strict=True))) == 5


def test_a_picture_without_features_is_alone(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
    assert len(set(same_photograph(paths))) == 2


def test_a_file_that_is_no_picture_is_named(tmp_path):
    path = tmp_path / "0_1.png"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"0_1\.png is no picture"):
        same_photograph([path])
