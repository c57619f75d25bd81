"""The house style, as far as the code shows it."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from tests.support.paths import ROOT
from zenwatch import log, metrics
from zenwatch.model.refs import Origin
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.clock import SystemClock

CODE = sorted([*(ROOT / "zenwatch").rglob("*.py"), *(ROOT / "watchers").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# A class with one of these methods, or with an endless loop, has to be started or stopped: its module is a component.
LIFECYCLE = {"start", "stop", "close", "drain"}
MOST_LINES = {"zenwatch/__main__.py": 39, "zenwatch/wiring/app.py": 199}
TASK_MODULES = {"zenwatch/runtime/supervise.py", "zenwatch/wiring/app.py"}
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
VAGUE_NAMES = {"utils", "util", "common", "base", "manager", "misc"}

# Every label of a series, and why its values are a closed set. A new label is added here first.
CLOSED_SETS = {
    "cluster_id": "CLUSTER_ID: the cluster that a source watches, one value per process today",
    "source": "the names of the installed watchers",
    "outcome": "model.envelope.Outcome",
    "result": "done, failed; of Kubernetes Events: created, dropped, skipped, refused, failed",
    "operation": "create, update, status, delete",
    "reason": "buffer_full, shutdown; model.record.Reason; Expired, MadeRoom; headers_late, idle, made_way, refused, handshake",
    "severity": "model.finding.Severity",
    "phase": "model.record.Phase",
    "rule": "the names of the rules of a push watcher, and below-severity",
    "method": "the HTTP methods of kube.client",
    "code": "the HTTP status codes that an API server answers",
    "namespace": "of the longest refused: wiring.housekeeping.MOST_NAMESPACES at most",
    "cause": "store.retry_queue.Cause",
    "task": "the names that wiring/app.py gives: one per worker, source and kind",
}
BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_info")


def _named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _calls(file: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(_tree(file)) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    """Return the last part of the name that is called: create_task of asyncio.create_task."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _at(file: Path, node: ast.AST) -> str:
    return f"{_named(file)}:{getattr(node, 'lineno', 0)}"


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("file", CODE, ids=_named)
def test_a_file_can_be_read_in_one_sitting(file: Path) -> None:
    """400 lines at most; the entry point and the wiring have much less."""
    lines = len(file.read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES.get(_named(file), 400)


@pytest.mark.parametrize("file", [*CODE, *TESTS], ids=_named)
def test_a_file_begins_with_a_sentence(file: Path) -> None:
    """A reader knows from it what the module is for."""
    text = file.read_text(encoding="utf-8")
    docstring = ast.get_docstring(_tree(file)) if text.strip() else "An empty file needs none."

    assert docstring, "no docstring"
    assert file in TESTS or docstring.split("\n\n")[0].rstrip().endswith((".", ":"))


def _is_component(file: Path) -> bool:
    """Return whether one of its classes has to be started or stopped. A Protocol does not count, because it has no code."""
    classes = [node for node in ast.walk(_tree(file)) if isinstance(node, ast.ClassDef)]
    return any(
        method.name in LIFECYCLE or (isinstance(method, ast.AsyncFunctionDef) and any(_is_endless(node) for node in ast.walk(method)))
        for owner in classes
        if "Protocol" not in {getattr(parent, "id", "") for parent in owner.bases}
        for method in owner.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _is_endless(node: ast.AST) -> bool:
    return isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value is True


# Their docstrings draw what they join instead.
WIRING = {"zenwatch/wiring/app.py", "zenwatch/wiring/pipelines.py", "zenwatch/wiring/housekeeping.py"}
COMPONENTS = [file for file in CODE if _named(file) not in WIRING and _is_component(file)]


@pytest.mark.parametrize("file", COMPONENTS, ids=_named)
def test_a_component_has_four_labels_in_its_docstring(file: Path) -> None:
    """One sentence, then In:, Out:, Owns: and Stops:, each with a text."""
    docstring = ast.get_docstring(_tree(file)) or ""

    for label in ("In", "Out", "Owns", "Stops"):
        assert re.search(rf"(^|  ){label}: \S", docstring, re.MULTILINE), f"no {label}:"


def test_components_are_found_at_every_depth() -> None:
    """The test above is worth nothing if its list is not complete."""
    assert {"zenwatch/store/writer.py", "zenwatch/buffer/sqlite/spool.py", "zenwatch/sources/pull/informer.py"} <= set(
        map(_named, COMPONENTS)
    )


@pytest.mark.parametrize("file", [*CODE, *TESTS], ids=_named)
def test_a_file_is_named_after_its_content(file: Path) -> None:
    """A vague name collects code that belongs elsewhere."""
    assert not {file.stem, file.parent.name} & VAGUE_NAMES


# ---------------------------------------------------------------- errors and tasks


@pytest.mark.parametrize("file", CODE, ids=_named)
def test_only_the_supervisor_has_a_broad_except(file: Path) -> None:
    """The supervisor logs a bug and restarts the task; anywhere else a broad except would hide the bug."""
    broad = [
        _at(file, handler)
        for handler in ast.walk(_tree(file))
        if isinstance(handler, ast.ExceptHandler)
        for caught in (handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type])
        if caught is None or (isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"})
    ]

    assert _named(file) == "zenwatch/runtime/supervise.py" or broad == []


@pytest.mark.parametrize("file", CODE, ids=_named)
def test_only_two_modules_create_tasks(file: Path) -> None:
    """Each task has a name, and the module that creates it ends it."""
    born = [call for call in _calls(file) if _called(call) in {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}]

    assert _named(file) in TASK_MODULES or born == []
    assert all("name" in {keyword.arg for keyword in call.keywords} for call in born if _called(call) == "create_task")


@pytest.mark.parametrize("file", CODE, ids=_named)
def test_every_queue_is_bounded(file: Path) -> None:
    """With an unbounded queue, a slow store fills the memory until the process is killed."""
    queues = [call for call in _calls(file) if _called(call) in {"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"}]

    assert [_at(file, call) for call in queues if "maxsize" not in {keyword.arg for keyword in call.keywords}] == []


# ---------------------------------------------------------------- logs


def _log_calls(file: Path) -> Iterator[ast.Call]:
    """Yield calls of log.info and similar methods, also through a variable that holds such a method."""
    tree = _tree(file)
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(_is_log_method(part) for part in _choices(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in _calls(file):
        if _is_log_method(call.func) or (isinstance(call.func, ast.Name) and call.func.id in aliases):
            yield call


def _choices(value: ast.expr) -> list[ast.expr]:
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]


def _is_log_method(node: ast.expr) -> bool:
    """log.info, and self._log.info of a logger with bound keys."""
    if not isinstance(node, ast.Attribute) or node.attr not in LOG_METHODS:
        return False
    logger = node.value
    return (isinstance(logger, ast.Name) and logger.id == "log") or (isinstance(logger, ast.Attribute) and logger.attr == "_log")


LOGGING = [file for file in CODE if list(_log_calls(file))]


@pytest.mark.parametrize("file", LOGGING, ids=_named)
def test_a_log_line_has_a_constant_name(file: Path) -> None:
    """It is in snake case and never composed: a search for it finds the line of code."""
    for call in _log_calls(file):
        name = call.args[0] if len(call.args) == 1 else None
        assert isinstance(name, ast.Constant), f"{_at(file, call)}: the name is no constant, or there is another positional argument"
        assert SNAKE_CASE.fullmatch(str(name.value)), f"{_at(file, call)}: {name.value!r}"


@pytest.mark.parametrize("file", LOGGING, ids=_named)
def test_log_keys_are_of_one_list(file: Path) -> None:
    """zenwatch.log.KEYS; the only ** is a page of the ledger, whose keys the list has, too."""
    used = {keyword.arg for call in _log_calls(file) for keyword in call.keywords if keyword.arg}

    assert used <= log.KEYS


@pytest.mark.parametrize("file", CODE, ids=_named)
def test_loggers_carry_keys_of_that_list(file: Path) -> None:
    """get_logger(component=...) binds them to every line."""
    bound = {keyword.arg for call in _calls(file) if _called(call) in {"get_logger", "bind"} for keyword in call.keywords}

    assert bound <= log.KEYS


def test_the_ledgers_lines_are_log_keys() -> None:
    """A round logs its page unchanged."""
    assert set(Ledger(OutcomeLog(SystemClock())).page(Origin("local", "trivy"))) <= log.KEYS


# ---------------------------------------------------------------- metrics

SERIES = [series for _, series in inspect.getmembers(metrics) if isinstance(series, MetricWrapperBase)]


def _family(series: MetricWrapperBase) -> Metric:
    [family] = series.describe()
    return family


def _labels(series: MetricWrapperBase) -> Sequence[str]:
    # prometheus_client has no public name for them.
    return tuple(series._labelnames)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: _family(series).name)
def test_a_series_has_a_name_by_the_rules_of_prometheus(series: MetricWrapperBase) -> None:
    """zenwatch_<noun>_<unit>: the client library adds _total to counters, and times are in seconds."""
    name = _family(series).name

    assert name.startswith("zenwatch_")
    assert SNAKE_CASE.fullmatch(name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_created")), "the client library adds these"
    assert not re.search(r"_(ms|milliseconds|minutes|hours|kilobytes|megabytes|percent)(_|$)", name), "not a base unit"
    assert not isinstance(series, Histogram) or name.endswith(BASE_UNITS)
    assert isinstance(series, Counter | Gauge | Histogram)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: _family(series).name)
def test_a_series_has_a_description(series: MetricWrapperBase) -> None:
    """One sentence for the reader of a dashboard."""
    assert _family(series).documentation.endswith(".")


@pytest.mark.parametrize("series", [series for series in SERIES if _labels(series)], ids=lambda series: _family(series).name)
def test_every_label_takes_its_values_from_a_closed_set(series: MetricWrapperBase) -> None:
    """A label with names of resources would create a series per resource, until the memory is full."""
    assert set(_labels(series)) <= CLOSED_SETS.keys()


def test_every_series_is_declared_in_one_file() -> None:
    """One page shows all that is exported."""
    elsewhere = [
        _at(file, call)
        for file in CODE
        if _named(file) != "zenwatch/metrics.py"
        for call in _calls(file)
        if _called(call) in {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
    ]

    assert SERIES
    assert elsewhere == []


# ---------------------------------------------------------------- tests


@pytest.mark.parametrize("file", TESTS, ids=_named)
def test_no_module_imports_a_test_module(file: Path) -> None:
    """What two test modules need is in tests/support: a reader looks for it there, and a test can be renamed or removed alone."""
    names = {
        name
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (alias.name for alias in node.names)
    } | {node.module or "" for node in ast.walk(_tree(file)) if isinstance(node, ast.ImportFrom)}

    assert {name for name in names if re.match(r"tests\b.*\.test_", name)} == set()


# A folder with more than nine files is two subjects, but for these reasons.
MANY_FILES = {
    "tests/bench": "one module per figure of the README",
    "tests/cluster": "one module per promise that only a real API server can show",
    "tests/unit/cli": "one module per command, as in zenwatch/cli",
    "tests/unit/watchers": "tests of each tool: its forms, its corpus, any input",
    "tests/contract": "one suite and one module per Protocol",
    "zenwatch/kube": "one module per question that is put to an API server; HTTP itself has a folder",
    "zenwatch/web": "one module per subject of the server; what a webhook's body needs has a folder",
}
FOLDERS = sorted({file.parent for file in [*CODE, *TESTS]})


@pytest.mark.parametrize("folder", FOLDERS, ids=_named)
def test_a_folder_is_read_at_a_glance(folder: Path) -> None:
    """Nine files at most, or a reason: a tenth is a second subject, and begins a folder of its own."""
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]

    assert (len(files) > 9) == (_named(folder) in MANY_FILES)


@pytest.mark.parametrize("file", [file for file in TESTS if file.name.startswith("test_")], ids=_named)
def test_no_test_fails_because_the_machine_is_slow(file: Path) -> None:
    """No upper bound on measured time. tests/support/tasks.py ends a test that hangs, and counts and moved clocks hold the rest."""
    bounds = [
        _at(file, compare)
        for asserted in ast.walk(_tree(file))
        if isinstance(asserted, ast.Assert)
        for compare in ast.walk(asserted)
        if isinstance(compare, ast.Compare) and any(isinstance(operator, ast.Lt | ast.LtE) for operator in compare.ops)
        if {_called(call) for call in ast.walk(compare) if isinstance(call, ast.Call)}
        & {"monotonic", "perf_counter", "process_time", "time"}
    ]

    assert bounds == []
