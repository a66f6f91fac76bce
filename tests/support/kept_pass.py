"""A finished pass that kept features, an embedding and probabilities, as `rayal score` does."""

from pathlib import Path

import numpy as np

from rayal.cycle import shard_file
from rayal.storage.folder import Folder


def kept_pass(
    out: Path, units: int, shards: int = 5, levels: int = 4, width: int = 3, name: str = "core_set"
) -> str:
    """The pass in the folder `out`; features on few levels, so with many ties and copies. Each
    shard has a bad image, and the last has nothing else."""
    rng, files, folder = np.random.default_rng(units), [], Folder(out / "scores")
    ids = np.array([f"unit-{n:06d}" for n in rng.permutation(units)])
    features = rng.integers(0, levels, (units, width)).astype(np.float16)
    kept = {"features": features, "embedding.graph": features[:, ::-1]}
    kept["probs"] = rng.dirichlet(np.ones(4), units).astype(np.float16)
    for number, rows in enumerate([*np.array_split(np.arange(units), shards), np.arange(0)]):
        columns = {f"keep.{name}": of[rows] for name, of in kept.items()} if len(rows) else {}
        bad = {f"bad-{number}": "empty file"}
        data = shard_file.encode(ids[rows].tolist(), columns, bad)
        files.append(folder.write(f"shard-{number:05d}.parquet", data)._asdict())
    result = {"columns": [name], "shards": files, "units": units + shards + 1}
    folder.write_sealed("done.json", {"result": result})
    return str(out)
