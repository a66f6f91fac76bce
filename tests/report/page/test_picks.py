import numpy as np

from rayal.data.masks import IGNORE
from rayal.report.page.picks import KINDS, ORDER, _plan, covered, kinds, spread


def test_most_median_and_least() -> None:
    """Only the most wanted would be looked at, which every strategy has good ones of."""
    found = kinds(list("abcdefghijk"), 6)

    assert {KINDS[0]: ["a", "b"], KINDS[1]: ["e", "f"], KINDS[2]: ["j", "k"]} == found


def test_order_is_not_called_want() -> None:
    """The last that chance chose is wanted as much as the first."""
    assert [*ORDER] == [*kinds(list("abcdef"), 3, ORDER)]


def test_no_image_is_shown_twice() -> None:
    """Few picks would look like many."""
    for count in range(1, 12):
        images = [str(number) for number in range(count)]
        shown = [image for each in kinds(images, 9).values() for image in each]

        assert len({*shown}) == len(shown)


def test_cycles_from_the_first_to_the_last() -> None:
    """The end of a run would be missing where it is long."""
    assert [0, 1, 2] == spread(3, 5)
    assert [0, 3, 6, 9] == spread(10, 4)


def test_all_arms_have_room() -> None:
    """The first arm would use up the room of the others."""
    for arms in (1, 3, 10, 50):
        for cycles in (1, 10, 100):
            each, most = _plan(arms, cycles, 600_000)

            assert 3 <= each <= 9 and 1 <= most <= cycles
            assert arms * each * most <= max(300, 3 * arms)


def test_a_mask_covers_what_has_a_class() -> None:
    """Where nothing was bought the image is to be seen."""
    pixels = np.full((1, 2, 3), 100, np.uint8)
    mask = np.array([[0, IGNORE]], np.uint8)
    found = covered(pixels, mask, np.array([[200.0, 0.0, 0.0]]))

    assert [155, 45, 45] == found[0, 0].tolist() and [100] * 3 == found[0, 1].tolist()
