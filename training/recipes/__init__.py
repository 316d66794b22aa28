"""How each classifier and each network of the leukemia screen is trained."""

from __future__ import annotations

from typing import Final

from training.recipes.literature import LITERATURE
from training.recipes.mooney import MOONEY
from training.recipes.presets import PRESETS
from training.recipes.recipe import Recipe
from training.recipes.serving import SERVING

__all__ = ["LITERATURE", "MOONEY", "PRESETS", "RECIPES", "SERVING", "Recipe"]

RECIPES: Final = {recipe.name: recipe for recipe in (*SERVING, *LITERATURE, *PRESETS, *MOONEY)}
