"""Models as people write them: what a padded tree needs room for."""

import pytest

from pipeline.model_options import ModelOptionError, parse_models
from roles.model_settings import tree_settings
from schemas.models import TreeSpec


def test_trees_are_not_padded_unless_asked() -> None:
    (spec,) = parse_models(["dt"], 2)
    assert isinstance(spec, TreeSpec)
    assert spec.pad_depth == 0
    assert tree_settings(spec).depth_bound == spec.max_depth == 20


def test_a_padded_tree() -> None:
    (spec,) = parse_models(["hidden=dt:pad_depth=5,max_leaves=32,grace=50"], 2)
    assert isinstance(spec, TreeSpec)
    assert (spec.model_id, spec.pad_depth, spec.max_leaves) == ("hidden", 5, 32)
    assert tree_settings(spec).depth_bound == 5


@pytest.mark.parametrize("parameters", ["pad_depth=7", "pad_depth=3,max_leaves=7", "pad_depth=3,max_depth=2"])
def test_a_padded_tree_without_room_is_refused_with_what_it_needs(parameters: str) -> None:
    with pytest.raises(ModelOptionError, match="room") as refused:
        parse_models([f"dt:{parameters}"], 2)
    assert refused.value.hint == "max_depth must be at least pad_depth, and max_leaves at least 2^pad_depth"


@pytest.mark.parametrize("value", ["-1", "11", "x"])
def test_a_depth_out_of_range_is_refused(value: str) -> None:
    with pytest.raises(ModelOptionError, match="cannot be used"):
        parse_models([f"dt:pad_depth={value}"], 2)
