"""carrel as an executor of the job agent: EXECUTOR=carrel_executor:CarrelExecutor.

Calls carrel's verbs, one process each; holds no state of its own, so that the agent can be
restarted at any point. Standard library only. Within the agent it uses the agent's own classes
(JobStatus, ExecutorState, ExecutorRetry); elsewhere, those below, which have the same members.

Environment:
  CARREL          the program (default: carrel)
  CARREL_CONFIG   its configuration (default: /etc/carrel/carrel.json)

The agent's loop knows no state "preparing" or "finalizing": get_status waits for their end, up to
its timeout, and then asks for a retry.
"""

import dataclasses
import enum
import json
import os
import pathlib
import subprocess
import time

try:  # within the agent
    from common.job_executor import ExecutorRetry, ExecutorState, JobStatus
except ImportError:

    class ExecutorState(enum.Enum):
        PREPARING = "preparing"
        PREPARED = "prepared"
        EXECUTING = "executing"
        EXECUTED = "executed"
        FINALIZING = "finalizing"
        FINALIZED = "finalized"
        UNKNOWN = "unknown"
        ERROR = "error"

    @dataclasses.dataclass
    class JobStatus:
        state: ExecutorState
        timestamp_ns: int = dataclasses.field(default_factory=time.time_ns)
        results: dict = dataclasses.field(default_factory=dict)

    class ExecutorRetry(Exception):
        """A temporary problem: try again later."""


class CarrelError(Exception):
    """carrel refused a call, or failed in it."""


CONFIG = "/etc/carrel/carrel.json"
STATE = "/var/lib/carrel"
# What the agent knows of a job. Older agents name the code themselves, newer ones in `study`.
MEMBERS = (
    "id rap_id task_id repo_url commit workspace action created_at image image_sha args env inputs "
    "input_job_ids output_spec allow_database_access level4_max_csv_rows level4_max_filesize "
    "level4_file_types user database_name cpu_count memory_limit"
).split()
# Credentials are carrel's own business: those that the agent adds never reach a file or a process.
SECRETS = {
    "DATABASE_URL",
    "TEMP_DATABASE_NAME",
    "PRESTO_TLS_CERT",
    "PRESTO_TLS_KEY",
    "EMIS_ORGANISATION_HASH",
}
WAITING = {ExecutorState.PREPARING, ExecutorState.FINALIZING}
# What the agent and its controller read of a finished job's results, and what the agent says where
# there is nothing to say.
RESULTS = {
    "exit_code": "",
    "docker_image_id": "",
    "status_message": "",
    "hint": "",
    "action_version": "unknown",
    "action_revision": "unknown",
    "action_created": "unknown",
    "base_revision": "unknown",
    "base_created": "unknown",
    "cancelled": False,
}
WITHHELD = "[withheld]"


def definition_of(job):
    """The job definition (contract of the job agent) of an object with its attributes."""
    given = {name: getattr(job, name) for name in MEMBERS if getattr(job, name, None) is not None}
    study = getattr(job, "study", None)
    if study is not None:
        study = study if isinstance(study, dict) else vars(study)
        given["study"] = {key: value for key, value in study.items() if value is not None}
        given.setdefault("repo_url", study.get("git_repo_url"))
        given.setdefault("commit", study.get("commit"))
    given["env"] = {k: v for k, v in dict(given.get("env", {})).items() if k not in SECRETS}
    for name in ("cpu_count", "memory_limit"):
        if name in given:
            given[name] = str(given[name])
    given["output_spec"] = dict(given.get("output_spec", {}))
    return given


def state_for_agent(answer):
    """The agent calls a job that ended with an error of its own or of carrel an error, also when it
    has been finalized; one that was cancelled is finalized."""
    results = answer["results"]
    if answer["state"] == "finalized" and results.get("error") and not results.get("cancelled"):
        return ExecutorState.ERROR
    return ExecutorState(answer["state"])


def results_for_agent(state, timestamp_ns, results):
    """carrel's results under the names that the agent reads. No output is named: where the agent
    asks whether a list is empty, the list holds one word that says nothing."""
    if not results:
        return {}
    known = {**RESULTS, "timestamp_ns": timestamp_ns}
    known.update({name: value for name, value in results.items() if value is not None})
    known["exit_code"] = str(known["exit_code"])
    known["docker_image_id"] = known.pop("image_id", known["docker_image_id"])
    known["unmatched_patterns"] = [WITHHELD] if results.get("has_unmatched_patterns") else []
    known["unmatched_outputs"] = []
    known["level4_excluded_files"] = (
        {WITHHELD: WITHHELD} if results.get("has_level4_excluded_files") else {}
    )
    if state == ExecutorState.ERROR and not known["status_message"]:
        known["status_message"] = str(results.get("error") or "carrel failed")
    return known


class CarrelExecutor:
    def __init__(self, command=None, config=None):
        self.command = command or os.environ.get("CARREL", "carrel")
        self.config = config or os.environ.get("CARREL_CONFIG", CONFIG)

    # The agent's verbs.

    def prepare(self, job):
        return self._change("prepare", job)

    def execute(self, job):
        return self._change("execute", job)

    def finalize(self, job, cancelled=False, error=None):
        options = ["--cancelled"] if cancelled else []
        if error:
            self._end(job)
            options += ["--error", str(error.get("message", error) if isinstance(error, dict) else error)]
        return self._change("finalize", job, options)

    def terminate(self, job):
        return self._change("terminate", job)

    def cleanup(self, job):
        return self._change("cleanup", job)

    def get_status(self, job, timeout=15, cancelled=False):
        """The state of a job; waits for the end of what only takes seconds."""
        until = time.monotonic() + timeout
        while True:
            left = max(0.1, until - time.monotonic())
            status = self._status(self._call("status", job, timeout=left)[0])
            if status.state not in WAITING:
                return status
            if time.monotonic() + 0.1 >= until:
                raise ExecutorRetry(f"job {job.id} is {status.state.value} for more than {timeout}s")
            time.sleep(0.1)

    def delete_files(self, workspace, privacy, files):
        """Removes files of a workspace; returns those that are there and could not be removed."""
        level = getattr(privacy, "value", privacy)
        if level not in ("high", "medium"):
            raise CarrelError(f"unknown privacy of {privacy}")
        root = self._base(level) / "workspaces"
        return [name for name in files if not remove_beneath(root, [workspace, *name.split("/")])]

    # Calls.

    def _end(self, job, timeout=15):
        """Ends what runs: nobody would watch over the action of a job that is called an error."""
        until = time.monotonic() + timeout
        while self._status(self._call("terminate", job)[0]).state == ExecutorState.EXECUTING:
            if time.monotonic() >= until:
                raise ExecutorRetry(f"job {job.id} has not ended within {timeout}s")
            time.sleep(0.1)

    def _change(self, verb, job, options=()):
        answer, errors = self._call(verb, job, options)
        status = self._status(answer)
        if answer["results"].get("retry"):
            raise ExecutorRetry(answer["results"].get("error") or errors)
        if status.state != ExecutorState.ERROR:
            return status
        # An error that carrel keeps is the job's state. Another changed nothing: the caller hears it.
        kept = self.get_status(job)
        if kept.state != ExecutorState.ERROR:
            raise CarrelError(answer["results"].get("error") or errors)
        return kept

    def _call(self, verb, job, options=(), timeout=60):
        # A definition can hold credentials: in memory only, and gone with this process.
        with os.fdopen(os.memfd_create("carrel-job"), "w") as file:
            json.dump(definition_of(job), file)
            file.flush()
            command = [self.command, verb, f"/proc/self/fd/{file.fileno()}",
                       "--config", str(self.config), *options]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                                      pass_fds=[file.fileno()])
            except subprocess.TimeoutExpired as error:
                raise ExecutorRetry(f"carrel {verb} took longer than {timeout:.0f}s") from error
        try:
            answer = json.loads(done.stdout)
            return {"state": answer["state"], "timestamp_ns": answer["timestamp_ns"],
                    "results": answer["results"]}, done.stderr.strip()
        except (ValueError, KeyError, TypeError) as error:
            raise CarrelError(
                f"carrel {verb} answered nothing (status {done.returncode}): {done.stderr.strip()}"
            ) from error

    def _status(self, answer):
        state = state_for_agent(answer)
        timestamp_ns = answer["timestamp_ns"] or time.time_ns()
        results = results_for_agent(state, timestamp_ns, answer["results"])
        return JobStatus(state, timestamp_ns=timestamp_ns, results=results)

    def _base(self, level):
        try:
            config = json.loads(pathlib.Path(self.config).read_text())
        except FileNotFoundError:
            config = {}
        state = config.get("state", STATE)
        return pathlib.Path(config.get(f"{level}_privacy", f"{state}/{level}_privacy"))


def remove_beneath(root, parts):
    """Removes root/parts..., never through a link or "..". True when it isn't there any more."""
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        return False
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            below = os.open(part, flags, dir_fd=directory)
            os.close(directory)
            directory = below
        os.unlink(parts[-1], dir_fd=directory)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        os.close(directory)
