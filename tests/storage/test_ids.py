"""Compact ids behave as a list of them, and are found as in a dictionary."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayal.storage import ids as module
from rayal.storage.ids import Ids, Places

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LISTS = st.lists(TEXT, max_size=20)


@settings(deadline=None)
@given(LISTS, st.data())
def test_is_a_list_of_its_ids(units, data):
    """A strategy would look at another unit than it names."""
    ids, places = Ids(units), st.integers(-len(units), len(units) - 1)
    bounds = st.none() | st.integers(-25, 25)
    cut = slice(data.draw(bounds), data.draw(bounds), data.draw(st.sampled_from([None, 1, 2, -1])))
    mask = data.draw(st.lists(st.booleans(), min_size=len(units), max_size=len(units)))

    assert units == list(ids) == list(Ids(pa.chunked_array([ids.array, ids.array[:0]])))
    assert units[cut] == list(ids[cut])
    assert [u for u, m in zip(units, mask, strict=True) if m] == list(ids[np.array(mask, bool)])
    if units:
        place = data.draw(places)
        order = data.draw(st.lists(places.filter(lambda n: n >= 0)))
        assert units[place] == ids[place] == ids[np.int64(place)]
        assert [units[n] for n in order] == list(ids[np.array(order, int)])


@pytest.mark.parametrize("place", [3, -4])
def test_there_is_no_unit_beyond_the_end(place):
    """Iteration would never stop, and a wrong position name a unit."""
    with pytest.raises(IndexError):
        Ids("abc")[place]


@pytest.mark.parametrize("hashes", [None, 1, 3])
@settings(deadline=None)
@given(st.lists(TEXT, unique=True, max_size=20), LISTS)
def test_finds_what_a_dictionary_finds(hashes, units, asked):
    """A labeled unit would be bought again; even where hashes collide (1 and 3 different ones)."""
    known = {unit: place for place, unit in enumerate(units)}
    with pytest.MonkeyPatch.context() as patch:
        if hashes is not None:
            few = lambda ids: np.array([len(unit) % hashes for unit in ids], np.int64)  # noqa: E731
            patch.setattr(module, "_hashes", few)
        places = Places(Ids(units))

        assert [known.get(unit, -1) for unit in asked] == places.of(Ids(asked)).tolist()
        assert [unit in known for unit in asked] == places.has(Ids(asked)).tolist()
