"""How is a run found, made and written in an MLflow backend?"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import attrs

from trackyard.contract import (
    Answer,
    Batch,
    Context,
    Git,
    Record,
    RejectedRecords,
    RetryLater,
    Run,
    RunDeleted,
    classify_answer,
    classify_error,
    home,
    process_values,
    write_whole,
)
from trackyard_mlflow.batch_rows import write_batch
from trackyard_mlflow.environment import told_to_mlflow
from trackyard_mlflow.files import is_put, is_text_put
from trackyard_mlflow.kinds import is_table, log_input, log_model, show_as_table
from trackyard_mlflow.stores import (
    artifact_location,
    let_go_of_file,
    new_client,
    sqlite_uri,
    without_tracebacks,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from requests import Response

logger = logging.getLogger("trackyard")

# Seconds to wait for another tracker's call, which needs other credentials in the environment.
PATIENCE = 1.0

_IDS = "mlflow.json"
# There while a run that was made anew has got none of its records.
_ANEW = "mlflow-anew"
# The file of a run with the packages that it has found.
_REQUIREMENTS = "trackyard/requirements.txt"
# What MLflow's page shows of a run that somebody has noted or renamed after its start.
_SHOWN = {"trackyard.note": "mlflow.note.content", "trackyard.name": "mlflow.runName"}
# MLflow's word for a run or an experiment that it does not know.
_GONE = "RESOURCE_DOES_NOT_EXIST"
# What SQLAlchemy says before an error that came as it wrote what a query had to see.
_AUTOFLUSH = re.compile(r"^\(raised as a result of Query-invoked autoflush;[^)]*\)\s*")
# The end of a run on a server prints two lines, into whatever the step writes to stdout.
_QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}


@contextmanager
def connected(
    tracking_uri: str, environment: Mapping[str, Any], seconds: float = 10.0
) -> Iterator[MlflowClient]:
    """Give a client, and say of each error of MLflow's whether another try can help.

    Args:
        tracking_uri: The backend.
        environment: Credentials, which MLflow takes from the environment alone; empty where the
            backend is a database.
        seconds: How long a server may take for an answer. MLflow's own limits, 7 tries of 120 s,
            block for minutes; core does the retries.
    """
    limits = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(max(seconds, 1.0))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    values = {**environment, **limits, **_QUIET} if environment else {}
    with told_to_mlflow(values, PATIENCE), without_tracebacks():
        try:
            yield new_client(tracking_uri)
        except (RetryLater, RunDeleted):
            raise
        except Exception as error:
            answer = meaning_of(error)
            if answer is None or answer.verdict in ("refused", "deleted"):
                raise  # what it is of, the caller knows
            if tracking_uri.startswith("sqlite:"):
                let_go_of_file(tracking_uri)
            raise answer.error(_file_of(tracking_uri)) from error


def _file_of(tracking_uri: str) -> str:
    return tracking_uri.removeprefix("sqlite:///") if tracking_uri.startswith("sqlite:") else ""


def find_or_create_run(
    client: MlflowClient, run: Run, experiment: str, tags: Mapping[str, str]
) -> MlflowRun:
    """Continue the run with this `run.id`, or create it; a lost answer makes no second one.

    MLflow gives ids itself. They are kept in `run.folder`; where only the intention to create is
    noted there, or another machine began, the run is searched by its tag.

    Args:
        client: A client of the store.
        run: The run.
        experiment: The experiment's name.
        tags: Tags of the new run.

    Raises:
        RunDeleted: Somebody has deleted it there.
    """
    known = read_ids(run.folder)
    if known and (same := _known_run(client, known)) is not None:
        if known.pop("is_adopted", ""):  # the step's own code has made it
            for key, value in run.identity_tags.items():
                client.set_tag(same.info.run_id, key, value)
            write_ids(run.folder, known)
        return same
    place = None if known else parent_place(run, experiment)
    if place is None:
        place = find_or_create_experiment(client, experiment)
    found = None
    if run.attached or _intention(run).exists():
        found = _search(client, place["experiment_id"], run.id)
    if found is None:
        intend(run)
        if known:  # before the ids of the new one: who goes on after a crash has to know it
            (run.folder / _ANEW).touch()
        found = client.create_run(
            place["experiment_id"],
            start_time=run.started_at // 1_000_000,
            run_name=run.name,
            tags=tags_at_start(run, tags),
        )
    note_made(run, ids_of(found), place, experiment)
    return found


def is_new(run: Run) -> bool:
    """Tell whether nobody has begun to make a run in the backend, so that it need not be found."""
    is_begun = run.attached or run.resumed or _intention(run).exists()
    return not is_begun and not read_ids(run.folder)


def _intention(run: Run) -> Path:
    return run.folder / "mlflow-intention"


def experiment_of(name: str | None, uri: str) -> str:
    """Give the name of an experiment as a store takes it.

    Args:
        name: The name, if there is one.
        uri: The store's address: on Databricks experiments are files.
    """
    name = (name or "default")[:500]
    is_relative = uri.startswith("databricks") and not name.startswith("/")
    return f"/{name}" if is_relative else name


def intend(run: Run) -> None:
    """Note that a run is made now, which may then be there although nobody knows its id."""
    _intention(run).touch()


def parent_place(run: Run, experiment: str) -> dict[str, str] | None:
    """Give the ids of an experiment where the run's parent is in it, or None.

    Args:
        run: The run.
        experiment: The experiment's name.
    """
    parent = parent_ids(run)
    if parent.get("experiment") != experiment:
        return None
    return {key: parent[key] for key in ("experiment_id", "experiment_created") if key in parent}


def tags_at_start(run: Run, tags: Mapping[str, str]) -> dict[str, str]:
    """Give the tags with which a run is made.

    Args:
        run: The run.
        tags: Those that the tracker's configuration has.
    """
    own = own_tags(run, tags)
    if parent := parent_ids(run):
        own["mlflow.parentRunId"] = parent["run_id"]
    return own


def own_tags(run: Run, tags: Mapping[str, str]) -> dict[str, str]:
    """Give the tags with which a run is made, but for that of its parent.

    Args:
        run: The run.
        tags: Those that the tracker's configuration has.
    """
    return {**context_tags(run.context), **tags, **run.tags, **run.identity_tags}


def note_made(
    run: Run, ids: Mapping[str, str], place: Mapping[str, str], experiment: str
) -> dict[str, str]:
    """Note which run of MLflow's a run is, and where; give all that is noted.

    Args:
        run: The run.
        ids: As `ids_of` gives them.
        place: The experiment's ids.
        experiment: Its name.
    """
    noted = {**ids, **place, "experiment": experiment}
    noted["parent_id"] = parent_ids(run).get("run_id", "")
    write_ids(run.folder, noted)
    return noted


def context_tags(context: Context | None) -> dict[str, str]:
    """Give where a run comes from as plain MLflow writes it, and what has no tag of MLflow's.

    Args:
        context: What is known of it.
    """
    if context is None:
        return {}
    git = context.git or Git()
    is_dirty = None if git.is_dirty is None else str(git.is_dirty).lower()
    known = {
        "mlflow.user": context.user,
        "mlflow.source.name": context.script,
        "mlflow.source.type": "LOCAL" if context.script else None,
        "mlflow.source.git.commit": git.commit,
        "mlflow.source.git.branch": git.branch,
        "mlflow.source.git.repoURL": git.remote,
        "mlflow.source.git.dirty": is_dirty,
    }
    own = ("user", "script", "git.")
    others = {k: v for k, v in context.tags.items() if not k[len("trackyard.") :].startswith(own)}
    return {**{k: v for k, v in known.items() if v}, **{k: v[:5000] for k, v in others.items()}}


def _known_run(client: MlflowClient, known: Mapping[str, str]) -> MlflowRun | None:
    """Give the run that was started before; None where the store was emptied since.

    Raises:
        RunDeleted: It was deleted there, and the store is the same.
    """
    try:
        found = client.get_run(known["run_id"])
    except Exception as error:
        if not _is_gone(error):
            raise
        if not _is_same_store(client, known):
            return None
        raise RunDeleted(f"MLflow has no run {known['run_id']} any more") from error
    if found.info.lifecycle_stage == "deleted":
        raise RunDeleted(f"run {found.info.run_id} was deleted in MLflow; its page restores it")
    return found


def _is_same_store(client: MlflowClient, known: Mapping[str, str]) -> bool:
    """Tell whether a store that does not know a run knows its experiment, made when it was."""
    try:
        experiment = client.get_experiment(known["experiment_id"])
    except Exception as error:
        if not _is_gone(error):
            raise
        return False
    created = known.get("experiment_created")
    return created is None or created == str(experiment.creation_time)


def _is_gone(error: BaseException) -> bool:
    answer = meaning_of(error)
    return answer is not None and answer.verdict == "deleted"


def is_made_anew(folder: Path) -> bool:
    """Tell whether the run was made anew in a store that was emptied, and has no record yet.

    Args:
        folder: The tracker's folder of the run.
    """
    return (folder / _ANEW).exists()


@contextmanager
def writing(client: MlflowClient, run: Run, run_id: str) -> Iterator[None]:
    """Tell what MLflow refuses of a run from a run that it has no more.

    Args:
        client: A client of the store.
        run: The run.
        run_id: MLflow's own id of it.

    Raises:
        RunDeleted: Somebody has deleted it there.
        RetryLater: It is not there; `tracker_start_run` finds out why.
    """
    try:
        yield
    except Exception as error:
        answer = meaning_of(error)
        if answer is None or answer.verdict not in ("refused", "deleted"):
            raise
        ids = {**read_ids(run.folder), "run_id": run_id}
        if _known_run(client, ids) is None or answer.verdict == "deleted":
            raise RetryLater(answer.message) from error
        raise
    has_been_written(run)


def has_been_written(run: Run) -> None:
    """Note that a run which was made anew has got something.

    Args:
        run: The run.
    """
    (run.folder / _ANEW).unlink(missing_ok=True)


def delete_run(client: MlflowClient, run: Run) -> None:
    """Delete a run as MLflow's own page does: `mlflow gc` frees its space.

    Args:
        client: A client of the store.
        run: The run; its folder knows MLflow's own id.
    """
    from mlflow.exceptions import MlflowException

    run_id = read_ids(run.folder).get("run_id")
    if run_id is None:
        return
    try:
        client.delete_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def ids_of(run: MlflowRun) -> dict[str, str]:
    """Give what is needed of a run to make it MLflow's active run in another process."""
    info = run.info
    ids = {"run_id": info.run_id, "experiment_id": info.experiment_id}
    return {**ids, "artifact_uri": info.artifact_uri}


def late_parent_tag(run: Run) -> dict[str, str]:
    """Give the tag that nests the run, where its parent was started after it."""
    parent = parent_ids(run).get("run_id", "")
    is_late = parent and read_ids(run.folder).get("parent_id") != parent
    return {"mlflow.parentRunId": parent} if is_late else {}


def parent_ids(run: Run) -> dict[str, str]:
    """Give the ids of the parent run, as far as it is started."""
    return read_ids(run.parent_folder) if run.parent_folder else {}


def read_ids(folder: Path) -> dict[str, str]:
    """Give the ids of the run that was found or created for a folder; none before that."""
    try:
        return dict(json.loads((folder / _IDS).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not created yet, or killed while it was written
        return {}


def write_ids(folder: Path, ids: Mapping[str, str]) -> None:
    """Note which run of MLflow's a run is.

    Args:
        folder: The tracker's folder of the run.
        ids: As `ids_of` gives them.
    """
    write_whole(folder / _IDS, json.dumps(dict(ids)))


def find_or_create_experiment(client: MlflowClient, name: str) -> dict[str, str]:
    """Give an experiment's id, and when it was made.

    Args:
        client: A client of the store.
        name: The experiment's name.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            id_ = client.create_experiment(name, artifact_location(client.tracking_uri))
            experiment = client.get_experiment(id_)
        except MlflowException:  # another process was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":  # its name stays taken, and it takes no runs
        client.restore_experiment(experiment.experiment_id)
    created = str(experiment.creation_time)
    return {"experiment_id": str(experiment.experiment_id), "experiment_created": created}


def send(
    client: MlflowClient,
    run_id: str,
    batch: Batch,
    place: str | None = None,
    known: Mapping[str, str] | None = None,
) -> None:
    """Write a batch.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        batch: What is written.
        place: Where the store keeps the run's files, which is asked for where it is not known.
        known: Tags that the run was made with: those of its context are not written once more.
    """
    of_context = context_tags(batch.context)
    rows: dict[str, list[Any]] = {
        "metrics": [(m.key, m.value, m.timestamp // 1_000_000, m.step or 0) for m in batch.metrics],
        "tags": [
            *((k, v) for k, v in of_context.items() if (known or {}).get(k) != v),
            *((tag.key, tag.value) for tag in batch.tags),
            *((_SHOWN[tag.key], tag.value) for tag in batch.tags if tag.key in _SHOWN),
        ],
        "params": [(param.key, str(param.value)) for param in batch.params],
    }
    write_batch(client, run_id, {kind: found for kind, found in rows.items() if found}, is_refused)
    packages = batch.context.requirements if batch.context and batch.context.packages else ""
    if not batch.artifacts and not packages:
        return
    place = place or str(client.get_run(run_id).info.artifact_uri)
    _check_place(client, place, batch)
    if packages and not is_text_put(packages, _REQUIREMENTS, place):
        client.log_text(run_id, packages, _REQUIREMENTS)
    if batch.artifacts:
        with _pages_are_no_answers():
            _send_files(client, run_id, batch, place)


def _send_files(client: MlflowClient, run_id: str, batch: Batch, place: str) -> None:
    for artifact in batch.artifacts:
        if artifact.kind == "model":
            log_model(client, run_id, artifact, is_elsewhere)
            continue
        if not is_put(artifact, place):
            folder = PurePosixPath(artifact.name).parent.as_posix()
            client.log_artifact(run_id, str(artifact.path), None if folder == "." else folder)
        if artifact.kind == "dataset":
            log_input(client, run_id, artifact)
    tables = [artifact.name for artifact in batch.artifacts if is_table(artifact)]
    if tables:
        show_as_table(client, run_id, tables)


@contextmanager
def _pages_are_no_answers() -> Iterator[None]:
    """Let a page, such as one to log in, not count as the answer to a file that was sent.

    MLflow looks at the status alone there, and the file would be nowhere.
    """
    from mlflow.store.artifact import http_artifact_repo as repository

    check = "augmented_raise_for_status"
    if not hasattr(repository, check):
        yield
        return
    with process_values({}, [(repository, check, _raise_for_page)], PATIENCE):
        yield


def _raise_for_page(response: Response) -> None:
    from mlflow.utils.request_utils import augmented_raise_for_status

    augmented_raise_for_status(response)
    kind = response.headers.get("Content-Type", "")
    if response.request.method == "PUT" and "html" in kind:
        raise RetryLater(f"{response.url} answered with a page instead of MLflow's answer")


def is_elsewhere(client: MlflowClient, artifact_uri: str) -> bool:
    """Tell whether the store in `.trackyard/`, which may be anybody's, names a place outside of it.

    Args:
        client: A client of the store.
        artifact_uri: Where it keeps a run's files.
    """
    own = home()
    if client.tracking_uri != sqlite_uri(own / "mlflow.db"):
        return False
    uri = urlsplit(artifact_uri)
    folder = Path(url2pathname(uri.path)).resolve()
    return uri.scheme not in ("", "file") or not folder.is_relative_to(own.resolve())


def _check_place(client: MlflowClient, place: str, batch: Batch) -> None:
    if is_elsewhere(client, place):
        records: list[Record] = [*batch.artifacts]
        records += [batch.context] if batch.context is not None else []
        reason = f"the store in {home()} keeps the run's files elsewhere, in {place}"
        raise RejectedRecords(records, f"{reason}, where nothing is written")


def send_what_is_taken(client: MlflowClient, run_id: str, records: tuple[Record, ...]) -> None:
    """Write records but for those that MLflow refuses, such as a param with another value.

    Args:
        client: A client of the store.
        run_id: MLflow's own id of the run.
        records: What is written.
    """
    try:
        send(client, run_id, Batch.of(records, 0, 0))
    except Exception as error:
        if not is_refused(error):
            raise
        if len(records) == 1:
            logger.warning("MLflow refused %s of a native call: %s", records[0], error)
            return
        middle = len(records) // 2
        send_what_is_taken(client, run_id, records[:middle])
        send_what_is_taken(client, run_id, records[middle:])


def meaning_of(error: BaseException) -> Answer | None:
    """Say what an error means that MLflow raised; None where nothing is known of it.

    An answer of a proxy's, which is no JSON, MLflow puts under a code of its own: its status counts
    then, and that it is no word of MLflow's. What MLflow says itself comes with its code.

    Args:
        error: The error.
    """
    from mlflow.exceptions import MlflowException, RestException

    if not isinstance(error, MlflowException):
        return classify_error(error)
    foreign = re.search(r"failed with error code (\d+) != \d+", str(error))
    if isinstance(error, RestException):
        body, status = json.dumps(error.json), error.get_http_status_code()
    elif foreign is not None:
        body, status = str(error), int(foreign[1])
    else:  # the client's own check of a value, or a store that is a database or a folder
        if error.__cause__ is not None and (known := classify_error(error.__cause__)) is not None:
            return attrs.evolve(known, message=_AUTOFLUSH.sub("", str(error)))
        body, status = error.serialize_as_json(), error.get_http_status_code()
    return attrs.evolve(classify_answer(status, body=body, deleted=[_GONE]), message=str(error))


def is_refused(error: BaseException) -> bool:
    """Tell whether MLflow itself says that it will never take what was sent.

    Args:
        error: What it raised.
    """
    answer = meaning_of(error)
    return answer is not None and answer.verdict == "refused"


def _search(client: MlflowClient, experiment_id: str, run_id: str) -> MlflowRun | None:
    """Find a run by its Trackyard id: the oldest wins, later ones are ended as duplicates."""
    found = client.search_runs(
        [experiment_id],
        f"tags.`trackyard.run_id` = '{run_id}'",
        order_by=["attributes.start_time ASC"],
    )
    found = [run for run in found if "trackyard.duplicate_of" not in run.data.tags]
    for duplicate in found[1:]:
        client.set_tag(duplicate.info.run_id, "trackyard.duplicate_of", found[0].info.run_id)
        client.set_terminated(duplicate.info.run_id, "KILLED")
    return found[0] if found else None
