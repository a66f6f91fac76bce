"""Files that start clusters: they parse, keep what they promise, and their commands exist."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from packaging.version import Version

import rayal.cli  # its commands belong to the application
from rayal.cli.options import app
from rayal.experiment import config

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "jobs" / "cluster"
sys.path.insert(0, str(FOLDER))  # as for `python jobs/cluster/x.py`

import drain  # noqa: E402
import wait_for_nodes  # noqa: E402

FILES = sorted(file for file in FOLDER.iterdir() if file.is_file())
MANIFESTS = ("shared.yaml", "raycluster.yaml", "rayjob.yaml")
UNITS = {"Ti": 2**40, "Gi": 2**30, "Mi": 2**20}


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping at any depth."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from nodes(each)


def pods(name: str) -> list[dict[str, Any]]:
    return [node for node in nodes(documents(name)) if "containers" in node]


def cluster(name: str) -> dict[str, Any]:
    (document,) = documents(name)
    spec: dict[str, Any] = document["spec"]
    return spec.get("rayClusterSpec", spec)


def size(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def pinned(image: str) -> bool:
    """Whether it names a version, and no host of a registry."""
    name, _, tag = image.partition(":")
    return bool(re.match(r"\d", tag)) and "." not in name


def dockerfile() -> dict[str, list[str]]:
    """Instruction -> arguments of each use, continued lines joined."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(rest.strip())
    return found


def build_arguments() -> dict[str, str]:
    return dict(line.split("=", 1) for line in dockerfile()["ARG"])


# Kubernetes


@pytest.mark.parametrize(("name", "there"), [("raycluster.yaml", 3), ("rayjob.yaml", 4)])
def test_no_pod_can_become_root(name: str, there: int) -> None:
    """A job, or whoever gets into one, could take over the node."""
    found = pods(name)

    assert there == len(found)
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "hostUsers"}
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            confined(container["securityContext"])
    confined(cluster(name)["autoscalerOptions"]["securityContext"])


def confined(context: dict[str, Any]) -> None:
    assert context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert {"drop": ["ALL"]} == context["capabilities"]
    assert {"type": "RuntimeDefault"} == context["seccompProfile"]
    assert "privileged" not in context


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_containers_have_versions_and_bounds(name: str) -> None:
    """`latest` changes under a run, and a container without limits takes its neighbours down."""
    containers = [container for pod in pods(name) for container in pod["containers"]]
    for container in containers:
        resources = container["resources"]
        assert pinned(container["image"])
        for kind in ("cpu", "memory"):
            assert kind in resources["requests"] and kind in resources["limits"]
        gpu = "nvidia.com/gpu"
        assert resources["requests"].get(gpu) == resources["limits"].get(gpu)
    assert {f"rayal:{rayal.__version__}"} == {each["image"] for each in containers}


def project() -> dict[str, Any]:
    import tomllib

    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_clusters_ask_for_a_token_and_are_reached_from_inside_only(name: str) -> None:
    """An open dashboard executes anybody's commands (CVE-2023-48022)."""
    spec = cluster(name)
    head = spec["headGroupSpec"]

    assert {"mode": "token", "secretName": "rayal-ray-token"} == spec["authOptions"]
    assert "ClusterIP" == head["serviceType"]
    assert head["enableIngress"] is False
    for each in MANIFESTS:
        assert not {node.get("kind") for node in nodes(documents(each))} & {
            "Service",
            "Ingress",
            "Secret",
        }
        assert not re.search("LoadBalancer|NodePort|externalIPs|hostPort", text(each))


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def test_the_policy_covers_every_pod() -> None:
    """A pod without the label would be open to the whole cluster."""
    policy = documents("shared.yaml")[1]["spec"]
    (label,) = policy["podSelector"]["matchLabels"].items()
    templates = [
        node
        for name in ("raycluster.yaml", "rayjob.yaml")
        for node in nodes(documents(name))
        if "containers" in node.get("spec", {})
    ]

    assert 7 == len(templates)
    assert all(label in node["metadata"]["labels"].items() for node in templates)
    assert ["Ingress"] == policy["policyTypes"]
    assert all("podSelector" in source for rule in policy["ingress"] for source in rule["from"])


def test_job_and_cluster_have_the_same_nodes() -> None:
    """They are two ways to one cluster, and a fix in one of them would be missed in the other."""
    assert cluster("raycluster.yaml") == cluster("rayjob.yaml")


def test_ray_nodes_have_shared_storage_and_room_for_objects() -> None:
    """Without /dev/shm the object store lies on a disk; with too large a one the pod is killed."""
    spec = cluster("rayjob.yaml")
    claim = documents("shared.yaml")[0]
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        shm = mounts["/dev/shm"]["emptyDir"]
        objects = int(group["rayStartParams"]["object-store-memory"])

        assert "Memory" == shm["medium"]
        assert objects < size(shm["sizeLimit"])
        assert 2 * size(shm["sizeLimit"]) < size(container["resources"]["limits"]["memory"])
        used = mounts["/shared"]["persistentVolumeClaim"]["claimName"]
        assert claim["metadata"]["name"] == used
    assert ["ReadWriteMany"] == claim["spec"]["accessModes"]


def test_groups_scale_within_bounds_and_have_time_to_stop() -> None:
    spec = cluster("rayjob.yaml")
    head = spec["headGroupSpec"]
    gpus = {}
    for group in spec["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        gpus[group["groupName"]] = int(limits.get("nvidia.com/gpu", 0))
        assert 0 < group["minReplicas"] <= group["replicas"] < group["maxReplicas"] < 100
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    (container,) = head["template"]["spec"]["containers"]
    *_, seconds = container["lifecycle"]["preStop"]["exec"]["command"]

    assert {"gpu": 1, "decode": 0} == gpus
    assert "0" == head["rayStartParams"]["num-cpus"]
    assert int(seconds) + 20 <= head["template"]["spec"]["terminationGracePeriodSeconds"]


def test_the_run_fits_its_cluster() -> None:
    """It would wait for nodes that never come, or be refused when they are all there."""
    from rayal.engine.cluster import require, resolved_compute

    (job,) = documents("rayjob.yaml")
    _, _, _, _, file, *options = shlex.split(job["spec"]["entrypoint"])
    overrides = [options[i + 1] for i, option in enumerate(options) if option == "--set"]
    x = config.load(ROOT / Path(file).relative_to("/opt/rayal"), overrides)
    there: list[dict[str, float]] = [{"memory": 1.0}]  # the head
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = {"CPU": float(limits["cpu"]), "GPU": float(limits.get("nvidia.com/gpu", 0))}
        there += [node] * group["replicas"]

    require(
        resolved_compute(x.compute, there, int(sum(node.get("CPU", 0) for node in there))), there
    )
    assert 4 == x.compute.train_workers
    for path in (options[options.index("--out") + 1], x.dataset.root):
        assert str(path).startswith("/shared/")


def test_the_entrypoint_is_one_plain_command() -> None:
    """KubeRay gives it to the submitter's shell, which would run the rest of `a && b` itself."""
    (job,) = documents("rayjob.yaml")
    entrypoint = job["spec"]["entrypoint"]

    assert re.fullmatch(r"[\w./=: -]+", entrypoint)
    assert entrypoint.startswith("python -m rayal run ")


# Commands, images, secrets


def commands() -> Iterator[Any]:
    """Arguments of `rayal` in comments, code and README, with the file that holds them."""
    for file in FILES:
        lines = re.sub(r"\\\n#?\s*", " ", file.read_text()).splitlines()
        for line in lines:
            line = line.lstrip("# ").split("   #")[0]
            if found := re.match(r"(?:[A-Z_]+=\S+ )*rayal (\w.* configs/.+)", line):
                yield pytest.param(shlex.split(found[1]), id=f"{file.name}-rayal")
            elif found := re.match(r"sbatch \S+slurm.sh (.+)", line):
                yield pytest.param(shlex.split(found[1]), id=f"{file.name}-sbatch")
    (job,) = documents("rayjob.yaml")
    yield pytest.param(shlex.split(job["spec"]["entrypoint"])[3:], id="entrypoint")


@pytest.mark.parametrize("arguments", list(commands()))
def test_commands_exist(arguments: list[str]) -> None:
    """An option that was renamed would fail only after minutes, on the cluster."""
    command: Any = typer.main.get_command(app)
    rest = [each.replace("/opt/rayal", str(ROOT), 1) for each in arguments]  # of the image
    while hasattr(command, "commands"):  # as `submit`, which has commands of its own
        verb = rest.pop(0)
        assert verb in command.commands
        command = command.commands[verb]

    command.make_context(verb, list(rest))
    for argument in rest:
        if argument.startswith(("configs/", f"{ROOT}/configs/")):
            assert (ROOT / argument).exists()


def test_all_forms_of_commands_are_found() -> None:
    """The test above would pass with nothing to look at."""
    found = {each.id for each in commands()}

    assert {"README.md-rayal", "README.md-sbatch", "slurm.sh-sbatch", "entrypoint"} <= found


def test_versions_agree() -> None:
    """The image is what the manifests say it is, and what the project supports."""
    arguments = build_arguments()
    (ray,) = [each for each in project()["dependencies"] if each.startswith("ray[")]
    low, high = re.findall(r"[\d.]+", ray.partition("]")[2])

    assert arguments["RAY"] == cluster("raycluster.yaml")["rayVersion"]
    assert Version(low) <= Version(arguments["RAY"]) < Version(high)
    assert Version(arguments["MLFLOW"]) >= Version("3.16.1")  # no default password, mlflow#25751


def test_the_image_is_pinned_and_not_root() -> None:
    found = dockerfile()
    user, _, group = found["USER"][-1].partition(":")

    assert ["${BASE}"] == found["FROM"]
    assert pinned(build_arguments()["BASE"])
    assert int(user) > 0 and int(group) > 0
    assert "ADD" not in found
    assert any("RAY_AUTH_MODE=token" in line for line in found["ENV"])
    for line in found["COPY"]:
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists() and source != "."
            assert f"!{source}\n" in text("Dockerfile.dockerignore")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_secret_and_no_strangers_host(file: Path) -> None:
    """What is committed is public; and nobody's build depends on a host that we have named."""
    content = file.read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", content))

    assert hosts <= {"127.0.0.1", "localhost", "mlflow", "store", "head"}
    assert not re.search(r"[0-9a-fA-F]{32}|BEGIN [A-Z ]*PRIVATE KEY|://[^\s/@]+:[^\s/@]+@", content)
    assert not re.search(r"(?i)(password|token|secret)\w*\s*[:=]\s*[\"']?[a-z0-9]{8,}$", content)


def test_ray_never_starts_without_a_token() -> None:
    """`ray start` without a token file starts an open cluster, with only a warning."""
    launcher = documents("launcher.yaml")[0]
    for kind in ("head", "worker"):
        (start,) = [line for line in launcher[f"{kind}_start_ray_commands"] if "start" in line]
        assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in start
    assert "--dashboard-host=127.0.0.1" in launcher["head_start_ray_commands"][1]
    assert "root" != launcher["auth"]["ssh_user"]
    assert "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in text("slurm.sh")
    assert "--include-dashboard=false" in text("slurm.sh")


def test_ray_accepts_the_launcher_file() -> None:
    """By the schema that `ray up` checks it with."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(documents("launcher.yaml")[0])

    validate_config(prepared)
    assert 4 == prepared["max_workers"]


# Compose


def test_compose_is_closed() -> None:
    """Ports on this machine alone, nobody is root, and each password is a file from .env."""
    (compose,) = documents("compose.yaml")
    for name, service in compose["services"].items():
        assert pinned(service["image"])
        assert ["no-new-privileges:true"] == service["security_opt"]
        assert ["ALL"] == service["cap_drop"]
        assert name == "mlflow" or int(service["user"].split(":")[0]) > 0  # its image has a user
        assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert not any(
            "PASSWORD" in key for key in service.get("environment", {}) if "_FILE" not in key
        )
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
    assert {"database": {"internal": True}, "store": {"internal": True}, "clients": {}} == compose[
        "networks"
    ]
    assert ["mlflow"] == [name for name, each in compose["services"].items() if "ports" in each]


def test_mlflow_asks_for_passwords_and_checks_hosts() -> None:
    (compose,) = documents("compose.yaml")
    options = dict(each.split("=", 1) for each in compose["services"]["mlflow"]["command"])
    hosts = options["--allowed-hosts"].split(",")

    assert "basic-auth" == options["--app-name"]
    assert "127.0.0.1:5000" in hosts and "*" not in "".join(hosts)
    assert "*" not in options["--cors-allowed-origins"]


def test_the_database_driver_is_one_that_the_image_has() -> None:
    """SQLAlchemy 2.1 reads `postgresql://` as psycopg 3, and the server would not start."""
    (compose,) = documents("compose.yaml")
    uri = compose["services"]["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]

    assert uri.startswith("postgresql+psycopg2://")
    assert any("psycopg2-binary" in line for line in dockerfile()["RUN"])


def test_passwords_are_asked_for_and_not_committed() -> None:
    (compose,) = documents("compose.yaml")
    example = [line for line in text(".env.example").splitlines() if not line.startswith("#")]
    wanted = {each["environment"] for each in compose["secrets"].values()}
    used = {name for each in compose["services"].values() for name in each["secrets"]}

    assert all(line.endswith("=") for line in example)
    assert wanted == {line.removesuffix("=") for line in example}
    assert used == set(compose["secrets"])
    assert ".env\n" in text(".gitignore")


def test_the_readme_knows_every_file() -> None:
    for file in FILES:
        if file.name not in ("README.md", ".gitignore", "Dockerfile.dockerignore"):
            assert f"`{file.name}`" in text("README.md")


# Scripts


@pytest.fixture
def shims(tmp_path: Path) -> Callable[[str, str], None]:
    """Puts a bash script in a folder that is first in PATH."""
    (tmp_path / "bin").mkdir()

    def shim(name: str, body: str) -> None:
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    return shim


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SEEN": str(tmp_path / "seen"),
        "PYTHON": sys.executable,
        **more,
    }


@pytest.mark.parametrize("name", ["slurm.sh", "mlflow_server.sh"])
def test_scripts_parse(name: str) -> None:
    subprocess.run(["bash", "-n", str(FOLDER / name)], check=True)
    assert os.access(FOLDER / name, os.X_OK)


PAUSE = """exec "$PYTHON" -c 'import signal; signal.pause()'"""
DRIVER = """exec "$PYTHON" -c 'import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
print("ready", flush=True)
signal.pause()'"""


@pytest.fixture
def slurm(tmp_path: Path, shims: Callable[[str, str], None]) -> Iterator[Callable[..., Any]]:
    """Starts slurm.sh on three pretended nodes; what rayal would do is `driver`."""
    started: list[subprocess.Popen[str]] = []
    shims("scontrol", "printf '%s\\n' localhost gpu-2 gpu-3")
    shims("srun", 'echo "srun $*" >> "$SEEN"; while [[ $1 == --* ]]; do shift; done; exec "$@"')
    shims("ray", f'echo "ray $*" >> "$SEEN"\n{PAUSE}')

    def start(driver: str) -> Any:
        shims(
            "python",
            f"""case "$*" in
            *wait_for_nodes.py*) echo "wait ${{*: -2}}" >> "$SEEN" ;;
            "-m rayal "*)
              echo "rayal $* $RAY_ADDRESS $RAY_AUTH_MODE" >> "$SEEN"
              mode=$(stat -c "mode %a, %s bytes" "$RAY_AUTH_TOKEN_PATH")
              folder=$(stat -c "mode %a" "${{RAY_AUTH_TOKEN_PATH%/*}}")
              echo "token: $mode, in a folder of $folder" >> "$SEEN" # one line: nodes write, too
              {driver} ;;
            *) exec "$PYTHON" "$@" ;;
            esac""",
        )
        job = {"SLURM_JOB_ID": str(10_000_000 + os.getpid()), "SLURM_JOB_NODELIST": "gpu-[1-3]"}
        job |= {"SLURM_CPUS_PER_TASK": "8", "SLURM_MEM_PER_NODE": "1000"}
        process = subprocess.Popen(
            ["bash", str(FOLDER / "slurm.sh"), "run", "a b.yaml", "--out", "/shared/x"],
            env=environment(tmp_path, SLURM_SUBMIT_DIR=str(ROOT), **job),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):  # it has cleaned up, as it should
            os.killpg(process.pid, signal.SIGKILL)


def test_slurm_runs_and_cleans_up(slurm: Callable[..., Any], tmp_path: Path) -> None:
    """Head, nodes, wait, run; then nothing is left, and the exit code is rayal's."""
    process = slurm("exit 3")
    process.communicate(timeout=60)
    seen = (tmp_path / "seen").read_text()
    port = 20_000 + (10_000_000 + os.getpid()) % 10_000

    assert 3 == process.returncode
    assert f"--head --node-ip-address=127.0.0.1 --port={port}" in seen
    assert "--nodes=2 --ntasks=2 --exclude=localhost ray start --block --num-cpus=8" in seen
    assert f"--address=127.0.0.1:{port}" in seen
    assert "--object-store-memory=314572800" in seen
    assert f"wait 127.0.0.1:{port} 3" in seen
    assert f"rayal -m rayal run a b.yaml --out /shared/x 127.0.0.1:{port} token" in seen
    assert "token: mode 600, 64 bytes, in a folder of mode 700\n" in seen
    assert [] == list((tmp_path / ".rayal").iterdir())
    assert not Path(f"/tmp/rayal-{10_000_000 + os.getpid()}").exists()


@pytest.mark.slow
def test_slurm_passes_the_signal_on_and_waits(slurm: Callable[..., Any], tmp_path: Path) -> None:
    """Else the run is killed two minutes later, in the middle of something."""
    process = slurm(DRIVER)
    assert "ready\n" == process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert 130 == process.returncode
    assert [] == list((tmp_path / ".rayal").iterdir())


def test_slurm_asks_for_time_to_stop_and_for_another_try() -> None:
    directives = re.findall(r"^#SBATCH (\S+)$", text("slurm.sh"), re.MULTILINE)

    assert {"--signal=B:TERM@120", "--requeue", "--open-mode=append"} <= set(directives)


SECRETS = ("postgres_password", "s3_secret_key", "mlflow_admin_password", "mlflow_secret_key")


@pytest.mark.parametrize("empty", [None, *SECRETS])
def test_the_server_starts_with_passwords_only(
    empty: str | None, tmp_path: Path, shims: Callable[[str, str], None]
) -> None:
    """An empty one would be an open door, and one in the command line is everybody's."""
    for name in SECRETS:
        (tmp_path / name).write_text("" if name == empty else f"{name} with a space\n")
    shims("python", 'cat > /dev/null; echo "bucket"')
    shims("mlflow", 'echo "$*|$PGPASSWORD|$AWS_SECRET_ACCESS_KEY"; cat "$MLFLOW_AUTH_CONFIG_PATH"')
    uri = {"MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow@database/mlflow"}
    done = subprocess.run(
        [str(FOLDER / "mlflow_server.sh"), "--port=5000"],
        env=environment(tmp_path, SECRETS=str(tmp_path), TMPDIR=str(tmp_path), **uri),
        capture_output=True,
        text=True,
    )

    if empty:
        assert (1, "") == (done.returncode, done.stdout)
        assert f"secret {empty} is empty" in done.stderr
    else:
        bucket, called, *ini = done.stdout.splitlines()
        assert (
            "server --port=5000|postgres_password with a space|s3_secret_key with a space" == called
        )
        assert "database_uri = postgresql://mlflow@database/mlflow" in ini
        assert not any("with a space" in line for line in ini)


class Client:
    """Jobs of a head node; those in `ending` end when they are looked at again."""

    def __init__(self, jobs: list[Any], ending: set[str]) -> None:
        self.jobs, self.ending = jobs, ending

    def list_jobs(self) -> list[Any]:
        return self.jobs

    def get_job_status(self, job: str) -> Any:
        return SimpleNamespace(is_terminal=lambda: job in self.ending)


def job(name: str, status: str, pid: str, ip: str = "10.0.0.1") -> Any:
    driver = SimpleNamespace(pid=pid, node_ip_address=ip) if pid else None
    return SimpleNamespace(submission_id=name, status=status, driver_info=driver)


def test_drain_signals_running_drivers_of_this_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Process ids of other nodes, and of jobs that ended, belong to somebody else here."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    jobs = [
        job("a", "RUNNING", "11"),
        job("b", "SUCCEEDED", "12"),
        job("c", "RUNNING", "13", ip="10.0.0.2"),
        job("d", "RUNNING", ""),
        job("e", "RUNNING", "14"),
    ]

    assert ["e"] == drain.drain(Client(jobs, {"a"}), "10.0.0.1", seconds=0.1)
    assert [(11, signal.SIGTERM), (14, signal.SIGTERM)] == sent


def test_waiting_for_a_head_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on port 1: it is said, with the code of clusters, and no job hangs."""
    monkeypatch.setattr(sys, "argv", ["wait_for_nodes.py", "127.0.0.1:1", "2", "--seconds", "0.1"])

    with pytest.raises(SystemExit) as ended:
        wait_for_nodes.main()
    assert 5 == ended.value.code
