"""rayal/storage/yaml_file.py: strict YAML, merging, overrides."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rayal.errors import UsageError
from rayal.storage import yaml_text
from rayal.storage.yaml_file import MAX_BYTES, read_yaml
from rayal.storage.yaml_node import Node, Origin, merge
from rayal.storage.yaml_text import dump, flow, override, parse

NOWHERE = Origin("default", None, Path("/"))
EMPTY = Node({}, NOWHERE)


def tree(text: str) -> Node:
    return parse(text, "x.yaml", Path("/configs"))


def value(text: str) -> Any:
    return tree(f"v: {text}").plain()["v"]


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


STRINGS = "on off yes no y N On NO 0123 1:30 0x1F 1_000 2026-01-01 = <<".split()
NUMBERS = {
    **{"7": 7, "-7": -7, "+7": 7, "0": 0, "9" * 18: 10**18 - 1},
    **{"1e-3": 1e-3, "1e3": 1000.0, ".5": 0.5, "-.5": -0.5, "1.": 1.0, "5.0e-4": 5e-4},
}
OTHERS = {
    **{"true": True, "False": False, "~": None, "null": None, "": None, "'1'": "1"},
    **{"[1, [a]]": [1, ["a"]], "{a: {b: 1}}": {"a": {"b": 1}}, "9" * 5000: "9" * 5000},
}


@pytest.mark.parametrize(
    ("text", "expected"), [*zip(STRINGS, STRINGS, strict=True), *NUMBERS.items(), *OTHERS.items()]
)
def test_scalars_mean_what_they_look_like(text: str, expected: object) -> None:
    """YAML 1.1 would read `no` as false, 0123 as 83, 1:30 as 90 and 1e-3 as a string."""
    assert repr(expected) == repr(value(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "x.yaml:4: 'c' is given twice, first at x.yaml:3"),
        ("a:\n\tb: 1", "x.yaml:2: a tab; YAML is indented with spaces"),
        ("a: 1\nb: !!python/object:os.system x", "x.yaml:2: tag 'tag:yaml.org,2002:python/object"),
        ("a: ! x", "x.yaml:1: tag '!'"),
        ("a: &one 1\nb: *one", "x.yaml:1: alias 'one'; write the value out"),
        ("a: &a [*a]", "x.yaml:1: alias 'a'"),
        ("[" * 40, "x.yaml:1: nested more than 32 deep"),
        ("- " * 500_000 + "1", "x.yaml:1: nested more than 32 deep"),
        ("a: b: c\t# d", "x.yaml:1: not valid YAML: mapping values are not allowed"),
        ("a: 1\n---\nb: 2", "x.yaml:2: not valid YAML"),
        ("a: [1,", "x.yaml:2: not valid YAML"),
        ("a: '\x01'", "x.yaml:1: unacceptable character #x0001"),
        ("a: \udcff", "x.yaml:1: 'utf-8' codec can't encode character"),
        ('"\\e[2J": 1', "x.yaml:1: a key must be a printable word"),
        ("? [1]\n: 2", "x.yaml:1: a key must be a printable word"),
        ("just words", "x.yaml: expected `key: value` lines, got 'just words'"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text: str, message: str) -> None:
    """A tag could run code, a circle of aliases or deep nesting crash the process, and the second
    of two equal keys silently win."""
    with pytest.raises(UsageError) as caught:
        tree(text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\n" + b"#" * MAX_BYTES, "more than 1048576 bytes"),
        (b"a: \xff", "not UTF-8 text (byte 3)"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_configurations(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """Somebody passes a checkpoint or a mistyped path: one line, no traceback, no full memory."""
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_yaml(path, EMPTY)

    assert f"{path}: {message}" in str(caught.value)


def test_byte_order_mark_and_empty_file(tmp_path: Path) -> None:
    """Windows editors write a mark, which would become part of the first key."""
    assert {"a": 1} == read_yaml(write(tmp_path, "bom.yaml", b"\xef\xbb\xbfa: 1"), EMPTY).plain()
    assert {} == read_yaml(write(tmp_path, "empty.yaml", "# nothing\n"), EMPTY).plain()


def test_extends_merges_down_the_chain(tmp_path: Path) -> None:
    """A file holds only what differs from the one it extends, which may itself extend another."""
    write(tmp_path, "a.yaml", "seed: 0\nbudget: {initial: 1, total: 9}\nobservers: [x, y]\n")
    (tmp_path / "inner").mkdir()
    write(tmp_path, "inner/b.yaml", "extends: ../a.yaml\nbudget: {total: 10}\n")
    c = write(tmp_path, "c.yaml", "extends: inner/b.yaml\nobservers: [z]\nbudget:\n  initial: 2\n")

    node = read_yaml(c, EMPTY)

    expected = {"seed": 0, "budget": {"initial": 2, "total": 10}, "observers": ["z"]}
    assert expected == node.plain()
    assert f"{c}:4" == str(node.at(["budget", "initial"]).origin)
    assert f"{tmp_path}/inner/../a.yaml:1" == str(node.at(["seed"]).origin)


def test_extends_in_a_circle_or_of_two(tmp_path: Path) -> None:
    """A circle must end with a message, not with a full stack."""
    write(tmp_path, "a.yaml", "extends: b.yaml\n")
    write(tmp_path, "b.yaml", "x: 1\nextends: a.yaml\n")
    write(tmp_path, "two.yaml", "extends: [a.yaml, b.yaml]\n")

    with pytest.raises(
        UsageError, match=r"b.yaml:2: extends: .*circle: a.yaml -> b.yaml -> a.yaml; remove one of"
    ):
        read_yaml(tmp_path / "a.yaml", EMPTY)
    write(tmp_path, "b.yaml", "x: 1\n")
    assert {"x": 1} == read_yaml(tmp_path / "a.yaml", EMPTY).plain()
    with pytest.raises(UsageError, match=r"two.yaml:1: extends: expected one file name"):
        read_yaml(tmp_path / "two.yaml", EMPTY)


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ("{name: cod, k: 1}", "{k: 2}", {"name": "cod", "k": 2}),
        ("{name: cod, k: 1}", "{name: cod, j: 2}", {"name": "cod", "k": 1, "j": 2}),
        ("{name: cod, k: 1}", "{name: badge, j: 2}", {"name": "badge", "j": 2}),
        ("{name: cod, k: 1}", "badge", {"name": "badge"}),
        ("{name: cod, k: 1}", "cod", {"name": "cod", "k": 1}),
        ("{k: 1}", "cod", {"name": "cod", "k": 1}),
        ("cod", "badge", "badge"),
        ("[cod]", "badge", "badge"),
        ("cod", "{k: 2}", {"name": "cod", "k": 2}),
        ("cod", "{name: badge}", {"name": "badge"}),
        ("{a: {b: 1, c: 2}}", "{a: {c: 3}}", {"a": {"b": 1, "c": 3}}),
        ("[1, 2]", "[3]", [3]),
        ("{a: 1}", "null", None),
        ("null", "{a: 1}", {"a": 1}),
    ],
)
def test_merge_of_parts(base: str, over: str, expected: object) -> None:
    """Fields of one part must not end up in another: cod's options are nonsense to badge."""
    merged = merge(tree(f"part: {base}"), tree(f"part: {over}"), ["part"])

    assert {"part": expected} == merged.plain()


def test_what_is_no_part_has_no_name() -> None:
    """A function of a sweep's space, or a block of numbers, would get a field `name`."""
    base = tree("{space: {grid_search: [a, b]}}")

    assert {"space": "a"} == merge(base, tree("space: a"), ["strategy"]).plain()


def test_root_is_not_a_part() -> None:
    """An experiment has a name too: giving it another one must keep the rest."""
    assert {"name": "b", "seed": 1} == merge(tree("{name: a, seed: 1}"), tree("name: b")).plain()


def test_overrides() -> None:
    """`--set` follows YAML for values and the same merging; the last of one key wins."""
    node = tree("strategy: {name: cod, k: 1}\nseed: 0\n")
    for assignment in (
        "seed=1",
        "seed=2",
        "name=a=b c",
        "strategy.k=3",
        "new.list=[1, é, null]",
        "empty=''",
    ):
        node = override(node, assignment)

    assert {
        "strategy": {"name": "cod", "k": 3},
        "seed": 2,
        "name": "a=b c",
        "new": {"list": [1, "é", None]},
        "empty": "",
    } == node.plain()
    assert "--set seed=2" == str(node.at(["seed"]).origin)
    assert "x.yaml:1" == str(node.at(["budget"]).origin)
    assert "badge" == override(node, "strategy=badge").plain()["strategy"]


def test_an_override_of_a_secret_is_named_without_it() -> None:
    """It stands in every message about the key, which is a mistaken one more often than not."""
    node = override(tree("seed: 0"), "tracking.password=s3cret")

    assert "--set tracking.password=***" == str(node.at(["tracking", "password"]).origin)
    assert "s3cret" == node.at(["tracking", "password"]).value
    with pytest.raises(UsageError, match=r"^--set tracking.password=\*\*\*: ") as told:
        override(node, "tracking.password=[s3cret")
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("assignment", ["seed", "=1", "a.=1", ".a=1", "a..b=1", "seed=", "seed= "])
def test_what_is_no_override(assignment: str) -> None:
    """`--set seed` or a forgotten value must not silently set null."""
    with pytest.raises(UsageError, match="^--set "):
        override(tree("seed: 0"), assignment)


def test_strings_remember_their_folder(tmp_path: Path) -> None:
    """A path in a base file is relative to that file, one in `--set` to the current folder."""
    (tmp_path / "base").mkdir()
    write(tmp_path, "base/a.yaml", "p: x\n")
    node = read_yaml(write(tmp_path, "b.yaml", "extends: base/a.yaml\nq: y\n"), EMPTY)
    plain = override(node, "r=z").plain()

    assert [tmp_path / "base", tmp_path, Path.cwd()] == [plain[key].folder for key in "pqr"]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.from_regex(r"[-+]?[0-9._:eExX]{1,8}", fullmatch=True)
    | st.sampled_from(["on", "No", "y", "null", "~", "true", ".inf", "1e-3", "0123", "1:30", "<<"])
)
KEYS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_dump_reads_back(mapping: dict[str, Any]) -> None:
    """What a run folder records is what ran: a string `1e-3` must not come back as a number."""
    assert mapping == tree(dump(mapping)).plain()


@given(SCALARS | st.lists(SCALARS, max_size=40))
@example("0...")  # ends as a document may
@example("a...")
def test_flow_reads_back_where_it_is_put(item: Any) -> None:
    """A class called `no`, or a list that goes on in the next line, would be another in the file
    that `rayal init` writes."""
    written = flow(item, 90).replace("\n", "\n    ")

    assert {"a": {"b": item, "c": 1}} == tree(f"a:\n  b: {written}\n  c: 1\n").plain()


def test_an_absent_base_is_blamed_on_who_extends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a chain of files, the one with the mistake would have to be searched."""
    file = tmp_path / "x.yaml"
    monkeypatch.setenv("BASES", str(tmp_path))
    for base, why in {
        "missing.yaml": f"extends: {tmp_path}/missing.yaml: there is no such file",
        "~/missing.yaml": "extends: .*missing.yaml: there is no such file",
        "$NOT_SET/x.yaml": r"extends: .*\$NOT_SET is not set",
    }.items():
        file.write_text(f"name: x\nextends: {base}\n")
        with pytest.raises(UsageError, match=f"^{file}:2: {why}"):
            read_yaml(file, EMPTY)
    (tmp_path / "base.yaml").write_text("seed: 3\n")
    file.write_text("extends: $BASES/base.yaml\n")
    assert 3 == read_yaml(file, EMPTY).plain()["seed"]


def test_a_list_is_no_configuration() -> None:
    """It would be answered with the insides of rayal's own classes."""
    with pytest.raises(UsageError, match="^f: expected `key: value` lines, got a list$"):
        parse("- a\n- b\n", "f", Path())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (1e-3, "0.001"),
        ("word", "word"),
        ("12", "'12'"),
        ("", "''"),
        ([1, [2]], "[1, [2]]"),
        ({"a": {"b": True}}, "{a: {b: true}}"),
        (["x" * 200, "y z"], f"[{'x' * 200}, y z]"),
    ],
)
def test_one_line_reads_back(value, text):
    """A table would be broken by a long value, or a text be read as a number."""
    assert text == yaml_text.flow(value)
    assert value == yaml_text.value(text, "here").plain()
