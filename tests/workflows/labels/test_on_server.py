"""Which project of a server is a request's."""

import pytest

from rayal.labeling.exchange.base import Asked
from rayal.workflows.labels.on_server import LONGEST, title_of


@pytest.mark.parametrize("length", [0, 1, 40, 43, 44, 45, 200])
def test_titles_that_the_server_takes(length: int) -> None:
    """It takes 3 to 50 characters: a long name of an experiment would end the push."""
    text = "".join(chr(ord("a") + place % 26) for place in range(length))
    titles = {
        title_of(Asked(name, text, ("a",), False, ())) for name in ("0123456789", "1123456789")
    }

    assert 2 == len(titles) and all(3 <= len(title) <= LONGEST for title in titles)
    assert all(title.startswith(text[:20]) and text[-10:] in title for title in titles)
