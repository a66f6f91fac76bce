"""What a job takes along: the code, this very rayal, and neither data nor secrets."""

import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rayal
from rayal.engine import upload
from rayal.errors import UsageError

CODE = ("train.py", "mypackage/data/loader.py", "mypackage/__init__.py", "configs/cod.yaml")
STAYS = (
    ".git/config",
    ".venv/lib/torch.py",
    "data/train/1.png",
    "runs/digits/run.json",
    "mlruns/0/meta.yaml",
    "mlflow.db-wal",
    "mypackage/__pycache__/loader.pyc",
    "mypackage/weights.safetensors",
    "mypackage/pool.parquet",
    "web/node_modules/x/index.js",
    ".env",
    "deploy/.env.production",
    "deploy/server.pem",
    ".ray/auth_token",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with code, and with what should stay where it is."""
    folder = tmp_path / "project"
    for name in CODE + STAYS:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder


def test_code_travels_and_the_rest_stays(project: Path) -> None:
    """Data, results, environments or keys would be sent, or code would be missing."""
    assert sorted(CODE) == sorted(upload.files(project))


ODD = (
    *("data.py", "sub/data/x.py", "data/x", "runs.py", "a/report/x.md", "report/x.md", "Data/x"),
    *("a.pt/x", "a.PT", "[x].pt", "x.pt ", "back\\slash.pt", ".pem", "é.pem", "new\nline.key"),
    *(
        ".envrc",
        ".env.d/x",
        "a/.env",
        "id_rsa.pub",
        "xid_rsa",
        "credentials.json",
        "mycredentials.json",
    ),
    *(
        "a/.git/c",
        ".gitx",
        "a/x.egg-info/y",
        "egg-info",
        "_cache/x",
        ".x_cache/y",
        "._cache",
        ".cache/x",
    ),
    *("mlflow.dbx", "mlflow.d", "MLRUNS/x", "a/mlruns/b", "venv.py", "venvs/x", "!x.npy", "#x.npz"),
)


def test_patterns_mean_what_git_says(tmp_path: Path) -> None:
    """What looks like a line of .gitignore would keep another file back, or send a key."""
    for name in ODD:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sent = upload.files(tmp_path)
    other = tmp_path.with_name("other")
    subprocess.run(["git", "init", "--quiet", other], check=True)
    (other / ".gitignore").write_text(upload.STAYS)
    asked = subprocess.run(
        ["git", "-C", other, "check-ignore", "--no-index", "--stdin", "-z"],
        input="\0".join(ODD),
        capture_output=True,
        text=True,
    )
    ignored = asked.stdout.split("\0")

    assert 10 < len(ignored) < len(ODD) - 10
    assert sorted(set(ODD) - set(ignored)) == sorted(sent)


def test_git_says_what_belongs_to_a_project(project: Path) -> None:
    """What the user told git to ignore would travel; a new file that is not added yet would not."""
    shutil.rmtree(project / ".git")
    subprocess.run(["git", "init", "--quiet", project], check=True)
    (project / ".gitignore").write_text("scratch/\n*.csv\n")
    for name in ("scratch/notes.txt", "table.csv", "new.py", "forced.csv"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).touch()
    git = ["git", "-C", str(project)]
    subprocess.run([*git, "add", "--force", "train.py", "forced.csv", "data"], check=True)
    (project / "gone.py").touch()
    subprocess.run([*git, "add", "gone.py"], check=True)
    (project / "gone.py").unlink()

    expected = sorted([*CODE, ".gitignore", "new.py", "forced.csv"])
    assert expected == sorted(upload.files(project))


def test_links_out_of_the_folder_are_not_followed(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link would carry off files that the user never meant to send."""
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/1.py").touch()
    (project / "out.py").symlink_to(tmp_path / "secret")
    (project / "pictures").symlink_to(tmp_path / "pictures")
    (project / "again").symlink_to(project)
    (project / "circle").symlink_to("circle")
    (project / "innocent").symlink_to(".env")
    (project / "main.py").symlink_to("train.py")
    os.mkfifo(project / "pipe")
    with caplog.at_level(logging.WARNING):
        found = upload.files(project)

    assert sorted([*CODE, "main.py"]) == sorted(found)
    assert found["main.py"].read_text() == "train.py"
    assert ["out.py", "pictures"] == [record.args[0] for record in caplog.records]


def test_too_much_is_refused_before_it_is_sent(project: Path, tmp_path: Path) -> None:
    """A user would wait for 200 MB, and then read that the server refuses them (C07)."""
    sizes = {"big.bin": 200, "images/a/1": 30, "images/a/2": 31, "images/b/1": 5, "x": 4, "y": 3}
    for name, size in sizes.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        with open(project / name, "wb") as file:
            file.truncate(size * 2**20)
    with pytest.raises(UsageError) as told:
        upload.files(project)

    assert "has 273.0 MB to send, more than 100.0 MB" in str(told.value)
    largest = "big.bin 200.0 MB, images/a 61.0 MB, images/b 5.0 MB, x 4.0 MB, y 3.0 MB;"
    assert f"the largest: {largest}" in str(told.value)
    assert "keep data elsewhere and name it by its path, or take the folder of" in str(told.value)
    assert ["__init__.py"] == list(upload.files(project / "mypackage"))
    (project / "big.bin").rename(tmp_path / "big.bin")
    assert "x" in upload.files(project)


def test_a_home_folder_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user in the wrong folder would send all that is in it."""
    monkeypatch.setattr(upload, "MAX_FILES", 3)
    with pytest.raises(UsageError, match="more than 3 files to send; take the folder of your code"):
        upload.files(project)
    assert ["__init__.py"] == list(upload.files(project / "mypackage"))
    with pytest.raises(UsageError, match="there is no such folder"):
        upload.files(tmp_path / "absent")


def test_an_archive_runs_this_very_rayal(project: Path, tmp_path: Path) -> None:
    """A cluster would run the rayal that it happens to have, or one that lies in the project."""
    for name in ("rayal/__init__.py", "rayal/old.py", "experiment.yaml"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("raise SystemExit('another rayal')")
    archive, texts = tmp_path / "a.zip", {"experiment.yaml": "name: x\n"}
    upload.pack(archive, upload.files(project), texts)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "job")
    job = tmp_path / "job"
    assert not list(job.rglob("*.pyc"))
    code = "import rayal.report; print(rayal.__version__, rayal.__file__)"
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=job, env=environment, capture_output=True, text=True
    )

    assert f"{rayal.__version__} {job}/rayal/__init__.py\n" == done.stdout, done.stderr
    assert (job / "experiment.yaml").read_text() == "name: x\n"
    assert (job / "train.py").read_text() == "train.py"
    assert not (job / "rayal/old.py").exists()


def test_the_same_content_is_the_same_archive(project: Path, tmp_path: Path) -> None:
    """Every submission would be sent and unpacked anew, whatever changed."""
    for number in (1, 2):
        upload.pack(tmp_path / f"{number}.zip", upload.files(project), {})
        os.utime(project / "train.py", (number, number))

    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_variables() -> None:
    """A job could not be given a setting, or a harmless one would be taken for a secret."""
    given = ["A=1", "TOKENIZERS_PARALLELISM=false", "RAY_AUTH_TOKEN_PATH=/run/token", "B=x=y", "C="]
    given += ["PASS_THROUGH=1", "MAX_TOKENS=5", "LINE=MAX_TOKENS=5"]
    expected = {
        "A": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_AUTH_TOKEN_PATH": "/run/token",
        "B": "x=y",
        "C": "",
        "PASS_THROUGH": "1",
        "MAX_TOKENS": "5",
        "LINE": "MAX_TOKENS=5",
    }

    assert expected == upload.environment(given)


@pytest.mark.parametrize(
    "assignment",
    [
        "MLFLOW_TRACKING_TOKEN=s3cret",
        "MLFLOW_TRACKING_PASSWORD=s3cret",
        "AWS_SECRET_ACCESS_KEY=s3cret",
        "aws_access_key_id=s3cret",
        "GOOGLE_CREDENTIALS=s3cret",
        "APIKEY=s3cret",
        "URL=http://user:s3cret@host/x",
        "NAME",
        "1A=s3cret",
        "A B=s3cret",
    ],
)
def test_secrets_are_not_variables_of_a_job(assignment: str) -> None:
    """Whoever sees the job in the dashboard would read the secret (C08)."""
    with pytest.raises(UsageError) as told:
        upload.environment(["OK=1", assignment])

    assert "s3cret" not in str(told.value)
    assert assignment.partition("=")[0] in str(told.value)
    assert {"OK": "1"} == upload.environment(["OK=1"])  # the secret is the cluster's own


def test_addresses_with_a_password_are_refused() -> None:
    """A password in a configuration would be readable in the job's folder (C08)."""
    upload.refuse_secrets({"root": "s3://bucket/a:b@c", "port": "http://host:80/x"})
    fields = {"a": [{"b": "http://me:s3cret@host"}], "--out": "s3://key:s3cret@bucket/x"}
    with pytest.raises(UsageError) as told:
        upload.refuse_secrets(fields)

    assert "2 problems" in str(told.value)
    assert "a.0.b: holds a secret" in str(told.value)
    assert "--out: holds a secret" in str(told.value)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("token.py", "token.py hides Python's own 'token'"),
        ("random.py", "random.py hides Python's own 'random'"),
        ("queue/__init__.py", "queue/__init__.py hides Python's own 'queue'"),
        ("numpy.py", "numpy.py hides the installed package 'numpy'"),
        ("yaml/__init__.py", "hides the installed package 'yaml'"),
        ("ray/__init__.py", "hides the installed package 'ray'"),
    ],
)
def test_what_hides_a_module_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """The job would be PENDING in silence: no process of Ray's starts in such a folder."""
    with pytest.raises(UsageError, match=f"{said}.* never start; rename them"):
        upload.refuse_hiding(tmp_path, {name: tmp_path / name})
    renamed = f"my_{name}"
    upload.refuse_hiding(tmp_path, {renamed: tmp_path / renamed})


def test_what_hides_nothing_is_sent(tmp_path: Path) -> None:
    """A project could not be sent for a folder of tests, or a name that only looks alike."""
    names = ("mine/token.py", "tests/__init__.py", "random.yaml", "numpy/data.txt", "mine.py")
    upload.refuse_hiding(tmp_path, {name: tmp_path / name for name in names})
    site = Path(pytest.__file__).parents[1]  # an installed package, sent from where it is
    package = {"pytest/__init__.py": site / "pytest/__init__.py"}
    upload.refuse_hiding(site, package)
    with pytest.raises(UsageError, match="hides the installed package 'pytest'"):
        upload.refuse_hiding(tmp_path, package)  # and from elsewhere it is refused


def test_a_package_that_was_installed_from_the_project_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install .` would make a project one that cannot be sent."""
    monkeypatch.setattr(upload, "_made_from", lambda installed, root: root == tmp_path)
    upload.refuse_hiding(tmp_path, {"yaml/__init__.py": tmp_path / "yaml/__init__.py"})
    monkeypatch.undo()

    installed: Any = SimpleNamespace(
        read_text=lambda name: json.dumps({"url": f"file://{tmp_path}/my%20project"})
    )
    assert upload._made_from(installed, tmp_path / "my project/src")
    assert not upload._made_from(installed, tmp_path)
    assert not upload._made_from(SimpleNamespace(read_text=lambda name: None), tmp_path)
