"""Do other people's programs, unchanged, give in a step what they give alone?

    uv run benchmarks/programs.py --programs FOLDER [--only WORD] [--way WAY...] [--sdk SDK...]

`programs.toml` beside this file lists programs of public repositories, each written for one SDK.
FOLDER holds their checkouts, as `FOLDER/owner/name`; none of them is in this repository, and
without FOLDER nothing is run, but printed what to type to have them, each at the list's commit.
Each program runs alone and in three ways, in a folder of its own:

* `step`: in a step, whose tracker is of its SDK's flavor;
* `exec`: by `trackyard exec`, with the same tracker;
* `other`: by `trackyard exec --capture SDK`, with a tracker of another flavor only.

Shown is what came of each: `same`; how many differences there are, which are told below; `known`
where the flavor's page names them; `fails alone` where the program fails without Trackyard, too.
For `step` and `exec` what the SDK's backend holds is compared with what the program alone leaves
there, run by run, value by value; what differs between two runs of the program alone is compared by
its steps. For `other` the project's runs are compared with those of an import of what the program
alone has left, and with what the tracker holds. Exit code 1 says that something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests/plugins"))
LIST = HERE / "programs.toml"
WAYS = ("step", "exec", "other")
Runs = list[dict[str, Any]]
TIMEOUT = 300.0
# The flavor of the tracker that gets what is captured, which is not the program's own.
OTHERS = {"mlflow": "wandb", "wandb": "mlflow"}
FIELDS = {
    "mlflow": 'tracking_uri = "sqlite:///{root}/mlflow.db"\nexperiment_name = "programs"',
    "wandb": 'mode = "offline"\nproject = "mine"\nentity = "acme"',
    "comet": 'mode = "offline"\nproject = "mine"\nworkspace = "acme"',
    "neptune": 'mode = "offline"\nproject = "acme/mine"',
    "trackio": 'project = "mine"',
}
TABLE = """[experiment_trackers.own]
flavor = "{flavor}"
start_timeout = 60
flush_timeout = 60
{fields}
[stacks.default]
experiment_trackers = ["own"]
"""
# Where an import finds what a program alone has left.
PLACES = {
    "mlflow": "sqlite:///{root}/mlflow.db",
    "wandb": "{root}/wandb",
    "comet": "{root}/archives",
    "neptune": "{root}/program",
    "trackio": "{root}/trackio",
    "tensorboard": "{root}/program",
}
# A name that an SDK makes up; a run of Trackyard's has one.
NAMELESS = re.compile(r"[a-z]+-[a-z]+-\d+")
# Random numbers are the same in each way, so that their curves can be compared.
SEEDED = "import random\nrandom.seed(0)\nimport numpy\nnumpy.random.seed(0)\n"


@attrs.frozen
class Program:
    """One program.

    Attributes:
        sdk: The flavor for whose SDK it is written.
        repository: Where it comes from, as owner/name.
        path: The program in it.
        arguments: What it is given.
        differs: What may differ, a field or `field:key`, each with the words of the flavor's page
            that say so; one that begins with `other.` differs in that way alone.
    """

    sdk: str
    repository: str
    path: str
    arguments: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    differs: Mapping[str, str] = attrs.field(factory=dict)

    def __str__(self) -> str:
        """Name it."""
        return f"{self.repository}/{self.path}"


def programs() -> list[Program]:
    """Give all that are listed; what may differ for all of an SDK stands there once."""
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [
        Program(**{**each, "differs": {**listed["differs"].get(each["sdk"], {}), **own}})
        for each in listed["programs"]
        for own in [each.get("differs", {})]
    ]


def run_program(program: Program, way: str, root: Path, checkouts: Path) -> str:
    """Run a program in one way, with what it leaves below a folder; gives what went wrong."""
    source = checkouts / program.repository / program.path
    shutil.copytree(source.parent, root / "program", symlinks=True)
    (root / "seeded").mkdir()
    (root / "seeded/sitecustomize.py").write_text(SEEDED)
    if way != "alone":
        flavor = OTHERS.get(program.sdk, "mlflow") if way == "other" else program.sdk
        fields = FIELDS.get(flavor, "").format(root=root)
        (root / "trackyard.toml").write_text(TABLE.format(flavor=flavor, fields=fields))
    own = [source.name, *program.arguments]
    exec_ = [sys.executable, "-m", "trackyard", "exec"]
    command = {
        "alone": [sys.executable, *own],
        "step": [sys.executable, str(Path(__file__).resolve()), "--in-step", *own],
        "exec": [*exec_, "--", sys.executable, *own],
        "other": [*exec_, "--capture", program.sdk, "--", sys.executable, *own],
    }[way]
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=root / "program",
            env=variables(way, root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {TIMEOUT:.0f} s"
    (root / "printed.txt").write_bytes(done.stdout + done.stderr)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"exit code {done.returncode}: {lines[-1] if lines else ''}" if done.returncode else ""


def variables(way: str, root: Path) -> dict[str, str]:
    """Give the environment of a program, in which each SDK works without an account."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("WANDB_", "COMET_", "NEPTUNE_", "TRACKIO_", "TRACKYARD_", "MLFLOW_"))
    }
    (root / "archives").mkdir(exist_ok=True)
    kept |= {"PYTHONPATH": str(root / "seeded"), "HOME": str(root / "home"), "MPLBACKEND": "agg"}
    kept |= {"WANDB_MODE": "offline", "WANDB_DIR": str(root), "WANDB_ERROR_REPORTING": "false"}
    kept |= {"NEPTUNE_MODE": "offline", "NEPTUNE_PROJECT": "acme/mine", "DO_NOT_TRACK": "true"}
    kept |= {
        "COMET_WORKSPACE": "acme",
        "COMET_START_ONLINE": "0",
        "COMET_OFFLINE_DIRECTORY": str(root / "archives"),
    }
    fonts = Path(tempfile.gettempdir()) / f"fonts-{os.getuid()}"  # listed once, for seconds
    kept |= {"MPLCONFIGDIR": str(fonts)}
    kept |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONHASHSEED": "0"}
    kept |= {"TRACKYARD_PROGRESS": "0", "TRACKYARD_DISABLE_PLUGINS": "system-metrics"}
    if way == "alone":
        kept |= {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
        kept |= {"MLFLOW_EXPERIMENT_NAME": "programs", "TRACKIO_DIR": str(root / "trackio")}
    return kept


def run_in_step(path: str, arguments: list[str]) -> None:
    """Run a program as the code of a step, in this process."""
    from trackyard import pipeline, step

    def program() -> None:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"exit code {end.code}") from end

    @pipeline
    def of_programs() -> None:
        step(program, name="program", experiment_tracker="own")()

    sys.argv = [path, *arguments]
    sys.path[0] = str(Path.cwd())
    of_programs()


def held(program: Program, root: Path) -> Runs:
    """Give what the backend of a program's own SDK holds, without the folder's name."""
    from parity_backends import READERS

    runs = READERS[program.sdk](root)
    if program.sdk == "trackio":  # its databases have a run once it has logged a number
        runs = [run for run in runs if run["series"]]
    found: Runs = json.loads(json.dumps(runs, default=str).replace(str(root), "*"))
    return found


def parts_of(runs: Runs) -> dict[tuple[int, str, str], Any]:
    """Give each value of some runs, by the run's number, the field and the key in it."""
    found = {}
    for number, run in enumerate(runs):
        for field, value in run.items():
            entries = value if isinstance(value, dict) else {"": value}
            for key, one in entries.items():
                is_series = field in ("series", "metrics")
                # MLflow's databases merge points that are equal.
                found[number, field, key] = distinct(one) if is_series else one
    return found


def differences(alone: Runs, again: Runs, tracked: Runs) -> Iterator[tuple[str, str]]:
    """Give field and key of each value that is not as it is alone, and how it differs.

    Args:
        alone: What the program alone has left.
        again: What it has left another time.
        tracked: What it has left in another way.
    """
    if len(alone) != len(tracked):
        yield "runs:", f"{len(alone)} runs alone, {len(tracked)} here"
    wanted, second, there = parts_of(alone), parts_of(again), parts_of(tracked)
    for part, value in wanted.items():
        number, field, key = part
        found = there.get(part, "lacking")
        if found == value or number >= len(tracked):
            continue
        if field == "name" and (value is None or NAMELESS.fullmatch(value)):
            continue
        if second.get(part) != value:  # it differs by itself
            is_series = field in ("series", "metrics") and part in there and part in second
            if not is_series or steps(second[part]) != steps(value) or steps(found) == steps(value):
                continue
        what = f"run {number}: {key or field} is {shortened(value)}, here {shortened(found)}"
        yield f"{field}:{key}", what
    for number, field, key in there.keys() - wanted.keys():
        if field in ("series", "metrics") and number < len(alone):
            yield f"{field}:{key}", f"run {number}: {key} is only here"


def distinct(points: list[Any]) -> list[Any]:
    return [json.loads(point) for point in sorted({json.dumps(point) for point in points})]


def steps(points: list[Any]) -> list[Any]:
    return [point[0] for point in points]


def shortened(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 160 else f"{text[:120]}... ({len(text)} characters)"


def views(root: Path, import_from: str = "") -> dict[str, Any]:
    """Give the runs of a project, after an import where one is named, read in its own process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--views", import_from]
    done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def show_views(import_from: str) -> None:
    """Print the runs of the project here, and what their trackers lack."""
    from trackyard import Client

    client = Client()
    if import_from:
        list(client.import_runs(import_from))
    views = [client.get_run(run.id) for run in client.list_runs(most=10_000)]
    for view in views:  # with the children that are found on the way
        views.extend(view.children)
    found, wrong = [], []
    for view in sorted(views, key=lambda view: view.started_at):
        endings = Counter(
            Path(name).suffix
            for name in view.artifacts
            if not name.startswith(("console.log", "output.log"))
        )
        curves = {
            key: [[step, repr(value)] for step, value in zip(c.steps, c.values, strict=True)]
            for key, c in view.curves.items()
            if not key.startswith("system/")
        }
        params = {key: str(value) for key, value in view.all_params.items()}
        found.append({"metrics": curves, "params": params, "artifacts": endings})
        if not import_from:
            for verified in client.verify_run(view.id):
                if verified.state != "same":
                    wrong += [f"{verified.state}: {', '.join(map(str, verified.differences))}"]
    print(json.dumps({"runs": found, "wrong": wrong}))


def compared(program: Program, way: str, folder: Path, checkouts: Path) -> list[tuple[str, str]]:
    """Run a program in one way, and give what differs from what it is alone."""
    root = folder / way
    root.mkdir()
    error = run_program(program, way, root, checkouts)
    if error:
        return [("error:", error)]
    left = imported if way == "other" else held
    seen = views(root) if way == "other" else {"runs": held(program, root), "wrong": []}
    alone, tracked = left(program, folder / "alone"), seen["runs"]
    found = list(differences(alone, alone, tracked))
    if found:  # by itself, too?
        again = folder / "again"
        if not again.exists():
            again.mkdir()
            run_program(program, "alone", again, checkouts)
        found = list(differences(alone, left(program, again), tracked))
    return [*found, *(("tracker:", wrong) for wrong in seen["wrong"])]


def imported(program: Program, root: Path) -> Runs:
    """Give the runs of an import of what a program alone has left in a folder."""
    project = root.with_name(f"{root.name}-imported")
    if not project.exists():
        project.mkdir()
        (project / "trackyard.toml").write_text("")
        found = views(project, f"{program.sdk}:{PLACES[program.sdk].format(root=root)}")
        (project / "views.json").write_text(json.dumps(found["runs"]))
    kept: Runs = json.loads((project / "views.json").read_text())
    return kept


def is_known(program: Program, way: str, what: str) -> bool:
    """Tell whether a flavor's page says that a field, or a key of it, differs."""
    names = (what, what.partition(":")[0])
    return any(
        f"{way}.{name}" in program.differs or (way != "other" and name in program.differs)
        for name in names
    )


def outcome(program: Program, way: str, found: list[tuple[str, str]]) -> str:
    """Say in a word what came of one way."""
    unknown = [what for what, _ in found if not is_known(program, way, what)]
    return f"{len(unknown)} differ" if unknown else "known" if found else "same"


def measure(
    program: Program, ways: list[str], checkouts: Path, *, kept: Path | None
) -> bool | None:
    """Run a program in all ways and print what came of it; tells whether all is as it is alone.

    None where there is nothing to compare with.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary).resolve()
        if kept is not None:
            folder = kept / re.sub(r"\W+", "-", str(program))
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        (folder / "alone").mkdir()
        if error := run_program(program, "alone", folder / "alone", checkouts):
            print(f"{program}  fails alone ({error})", flush=True)
            return None
        if not held(program, folder / "alone"):
            print(f"{program}  logs nothing alone", flush=True)
            return None
        found = {way: compared(program, way, folder, checkouts) for way in ways}
    words = {way: outcome(program, way, found[way]) for way in ways}
    print(f"{program}  {'  '.join(f'{way}: {word}' for way, word in words.items())}", flush=True)
    for way, wrong in found.items():
        unknown = [(name, what) for name, what in wrong if not is_known(program, way, name)]
        for name, what in unknown[:6]:
            print(f"    {way} {name.partition(':')[0]}: {what}", flush=True)
    return not any("differ" in word for word in words.values())


def show_checkouts(chosen: list[Program]) -> None:
    """Print what to type to have the programs' repositories, each at its commit."""
    commits = tomllib.loads(LIST.read_text(encoding="utf-8"))["commits"]
    for repository in dict.fromkeys(program.repository for program in chosen):
        clone = f"git clone https://github.com/{repository} FOLDER/{repository}"
        print(f"{clone} && git -C FOLDER/{repository} checkout {commits[repository]}")


def main() -> int:
    """Run what is asked for, and print a table; gives 1 where something differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--way", nargs="*", default=[*WAYS], choices=WAYS)
    parser.add_argument("--sdk", nargs="+", default=[], metavar="SDK")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what programs leave")
    given = parser.parse_args()
    chosen = [p for p in programs() if given.only in str(p)]
    chosen = [p for p in chosen if not given.sdk or p.sdk in given.sdk]
    if given.programs is None:
        show_checkouts(chosen)
        print(f"{len(chosen)} programs; say by --programs where their repositories are")
        return 0
    checkouts = given.programs.resolve()
    lacking = {p.repository for p in chosen if not (checkouts / p.repository / p.path).exists()}
    for repository in sorted(lacking):
        print(f"{repository} lacks programs of the list, or is not in {checkouts}")
    there = [p for p in chosen if (checkouts / p.repository / p.path).exists()]
    came = [measure(p, given.way, checkouts, kept=given.keep) for p in there]
    known = [is_same for is_same in came if is_same is not None]
    print(f"{sum(known)} of {len(known)} are in every way as they are alone")
    return int(not all(known))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-step"]:
        run_in_step(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["--views"]:
        show_views(sys.argv[2])
    else:
        sys.exit(main())
