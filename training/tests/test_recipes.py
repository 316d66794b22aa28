"""All that can be named on the command line can be trained, and comes after what it builds on."""

import pytest

from training import card_texts, detector
from training.__main__ import Network
from training.architectures import ARCHITECTURES
from training.ensemble import ENSEMBLES
from training.recipes import LITERATURE, MOONEY, PRESETS, RECIPES, SERVING
from training.tasks import TYPES

_ORDER = list(Network)


def test_every_recipe_every_detector_and_every_ensemble_has_a_command_and_nothing_else_has():
    assert set(Network) == {*RECIPES, *detector.RECIPES, *ENSEMBLES}


def test_names_are_of_one_recipe_each():
    assert len(RECIPES) == len(SERVING) + len(LITERATURE) + len(PRESETS) + len(MOONEY)
    assert not set(RECIPES) & set(ENSEMBLES)


def test_what_a_network_builds_on_comes_before_it():
    for recipe in (*RECIPES.values(), *detector.RECIPES.values()):
        for needed in recipe.builds_on:
            assert _ORDER.index(needed) < _ORDER.index(recipe.name), (recipe.name, needed)
    for ensemble in ENSEMBLES.values():
        assert all(_ORDER.index(member) < _ORDER.index(ensemble.name) for member in ensemble.members)


def test_a_command_knows_what_kind_of_network_it_is_given():
    assert {name for name in Network if name.detects} == set(detector.RECIPES)
    compared = {recipe.name for recipe in (*PRESETS, *MOONEY)}
    compared |= {recipe.name for recipe in detector.RECIPES.values() if not recipe.serves}
    assert {name for name in Network if name.is_to_compare} == compared
    assert {name for name in Network if name.votes} == set(ENSEMBLES)


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=lambda ensemble: ensemble.name)
def test_the_members_of_an_ensemble_have_recipes_and_take_crops_of_one_side(ensemble):
    assert len(set(ensemble.members)) == len(ensemble.members) >= 2
    assert len({RECIPES[member].side_px for member in ensemble.members}) == 1
    assert all(member in ensemble.title for member in ensemble.members)


def test_ensembles_and_votes_have_names_of_their_own():
    names = [name for ensemble in ENSEMBLES.values() for name in (ensemble.name, ensemble.vote)]
    assert len(set(names)) == len(names)


def test_a_network_starts_from_one_of_the_same_architecture():
    for recipe in RECIPES.values():
        if recipe.start:
            start = RECIPES[recipe.start]
            assert (start.architecture or start.name) == (recipe.architecture or recipe.name)
        assert recipe.start or not recipe.frozen, recipe.name


def test_titles_say_the_architecture_and_the_side():
    assert RECIPES["vgg19"].title == "VGG-19, 96 px"
    assert RECIPES["bhavana_xception"].title == "Xception, 128 px"


def test_cards_say_of_the_right_networks_that_they_saw_another_laboratory():
    saw = {recipe.name for recipe in RECIPES.values() if recipe.task is TYPES and recipe.joint_epochs}
    assert saw == card_texts.SAW_BCCD


def test_teachers_of_strangers_are_strangers():
    for recipe in (*LITERATURE, *PRESETS):
        for needed in recipe.builds_on:
            assert needed not in card_texts.SAW_BCCD, recipe.name


def test_cards_name_the_source_of_every_architecture_and_every_papers_recipe():
    assert set(ARCHITECTURES) == set(card_texts.ARCHITECTURES)
    assert all(any(recipe.name.startswith(paper) for paper in card_texts.PAPERS) for recipe in PRESETS)
