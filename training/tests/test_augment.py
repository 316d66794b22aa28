"""Augmentation of batches of crops."""

import math
from dataclasses import replace

import pytest
import torch

from training.augment import FIELD_RANGES, PLAIN, Augment, Ranges

#: Nothing is jittered but the turn and the mirror, which a smear does not know from another.
_STILL = Ranges(
    scale=(1.0, 1.0),
    shift=0,
    shear=0,
    brightness=0,
    contrast=0,
    stain=0,
    balance=0,
    tone=0,
    veil=0,
    white=0,
    saturation=(1.0, 1.0),
    blur_share=0,
    noise=0,
    edge_share=0,
    turns=True,
)


def _noise(count=4, side=24):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def _augment(ranges, crops, side, *, seed=0, context=1.5):
    return Augment(ranges, torch.Generator().manual_seed(seed), context)(crops, side)


@pytest.mark.parametrize("ranges", [Ranges(), FIELD_RANGES], ids=["cells", "fields"])
@pytest.mark.parametrize("side", [12, 16, 32])
def test_crops_have_the_side_asked_for_and_pixels_in_range(ranges, side):
    crops = _augment(ranges, _noise(), side)
    assert crops.shape == (4, 3, side, side)
    assert crops.dtype == torch.float32
    assert crops.isfinite().all()
    assert crops.min() >= 0
    assert crops.max() <= 255


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_crop_stays_finite(level):
    crops = _augment(Ranges(), torch.full((8, 24, 24, 3), level, dtype=torch.uint8), 16)
    assert crops.isfinite().all()


def test_the_same_state_of_the_generator_gives_the_same_crops():
    torch.testing.assert_close(
        _augment(Ranges(), _noise(), 16), _augment(Ranges(), _noise(), 16), rtol=0, atol=0
    )


def test_another_state_gives_others():
    generator = torch.Generator().manual_seed(0)
    augment = Augment(Ranges(), generator, 1.5)
    assert not torch.equal(augment(_noise(), 16), augment(_noise(), 16))


def test_the_global_generator_has_no_say():
    torch.manual_seed(1)
    first = _augment(Ranges(), _noise(), 16)
    torch.manual_seed(2)
    torch.testing.assert_close(_augment(Ranges(), _noise(), 16), first, rtol=0, atol=0)


def test_without_jitter_a_crop_is_only_turned_and_mirrored():
    crops = _noise(count=32)
    turned = _augment(_STILL, crops, 24, context=1.0)
    seen = set()
    for crop, answer in zip(crops.permute(0, 3, 1, 2).float(), turned, strict=True):
        variants = [
            torch.rot90(mirrored, quarter, (1, 2))
            for mirrored in (crop, crop.flip(2))
            for quarter in range(4)
        ]
        # One grey level: densities are taken of (pixel + 1) / 256, so that black is finite.
        near = [index for index, variant in enumerate(variants) if (variant - answer).abs().max() <= 1.01]
        assert len(near) == 1
        seen.add(near[0])
    assert len(seen) > 4


def test_the_context_around_a_served_crop_is_cut_away():
    crops = torch.zeros((6, 48, 48, 3), dtype=torch.uint8)
    crops[:, 8:40, 8:40] = 200  # the middle two thirds: a served crop at a context of 1.5
    assert (_augment(_STILL, crops, 32)[:, :, 1:-1, 1:-1] > 190).all()


def test_a_crop_cut_at_the_edge_repeats_its_last_pixels():
    # A ramp from left to right: where the edge is replicated, columns (or rows, when turned) are all alike.
    ramp = torch.linspace(0, 255, 48).to(torch.uint8).expand(48, 48)[None, :, :, None].repeat(64, 1, 1, 3)
    kept = _augment(_STILL, ramp, 32)
    cut = _augment(replace(_STILL, edge_share=1.0), ramp, 32)
    span = cut.amax(dim=(1, 2, 3)) - cut.amin(dim=(1, 2, 3))
    whole = kept.amax(dim=(1, 2, 3)) - kept.amin(dim=(1, 2, 3))
    # Half of the edges lie across the ramp and shorten it; the other half run along it.
    shortened = span < whole - 10
    assert 0.25 < shortened.float().mean() < 0.75
    for crop in cut[shortened]:
        along = (
            crop[0] if (crop[0].diff(dim=1).abs().amax() > crop[0].diff(dim=0).abs().amax()) else crop[0].T
        )
        flat = along.diff(dim=1).abs().amax(dim=0) < 0.5
        assert flat[:3].all() or flat[-3:].all()
        assert not flat.all()


@pytest.mark.parametrize(
    ("jitter", "changes"),
    [
        ({"brightness": 0.2}, "brightness"),
        ({"stain": 0.2}, "stain"),
        ({"balance": 0.5}, "balance"),
        ({"tone": 0.5}, "tone"),
        ({"veil": 0.5}, "veil"),
        ({"white": 0.3}, "white"),
        ({"contrast": 0.5}, "contrast"),
        ({"saturation": (0.2, 0.4)}, "saturation"),
        ({"noise": 0.1}, "noise"),
        ({"blur_share": 1.0, "blur_sigma": 2.0}, "blur"),
        ({"shift": 0.2}, "shift"),
        ({"shear": 0.3}, "shear"),
        ({"scale": (0.5, 0.7)}, "scale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_range_does_something_by_itself(jitter, changes):
    still = _augment(_STILL, _noise(), 16)
    assert (_augment(replace(_STILL, **jitter), _noise(), 16) - still).abs().mean() > 0.5, changes


def test_blur_takes_detail_and_keeps_the_mean():
    sharp = _augment(_STILL, _noise(side=48), 32)
    soft = _augment(replace(_STILL, blur_share=1.0, blur_sigma=2.0), _noise(side=48), 32)
    assert (soft.std(dim=(2, 3)) < sharp.std(dim=(2, 3))).all()
    torch.testing.assert_close(soft.mean(dim=(2, 3)), sharp.mean(dim=(2, 3)), rtol=0, atol=6)


def test_plain_crops_are_only_mirrored_and_keep_their_colours():
    crops = _noise(count=32)
    answers = _augment(PLAIN, crops, 24, context=1.0)
    mirrored = 0
    for crop, answer in zip(crops.permute(0, 3, 1, 2).float(), answers, strict=True):
        near = [(variant - answer).abs().max() <= 1.01 for variant in (crop, crop.flip(2))]
        assert sum(near) == 1
        mirrored += near[1]
    assert 4 < mirrored < 28


def _angles(ranges: Ranges) -> torch.Tensor:
    """How far each of many crops is turned: from a single bright spot, away from the middle."""
    side = 65
    crops = torch.zeros((64, side, side, 3), dtype=torch.uint8)
    crops[:, 30:35, 48:53] = 255  # to the right of the middle
    turned = _augment(ranges, crops, side, context=1.0)[:, 0]
    places = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    mass = turned.sum(dim=(1, 2))
    x = (turned.sum(dim=1) * places).sum(dim=1) / mass
    y = (turned.sum(dim=2) * places).sum(dim=1) / mass
    # A mirror puts the spot on the left, at the mirrored angle.
    return torch.atan2(y.abs(), x.abs())


def test_crops_turn_as_far_as_they_are_told_and_no_further():
    assert _angles(PLAIN).max() < math.radians(2)
    angles = _angles(replace(PLAIN, turn=math.radians(25)))
    assert math.radians(18) < angles.max() < math.radians(27)
    assert angles.min() < math.radians(5)


def test_a_gain_is_one_factor_for_all_pixels_of_a_crop_within_its_bounds():
    crops = torch.full((64, 12, 12, 3), 100, dtype=torch.uint8)
    crops[:, :6] = 50
    gained = _augment(replace(PLAIN, gain=(0.8, 1.2)), crops, 12, context=1.0)
    low, high = gained[:, :, 1, 1], gained[:, :, -2, -2]
    factors = high / 100
    # One grey level is lost to the densities, as above.
    assert factors.min() >= 0.79
    assert factors.max() <= 1.21
    assert factors.max() - factors.min() > 0.25
    torch.testing.assert_close(low / 50, factors, rtol=0, atol=0.03)
    torch.testing.assert_close(factors.amax(dim=1), factors.amin(dim=1), rtol=0, atol=1e-3)
