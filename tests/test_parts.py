"""rayal/parts.py: finding parts by file name, building them, plugins, paths."""

import sys
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import Field
from torch import nn

import rayal
from rayal import parts
from rayal.cli.work import allowed
from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.location import Written
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Model
from rayal.parts import PACKAGES, Component, Part, build, find, names, suggest
from rayal.plugins import Plugins
from rayal.settings import Settings

PLUGIN = """
from rayal.parts import Component

class Mine(Component):
    k: int = 1
"""

DIGITS = Path(rayal.__file__).parent / "examples/digits.yaml"

NEST = """
from typing import Annotated
from rayal.parts import Component, Part

class Nest(Component):
    inner: Annotated[Component, Part("oracles")]
"""


class Holder(Settings):
    oracle: Annotated[Component, Part("oracles")] = Field(
        default="simulated", validate_default=True
    )
    many: tuple[Annotated[Component, Part("oracles")], ...] = ()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own part in the package `my_pkg`."""
    package = tmp_path / "my_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(PLUGIN)
    (package / "nest.py").write_text(NEST)
    (package / "two.py").write_text(PLUGIN + "class Other(Component): ...\n")
    (package / "broken.py").write_text("import there_is_no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_pkg"
    for name in [name for name in sys.modules if name.split(".")[0] == "my_pkg"]:
        del sys.modules[name]


def test_a_file_is_a_part() -> None:
    """Adding a strategy is adding one file: nothing else may need a change."""
    assert "simulated" in names("oracles")
    assert "Simulated" == find("oracles", "simulated").__name__
    assert "simulated" == find("oracles", "simulated").part_name()


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in PACKAGES for name in names(kind)]
)
def test_a_class_is_called_like_its_file(kind: str, name: str) -> None:
    """Whoever knows a part from YAML could not guess its import: `mc_dropout_entropy` is
    `McDropoutEntropy`, and `none`, which is no name for a class, is `NoneTracker`."""
    words = [word.capitalize() for word in name.split("_")]
    contract = find(kind, name).__mro__[1].__name__
    expected = "".join(words)

    assert (expected + contract if iskeyword(expected) else expected) == find(kind, name).__name__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simulatd", "there is no 'simulatd' in oracles; did you mean 'simulated'?"),
        ("zzz", "there is no 'zzz' in oracles; choose one of: "),
        ("", "there is no '' in oracles"),
        ("../simulated", "is not the name of a module; write package.module"),
        (".os", "is not the name of a module; write package.module"),
        ("os.system", "allow it on the command line: --plugins os"),
        ("__init__", "there is no '__init__' in oracles"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    """A name from a file must never import what is not a part (K02)."""
    with pytest.raises(UsageError) as caught:
        find("oracles", name)

    assert message in str(caught.value)
    if message.endswith("choose one of: "):
        for known in str(caught.value).partition(message)[2].split(", "):
            find("oracles", known)


def test_plugins_need_permission(plugin: str) -> None:
    """Code runs at import: a file alone, perhaps downloaded, must not be able to name it."""
    with pytest.raises(UsageError, match="--plugins my_pkg; in Python: .*, or give rayal.Exper"):
        build("oracles", "my_pkg.mine")
    with pytest.raises(UsageError, match="write package.module"):
        build("oracles", "my_pkg/mine.py", Plugins([plugin]))
    with pytest.raises(UsageError, match=r"'my_pkg' is no list of packages; write \['my_pkg'\]"):
        Plugins(plugin)
    assert "my_pkg.mine" not in sys.modules

    mine = {"name": "my_pkg.mine", "k": 2}

    found = build("oracles", mine, Plugins([plugin]))

    assert mine == found.model_dump()
    assert found is build("oracles", found)
    with pytest.raises(UsageError, match="--plugins my_pkg"):  # allowed there, not for ever
        build("oracles", mine)


def test_plugins_of_a_validation(plugin: str) -> None:
    """A part inside another one, or in a list, could not be named; or a file could allow itself."""
    mine, nest = {"name": "my_pkg.mine", "k": 2}, {"name": "my_pkg.nest", "inner": "my_pkg.mine"}
    fields = {"oracle": nest, "many": [mine]}
    holder = Holder.model_validate(fields, context=Plugins([plugin]))

    assert (mine,) == holder.model_dump()["many"]
    assert {"name": "my_pkg.mine", "k": 1} == holder.model_dump()["oracle"]["inner"]
    assert holder == Holder(**dict(holder))  # what is built needs no permission
    for wrong in ({"oracle": nest}, {"many": [mine]}):
        with pytest.raises(UsageError, match="--plugins my_pkg"):
            Holder(**wrong)


def test_plugins_that_are_nowhere(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a name was told as if none were given."""
    with pytest.raises(UsageError, match="there is no module named 'my_pgk', neither .* correct"):
        build("oracles", "my_pkg.mine", Plugins(["my_pgk"]))
    with pytest.raises(UsageError, match="'my_pkg.mine' lies in a package; give the package, 'my"):
        build("oracles", "my_pkg.mine", Plugins(["my_pkg.mine"]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(UsageError, match="there is no module named 'here_alone'"):
        allowed(["here_alone"])

    (tmp_path / "here_alone.py").touch()
    assert {plugin, "here_alone"} == allowed([plugin, "here_alone"])
    assert build("oracles", "my_pkg.mine", Plugins(["my_pkg"]))


def test_plugins_that_cannot_be_used(plugin: str) -> None:
    """The message must say which of the user's modules is wrong, and how."""
    plugins = Plugins([plugin])

    with pytest.raises(UsageError, match="my_pkg.two must hold one part .*: Mine, Other"):
        find("oracles", "my_pkg.two", plugins)
    with pytest.raises(UsageError, match="'my_pkg.broken' cannot be imported: .*no_such_module"):
        find("oracles", "my_pkg.broken", plugins)
    with pytest.raises(UsageError, match="'my_pkg.absent' cannot be imported"):
        find("oracles", "my_pkg.absent", plugins)


def test_a_field_takes_and_saves_a_part() -> None:
    """What a run folder records must build the same part, with the fields of its own class."""
    simulated = find("oracles", "simulated")()
    saved = {"name": "simulated"}

    for value in (simulated, "simulated", saved):
        holder = Holder(oracle=value, many=(value,))

        assert simulated == holder.oracle
        assert {"oracle": saved, "many": [saved]} == holder.model_dump(mode="json")


def test_a_part_of_another_kind_is_refused(plugin: str) -> None:
    """A strategy where an oracle belongs would fail in the middle of a run."""

    class Strict(Settings):
        inner: Annotated[Holder, Part("oracles")]

    with pytest.raises(UsageError, match="inner"):
        Strict(inner="simulated")


@pytest.mark.parametrize("value", [None, 3, [], {}, {"k": 1}, {"name": None}])
def test_what_is_no_part(value: object) -> None:
    """A part without a name cannot be guessed."""
    with pytest.raises(UsageError, match=r"expected a name or \{name: ..., ...\} from oracles"):
        Holder(oracle=value)


def test_what_is_nearly_a_part() -> None:
    """Who forgets the brackets, or gives the network itself, would be told of names alone."""
    with pytest.raises(
        UsageError, match=r"SmallCnn is a class; give an instance of it: SmallCnn\(\)"
    ):
        build("models", SmallCnn)
    network = nn.Sequential(nn.Flatten())
    with pytest.raises(
        UsageError, match=r"Sequential is a network, .* from network\(\) of a class"
    ):
        build("models", network)

    class Mine(Model):
        def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
            return network

    assert Mine() == build("models", Mine())
    assert SmallCnn() == build("models", SmallCnn())


def test_a_path_in_place_of_a_dataset(tmp_path: Path) -> None:
    """It would be refused as the name of a module."""
    for path in ("./photos", f"{tmp_path}/photos"):
        with pytest.raises(
            UsageError, match="is a path; write {name: image_folder, root: "
        ) as told:
            build("datasets", path)
        written = yaml.safe_load(str(told.value).partition("; write ")[2].split(" for images")[0])
        assert "ImageFolder" == type(build("datasets", written)).__name__


def test_suggest() -> None:
    """A typo gets the nearest word; anything else the whole list."""
    assert "did you mean 'lr'?" == suggest("lrr", ["lr", "epochs"])
    assert "choose one of: lr, epochs" == suggest("milestones", ["lr", "epochs"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ndef f(:", r"SyntaxError: invalid syntax \(.*at_import.py:2\)"),
        ("x = 1\nundefined", r"NameError: name 'undefined' .* \(.*at_import.py:2\)"),
        ("open('/no/such/file')", r"FileNotFoundError: .*/no/such/file.* \(.*at_import.py:1\)"),
        ("import sys\nsys.exit(3)", r"SystemExit: 3 \(.*at_import.py:2\)"),
        ("from my_pkg import below", r"ZeroDivisionError: .* \(.*below.py:1\)"),
        ("1 / 0  # " + "x" * 9000, "ZeroDivisionError: division by zero"),
    ],
)
def test_whatever_an_import_raises_is_told_in_one_line(
    plugin: str, tmp_path: Path, text: str, told: str
) -> None:
    """A user would search a mistake of their own in a traceback of rayal's."""
    (tmp_path / "my_pkg" / "below.py").write_text("1 / 0")
    (tmp_path / "my_pkg" / "at_import.py").write_text(text)
    with pytest.raises(UsageError, match=rf"plugin 'my_pkg.at_import' .*: {told}") as raised:
        find("oracles", "my_pkg.at_import", Plugins([plugin]))

    assert "\n" not in str(raised.value)


def test_a_part_of_another_kind_or_half_of_one_is_refused(plugin: str, tmp_path: Path) -> None:
    """It would fail where it is first used, with what Python says of abstract classes."""
    half = "from rayal.models.base import Model\n\nclass Half(Model): ...\n"
    (tmp_path / "my_pkg" / "half.py").write_text(half)
    with pytest.raises(
        UsageError, match="my_pkg.half is not whole: Half lacks network.* see the b"
    ):
        find("models", "my_pkg.half", Plugins([plugin]))
    whole = half.replace("...", "\n    def network(self, num_classes, image): return None\n")
    (tmp_path / "my_pkg" / "whole.py").write_text(whole)
    assert {"network"} == find("models", "my_pkg.whole", Plugins([plugin])).__dict__.keys() & {
        *Model.__abstractmethods__
    }
    with pytest.raises(UsageError, match="no part for strategies: Half is for models"):
        find("strategies", "my_pkg.half", Plugins([plugin]))


def test_a_configuration_written_out():
    """What a dump leaves out, where it has its default, would be missing where all is to be shown;
    and texts that were read from a file could not be written to one."""
    model = parts.find("models", "deeplab_v2")()
    read = Written("a", Path("/somewhere"))
    told = parts.written_out({"model": model, "word": read, "some": (1, read)})

    assert "dilations" not in model.model_dump()
    assert ("deeplab_v2", [6, 12, 18, 24]) == (told["model"]["name"], told["model"]["dilations"])
    assert ("a", [1, "a"], str) == (told["word"], told["some"], type(told["word"]))


def test_the_schema_of_a_field_that_holds_a_part():
    """pydantic's own schema of a model with parts would know the contract's fields alone."""

    class Holder(Settings):
        task: Annotated[parts.Component, parts.Part("tasks")]

    made = Holder.model_json_schema()
    options = made["properties"]["task"]["anyOf"]

    assert {"enum": ["classification", "segmentation"]} == options[0]
    assert {"$ref": "#/$defs/Segmentation", "required": ["name"]} in options
    assert {"const": "segmentation"}.items() <= made["$defs"]["Segmentation"]["properties"][
        "name"
    ].items()
