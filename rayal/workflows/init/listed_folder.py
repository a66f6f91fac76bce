"""A look at images and the tables beside them that say their labels."""

from pathlib import Path

from rayal.data.datasets._listed import TABLES
from rayal.data.datasets.listed_folder import ListedFolder
from rayal.data.table import UserTable, open_table
from rayal.errors import UsageError, counted, some
from rayal.storage.yaml_text import flow
from rayal.workflows.init.found import (
    POOLS,
    TESTS,
    WIDTH,
    Found,
    Size,
    folders_in,
    model_for,
    split_of,
    spread,
    usual_size,
)
from rayal.workflows.init.parquet import LABELS

UNSEEN = Found(
    {
        "root": "photos",
        "there": "A path from here, or a whole one.",
        "pool": "train",
        "test": "test",
        "split": "null",
        "label": "label",
        "classes": "# classes: [cat, dog]   # without this line: all that occur, sorted",
        "sizes": "64 is fast.",
        "size": "64",
        "model": "resnet18",
    },
    pool=2000,
)


def look(root: Path) -> Found:
    """Raises UsageError where no table or no column of labels is there, DataError for a table that
    cannot be used."""
    options, table = _splits(root)
    label = next((name for name in LABELS if name in table.names), None)
    if label is None:
        raise UsageError(
            f"{table.location} has the columns {some(table.names)}, none of them called as labels"
            " are; leave root out and write dataset.label yourself"
        )
    dataset = ListedFolder(root=str(root), label=label, **options)
    source = dataset.source()
    if source.unlabeled:
        raise UsageError(
            f"{table.location}: no row has a label, so people have to give them; give data photos"
            f" without root, and write dataset: {{name: listed_folder, root: {root}}} into the file"
        )
    images = spread([*source.pool.images])
    size = usual_size(Path(str(each)).read_bytes() for each in images if Path(str(each)).is_file())
    size = size or Size(64, 64)
    count, classes = len(source.pool.ids), [*source.classes]
    names = f"classes: {flow(classes, WIDTH)}".replace("\n", "\n    ")
    return Found(
        {
            "there": f"{counted(count, 'image')} in the pool, {len(source.test.ids):,} to test.",
            "pool": flow(dataset.pool),
            "test": flow(dataset.test),
            "split": flow(dataset.split),
            "label": flow(label),
            "classes": names,
            "sizes": str(size),
            "size": str(size.side),
            "model": model_for(size.side),
        },
        count,
        len(classes),
        f"{counted(count, 'listed image')} of {counted(len(classes), 'class', 'classes')}. {size}",
    )


def tables_in(folder: Path) -> list[str]:
    """The names of the tables in a folder."""
    return [name for name in TABLES if (folder / name).is_file()]


def _splits(root: Path) -> tuple[dict[str, str | None], UserTable]:
    """Options that say the splits, and a table of the pool."""
    folders = [name for name in folders_in(root) if tables_in(root / name)]
    pool, test = split_of(folders, POOLS), split_of(folders, TESTS)
    if pool is not None and test is not None:
        return {"pool": pool, "test": test}, _table(root / pool)
    if not tables_in(root):
        raise UsageError(
            f"root {root} holds {some(folders_in(root)) or 'no folders'}, but {TABLES[0]} is"
            " expected in train/ and in test/, or in root with a column split; add it, or leave"
            " root out and write dataset.pool, dataset.test and dataset.table yourself"
        )
    table = _table(root)
    if "split" not in table.names:
        raise UsageError(
            f"{table.location} has no column split, and nothing to measure with; add one that says"
            " train or test, or leave root out and write dataset.split or test: null yourself"
        )
    said = {*table.texts("split")}
    pool, test = split_of(said, POOLS), split_of(said, TESTS)
    if pool is None or test is None:
        raise UsageError(
            f"{table.location} has the splits {some(sorted(said))}; leave root out and write"
            " dataset.pool and dataset.test yourself"
        )
    return {"pool": pool, "test": test, "split": "split"}, table


def _table(folder: Path) -> UserTable:
    return open_table(str(folder.absolute() / tables_in(folder)[0]))
