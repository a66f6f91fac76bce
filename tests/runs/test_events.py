"""What observers are told, in words."""

import pytest

from rayal.runs.events import Event, Observers
from tests.support.doubles import Silent


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event("begun", "train", 3), "cycle 3 train: begun"),
        (Event("further", "score", 1, 18, 25, "shards"), "cycle 1 score: 18 of 25 shards"),
        (Event("further", "score", None, 5, 9, "images"), "score: 5 of 9 images"),
        (Event("ended", "trial", done=1, total=2, note="cod-0: failed"), "trial: cod-0: failed"),
    ],
)
def test_an_event_in_words(event: Event, words: str) -> None:
    """`on_event=print` in a notebook would print what nobody reads."""
    assert words == str(event)


def test_all_observers_are_told_in_order() -> None:
    """The tracker would hear of a cycle before its curve is drawn."""
    heard = []

    class Ear(Silent):
        def __init__(self, name: str) -> None:
            self.name = name

        def stage(self, cycle, stage) -> None:
            heard.append((self.name, cycle, stage))

    Observers([Ear("a"), Ear("b")]).on(Event("begun", "score", 2))

    assert [("a", 2, "score"), ("b", 2, "score")] == heard
