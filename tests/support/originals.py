"""The originals of every dataset, tiny, in the layout that it reads, made for a test."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from rayal.data.datasets.base import Dataset
from rayal.data.datasets.simulated_subtomograms import SimulatedSubtomograms
from rayal.parts import build
from tests.support import scenes

RNG = np.random.default_rng(0)


def dataset(name: str, root: Path, patch: pytest.MonkeyPatch) -> Dataset:
    """The dataset of this name with originals in `root`; `patch` makes its reader accept them."""
    options = MAKE[name](root, patch) or {}
    made: Dataset = build("datasets", {"name": name, "root": str(root), **options})
    return made


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def plant(root: Path, paths: list[str], shape: tuple[int, ...] = (20, 24, 3)) -> None:
    """Image files of noise."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if path.endswith("png") else "JPEG"
        (root / path).write_bytes(encoded(RNG.integers(0, 256, shape, np.uint8), kind))


def digits(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"limit_pool": 30, "limit_test": 9}


def cifar10(root: Path, patch: pytest.MonkeyPatch) -> None:
    _cifar(root, patch, datasets.CIFAR10, "labels", 10)


def cifar100(root: Path, patch: pytest.MonkeyPatch) -> None:
    _cifar(root, patch, datasets.CIFAR100, "fine_labels", 100)


def _cifar(root: Path, patch: Any, reader: Any, key: str, classes: int) -> None:
    folder = root / reader.base_folder
    folder.mkdir()

    def written(name: str, content: Any) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def rows() -> dict[str, Any]:
        data = RNG.integers(0, 256, (4, 3072), np.uint8)
        return {"data": data, key: RNG.integers(0, classes, 4).tolist()}

    for attribute in ("train_list", "test_list"):
        names = [name for name, _ in getattr(reader, attribute)]
        patch.setattr(reader, attribute, [[name, written(name, rows())] for name in names])
    meta = {reader.meta["key"]: [f"class {number}" for number in range(classes)]}
    digest = written(reader.meta["filename"], meta)
    patch.setattr(reader, "meta", {**reader.meta, "md5": digest})


def svhn(root: Path, patch: pytest.MonkeyPatch) -> None:
    lists = dict(datasets.SVHN.split_list)
    for split in ("train", "test"):
        file = root / f"{split}_32x32.mat"
        images = RNG.integers(0, 256, (32, 32, 3, 4), np.uint8)  # H W C N
        savemat(file, {"X": images, "y": np.array([10, 1, 9, 3], np.uint8)[:, None]})
        lists[split] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    patch.setattr(datasets.SVHN, "split_list", lists)


def fashion_mnist(root: Path, patch: pytest.MonkeyPatch) -> None:
    folder = root / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        images, labels = RNG.integers(0, 256, (5, 8, 8), np.uint8), np.arange(5, dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def image_folder(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    plant(root, [f"{s}/{c}/{n}.png" for s in ("train", "test") for c in "ab" for n in range(4)])
    return {"size": 16}


def unlabeled_folder(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    plant(root, [f"pool/{n}.png" for n in range(6)])
    plant(root, [f"test/{c}/{n}.png" for c in "ab" for n in range(4)])
    return {"size": 16}


def unlabeled_scenes(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    mask_folder(root, patch)
    return {"pool": ["train/images"], "classes": ("road", "grass", "sky")}


def uri_list(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    paths = [f"images/{n}.png" for n in range(8)]
    plant(root, paths, (12, 12, 3))
    (root / "pool.txt").write_text("".join(f"{root}/{path}\n" for path in paths[:6]))
    rows = [f"{root}/{path},{label}\n" for path, label in zip(paths[6:], "ab", strict=True)]
    (root / "test.csv").write_text("".join(["uri,label\n", *rows]))
    return {}


def caltech101(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    folder = "caltech101/101_ObjectCategories"
    plant(root, [f"{folder}/{c}/image_{n:04d}.jpg" for c in ("ant", "bass") for n in range(10)])
    return {"size": 16, "resize": 18}


def imagenet(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    wnids = ("n01440764", "n02012849")
    plant(root, [f"{s}/{w}/{w}_{n}.JPEG" for s in ("train", "val") for w in wnids for n in (1, 2)])
    return {"size": 16, "resize": 18}


def parquet(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for split in ("train", "test"):
        images = [encoded(RNG.integers(0, 256, (12, 12, 3), np.uint8)) for _ in range(4)]
        table = pa.table({"id": list(range(4)), "image": images, "label": [0, 1, 2, 1]})
        pq.write_table(table, root / f"{split}.parquet")
    return {"pool": ["train.parquet"], "test": ["test.parquet"]}


def camvid(root: Path, patch: pytest.MonkeyPatch) -> None:
    scenes.write(root, pool=4, test=2)


def mask_folder(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for split, count in (("train", 4), ("test", 2)):
        plant(root, [f"{split}/images/{number}.jpg" for number in range(count)])
        (root / split / "masks").mkdir()
        for number in range(count):
            mask = RNG.choice(np.array([0, 1, 2, 255], np.uint8), (20, 24))
            (root / f"{split}/masks/{number}.png").write_bytes(encoded(mask))
    return {"classes": ("road", "grass", "sky")}


def cityscapes(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for part, city in (("train", "aachen"), ("val", "ulm")):
        for number in range(3):
            name = f"{part}/{city}/{city}_{number:06d}_000019"
            plant(root, [f"leftImg8bit/{name}_leftImg8bit.png"], (8, 16, 3))
            labels = RNG.choice(np.array([7, 23, 26], np.uint8), (8, 16))
            file = root / f"gtFine/{name}_gtFine_labelIds.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(labels))
    return {}


def simulated_subtomograms(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"size": 8, "pool": 12, "test": 4, "kinds": 3}


def mrc_folder(root: Path, patch: pytest.MonkeyPatch) -> None:
    SimulatedSubtomograms(size=8, pool=12, test=4, kinds=3).write_mrc(root)


def features(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, count in (("pool", 12), ("test", 4)):
        columns = {
            "id": [f"{name}-{row}" for row in range(count)],
            "features": RNG.normal(size=(count, 5)).tolist(),
            "label": [row % 3 for row in range(count)],
        }
        pq.write_table(pa.table(columns), root / f"{name}.parquet")
    return {}


def saved_dataset(root: Path, patch: pytest.MonkeyPatch) -> None:
    """As `datasets` 4 writes it: a stream of Arrow, what it holds, and what files there are."""
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for split, count in (("train", 12), ("test", 4)):
        folder = root / split
        folder.mkdir()
        images = [encoded(RNG.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(count)]
        image = pa.array([{"bytes": data, "path": None} for data in images])
        table = pa.table({"image": image, "label": [row % 3 for row in range(count)]})
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table, max_chunksize=5)
        names = {"_type": "ClassLabel", "names": ["cat", "dog", "eel"]}
        features = {"image": {"_type": "Image"}, "label": names}
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
        files = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (folder / "state.json").write_text(json.dumps(files))


def listed_folder(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for split, count in (("train", 6), ("test", 4)):
        names = [f"images/{n}.png" for n in range(count)]
        plant(root / split, names)
        rows = [f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names)]
        (root / split / "metadata.csv").write_text("".join(["file_name,label\n", *rows]))
    return {"size": 16}


def coco_images(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for split, count in (("train2017", 6), ("val2017", 4)):
        names = [f"{n:03}.jpg" for n in range(count)]
        plant(root / split, names)
        content = {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
            "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "person"}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1 + n % 2 * 2, "bbox": [0, 0, 5, 4]}
                for n in range(count)
            ],
        }
        (root / f"{split}.json").write_text(json.dumps(content))
    files = {"pool": "train2017.json", "test": "val2017.json"}
    return {**files, "label": "largest", "size": 16}


def web_dataset(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    for split, count in (("train", 12), ("test", 4)):
        with tarfile.open(root / f"{split}-0.tar", "w") as archive:
            for row in range(count):
                image = encoded(RNG.integers(0, 256, (9, 9, 3), np.uint8))
                for ending, data in (("png", image), ("cls", str(row % 3).encode())):
                    member = tarfile.TarInfo(f"{split}/{row:04}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return {"pool": ["train-*.tar"], "test": ["test-*.tar"]}


def voc(root: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    base, names = root / "VOCdevkit/VOC2012", [f"2007_{number:06d}" for number in range(6)]
    plant(base, [f"JPEGImages/{name}.jpg" for name in names])
    for folder in ("SegmentationClass", "SegmentationClassAug"):
        plant(base, [f"{folder}/{name}.png" for name in names])
        for name in names:
            mask = RNG.choice(np.array([0, 5, 20, 255], np.uint8), (20, 24))
            (base / folder / f"{name}.png").write_bytes(encoded(mask))
    (base / "ImageSets/Segmentation").mkdir(parents=True)
    for split, part in (("train", names[:4]), ("val", names[4:])):
        (base / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(part) + "\n")
    return {"canvas": [24, 28]}


MAKE: dict[str, Any] = {
    make.__name__: make
    for make in (
        digits,
        cifar10,
        cifar100,
        svhn,
        fashion_mnist,
        image_folder,
        unlabeled_folder,
        unlabeled_scenes,
        uri_list,
        caltech101,
        imagenet,
        parquet,
        camvid,
        cityscapes,
        mask_folder,
        voc,
        simulated_subtomograms,
        mrc_folder,
        features,
        saved_dataset,
        web_dataset,
        listed_folder,
        coco_images,
    )
}
