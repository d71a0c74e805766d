"""Drives CarrelExecutor as the job agent's loop does, restarting the agent before every step.

agent_loop.py DIRECTORY_OF_EXECUTOR JOB.json [--cancel-when | --error-when | --stop-when STATE]
Prints {"states": [...], "results": {...}} of the job."""

import json
import sys
import time
import types

sys.path.insert(0, sys.argv[1])
import carrel_executor as executor  # noqa: E402

State = executor.ExecutorState


def load(path):
    with open(path) as file:
        definition = json.load(file)
    study = definition.pop("study", None)
    job = types.SimpleNamespace(**definition)
    if study is not None:
        job.study = types.SimpleNamespace(**study)
    return job


def step(job, states, what, when):
    """One turn of the loop; the final status when the job is complete."""
    api = executor.CarrelExecutor()
    status = api.get_status(job)
    states.append(status.state.value)
    if what == "--stop-when" and when == status.state.value:
        return status
    if what == "--error-when" and when == status.state.value:
        api.finalize(job, error={"message": "the agent failed"})
        return executor.CarrelExecutor().get_status(job)
    if what == "--cancel-when" and when == status.state.value:
        if status.state == State.EXECUTING:
            api.terminate(job)
        api.finalize(job, cancelled=True)
        final = executor.CarrelExecutor().get_status(job)
        api.cleanup(job)
        return final
    if status.state in (State.ERROR, State.FINALIZED):
        return status
    if status.state == State.UNKNOWN:
        api.prepare(job)
    elif status.state == State.PREPARED:
        job.env = {**getattr(job, "env", {}), "DATABASE_URL": "secret://user:hunter2@db/x"}
        api.execute(job)
    elif status.state == State.EXECUTED:
        api.finalize(job)
        final = executor.CarrelExecutor().get_status(job)
        api.cleanup(job)
        return final
    return None


def main():
    job = load(sys.argv[2])
    what, when = sys.argv[3:5] if len(sys.argv) > 4 else (None, None)
    states = []
    for _ in range(600):
        try:
            final = step(job, states, what, when)
        except executor.ExecutorRetry:
            final = None
        if final is not None:
            states.append(final.state.value)
            print(json.dumps({"states": states, "results": final.results}))
            return 0
        time.sleep(0.05)
    print(json.dumps({"states": states, "results": None}))
    return 1


if __name__ == "__main__":
    sys.exit(main())
