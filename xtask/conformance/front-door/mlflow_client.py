"""MLflow's own client at work, with every answer written down so that two runs can be compared.

`mlflow_client.py URI PREFIX FOLDER [some]` prints one line of JSON for each step: its name and what came back, with what
differs from run to run (ids, times, the prefix) replaced by words. Not for judging: the suite compares the runs.
"""

import hashlib
import json
import logging
import os
import re
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

URI, PREFIX, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
SOME = len(sys.argv) > 4
FOLDER.mkdir(parents=True, exist_ok=True)
mlflow.set_tracking_uri(URI)
mlflow.set_registry_uri(URI)
client = MlflowClient(tracking_uri=URI, registry_uri=URI)

AWKWARD = ["with space.txt", "ünïcode.txt", "plus+.txt", "hash#.txt", "amp&b=c.txt", "semi;colon,.txt", "at@colon:.txt", "tilde~'().txt"]


def plain(value):
    """Returns a value of the client's as JSON, without what no two runs have in common."""
    if hasattr(value, "to_dictionary"):
        value = value.to_dictionary()
    elif hasattr(value, "to_proto"):
        value = str(value.to_proto())
    elif isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items() if not is_time(key) and key != "experiment_id"}
    elif isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return plain(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > 1e11:
        return "TIME"
    if isinstance(value, float) and value != value:
        return "no number"
    if not isinstance(value, str):
        return value if isinstance(value, (int, float, bool, type(None))) else plain(str(value))
    text = value.replace(PREFIX, "PREFIX").replace(URI, "URI")
    text = re.sub(r"\b(m-|tr-)?[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\b\d{13,}\b", "TIME", text)
    for number in EXPERIMENTS:
        text = re.sub(rf"(:/|artifacts/|experiments/){number}(?=/|$)", r"\1EXPERIMENT", text)
    return text


def is_time(name):
    return isinstance(name, str) and name.endswith(("_time", "_timestamp", "duration", "_ms"))


EXPERIMENTS: list[str] = []


def step(name, work):
    try:
        value = work()
        said = {"gave": plain(value)}
    except MlflowException as error:
        value, said = None, {"refused": error.error_code, "message": plain(str(error))}
    except Exception as error:  # noqa: BLE001  whatever it is, the other run must have it too
        value, said = None, {"broke": type(error).__name__, "message": plain(str(error))}
    print(json.dumps({"step": name, **said}, sort_keys=True), flush=True)
    return value


def experiments():
    name = f"{PREFIX} räume/one"
    number = client.create_experiment(name, tags={"team": "a/b", "ü": "ö %2F ?&#"})
    EXPERIMENTS.append(number)
    step("the experiment by id", lambda: fields(client.get_experiment(number)))
    step("the experiment by name", lambda: fields(client.get_experiment_by_name(name)))
    step("an experiment that is not there", lambda: client.get_experiment("987654321"))
    step("the same name again", lambda: client.create_experiment(name))
    step("tag the experiment", lambda: client.set_experiment_tag(number, "note", "line\nbreak"))
    step("search experiments", lambda: [e.name for e in client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")])
    step("rename the experiment", lambda: client.rename_experiment(number, f"{PREFIX} zwei"))
    return number


def fields(entity):
    return {key: plain(str(value)) for key, value in dict(entity).items() if not is_time(key) and key != "experiment_id"}


def runs(number):
    run = step("create run", lambda: client.create_run(number, tags={"k": "v"}, run_name="first")).info.run_id
    step("log parameter", lambda: client.log_param(run, "depth", 7))
    step("the same parameter with another value", lambda: client.log_param(run, "depth", 8))
    for index in range(20):
        client.log_metric(run, "loss", 1 / (index + 1), timestamp=1_700_000_000_000 + index, step=index)
    step("metric history", lambda: [(m.value, m.step) for m in client.get_metric_history(run, "loss")])
    batch = [Metric(f"m/{n}", n * 0.5, 1_700_000_000_000, n) for n in range(300)]
    parameters = [Param(f"p {n}", f"wert ü {n}") for n in range(90)]
    step("log a batch", lambda: client.log_batch(run, batch, parameters, [RunTag("batch", "yes")]))
    step("a metric that is no number", lambda: client.log_metric(run, "nan", float("nan")))
    step("tag", lambda: client.set_tag(run, "slash/tag", "x" * 400))
    step("take the tag back", lambda: client.delete_tag(run, "slash/tag"))
    others = [client.create_run(number, run_name=f"run {n}").info.run_id for n in range(5)]
    for n, other in enumerate(others):
        client.log_metric(other, "score", n)
        client.set_terminated(other, "FINISHED")
    search = lambda **more: client.search_runs([number], "metrics.score >= 1", order_by=["metrics.score DESC"], **more)  # noqa: E731
    step("search runs", lambda: [r.data.metrics["score"] for r in search()])
    page = search(max_results=2)
    step("the next page", lambda: [r.data.metrics["score"] for r in search(max_results=2, page_token=page.token)])
    step("delete and restore a run", lambda: [client.delete_run(others[0]), client.restore_run(others[0])])
    step("a run that is not there", lambda: client.get_run("0" * 32))
    step("the run", lambda: (lambda d: [sorted(d.metrics.items()), sorted(d.params.items())])(client.get_run(run).data))
    step("end the run", lambda: client.set_terminated(run, "FINISHED"))
    return run


def artifacts(run):
    made = FOLDER / "made"
    (made / "deep" / "er").mkdir(parents=True, exist_ok=True)
    for name in AWKWARD:
        (made / name).write_text(f"this is {name}\n")
        step(f"upload {name}", lambda: client.log_artifact(run, str(made / name)))
    (made / "deep" / "er" / "a.txt").write_text("a")
    (made / "deep" / "empty.bin").write_bytes(b"")
    step("upload a folder", lambda: client.log_artifacts(run, str(made / "deep"), "in a/folder"))
    large = bytes(range(256)) * 65_536
    (made / "large.bin").write_bytes(large)
    step("upload 16 MiB", lambda: client.log_artifact(run, str(made / "large.bin"), "large"))
    step("log text and dictionary", lambda: [client.log_text(run, "text ü", "t/x.txt"), client.log_dict(run, {"a": [1]}, "t/y.json")])
    walk = lambda path=None: [entry for f in client.list_artifacts(run, path) for entry in ([(f.path, f.file_size)] + (walk(f.path) if f.is_dir else []))]  # noqa: E731
    step("list artifacts", lambda: sorted(walk()))
    there = FOLDER / "there"
    there.mkdir(exist_ok=True)
    for name in [*AWKWARD, "in a/folder/er/a.txt", "in a/folder/empty.bin", "large/large.bin", "t/y.json"]:
        step(f"download {name}", lambda: digest(client.download_artifacts(run, name, str(there))))
    step("download a folder", lambda: sorted(p.name for p in Path(client.download_artifacts(run, "in a", str(there))).rglob("*")))
    step("an artifact that is not there", lambda: client.download_artifacts(run, "nothing.txt", str(there)))


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:31]


def registry(run):
    name = f"{PREFIX} modell ü"
    step("register a model", lambda: client.create_registered_model(name, tags={"a": "b"}, description="one").name)
    step("register it again", lambda: client.create_registered_model(name))
    source = client.get_run(run).info.artifact_uri + "/t"
    version = step("a version", lambda: client.create_model_version(name, source, run, tags={"v": "1"}).version)
    step("the version", lambda: client.get_model_version(name, version).status)
    step("describe it", lambda: client.update_model_version(name, version, description="ü").description)
    step("tag it", lambda: client.set_model_version_tag(name, version, "state", "good/bad"))
    step("an alias", lambda: client.set_registered_model_alias(name, "champion", version))
    step("by alias", lambda: client.get_model_version_by_alias(name, "champion").version)
    step("where it is", lambda: client.get_model_version_download_uri(name, version))
    step("search versions", lambda: [v.version for v in client.search_model_versions(f"name='{name}'")])
    step("search models", lambda: [m.name for m in client.search_registered_models(f"name LIKE '{PREFIX}%'")])
    step("load what it is made of", lambda: digest(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}/x.txt")))
    step("take the alias back", lambda: client.delete_registered_model_alias(name, "champion"))
    step("an alias that is not there", lambda: client.get_model_version_by_alias(name, "champion"))
    step("rename the model", lambda: client.rename_registered_model(name, f"{name} 2") and None)
    step("delete the version", lambda: client.delete_model_version(f"{name} 2", version))
    step("delete the model", lambda: client.delete_registered_model(f"{name} 2"))


class Doubling(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        return [text * 2 for text in model_input]


def fluent():
    mlflow.set_experiment(f"{PREFIX} zwei")
    with mlflow.start_run(run_name="fluent"):
        mlflow.log_params({"a": 1})
        mlflow.log_metrics({"b": 2.0}, step=1)
        model = mlflow.pyfunc.log_model(name="model", python_model=Doubling(), pip_requirements=[])
    step("log a model", lambda: [model.model_uri, sorted(model.flavors)])
    step("load the model and use it", lambda: mlflow.pyfunc.load_model(model.model_uri).predict(["ab"]))
    step("the logged model", lambda: client.get_logged_model(model.model_id).name)
    step("tag the logged model", lambda: client.set_logged_model_tags(model.model_id, {"plain": "1", "with space": "2", "a/b": "3"}))
    for tag in ["plain", "with space", "a/b"]:
        step(f"take its tag `{tag}` back", lambda: client.delete_logged_model_tag(model.model_id, tag))
    step("its tags", lambda: sorted(t for t in client.get_logged_model(model.model_id).tags if not t.startswith("mlflow.")))
    prompt = f"{PREFIX}-prompt"
    step("register a prompt", lambda: mlflow.genai.register_prompt(prompt, "Say {{ what }}").version)
    step("load the prompt", lambda: mlflow.genai.load_prompt(f"prompts:/{prompt}/1").template)


def traces(number):
    os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"

    def trace():
        with mlflow.start_span("outer", span_type="CHAIN") as span:
            span.set_inputs({"q": "ü"})
            with mlflow.start_span("inner"):
                pass
            span.set_outputs({"a": 1})
        mlflow.flush_trace_async_logging()
        return span.trace_id

    made = []
    step("record a trace", lambda: made.append(trace()))
    step("the trace", lambda: sorted(s.name for s in patient(lambda: client.get_trace(made[0])).data.spans))
    step("search traces", lambda: len(client.search_traces(locations=[number])))
    step("tag the trace", lambda: client.set_trace_tag(made[0], "plain", "1"))
    step("take the trace's tag back", lambda: client.delete_trace_tag(made[0], "plain"))
    step("delete the trace", lambda: client.delete_traces(number, trace_ids=made))


def patient(work):
    """Asks until it works: the client sends traces a moment later."""
    end = time.monotonic() + 20
    while True:
        try:
            return work()
        except MlflowException:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


number = experiments()
run = runs(number)
if not SOME:
    artifacts(run)
    registry(run)
    fluent()
    traces(number)
step("delete the experiment", lambda: client.delete_experiment(number))
