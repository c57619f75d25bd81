"""zenwatch/config/core.py: the first wrong value ends the process with a sentence."""

import pytest

from zenwatch.config.env import EnvSettings, seconds_of
from zenwatch.errors import ConfigError
from zenwatch.model.finding import Severity
from zenwatch.sdk.settings import PushSettings, WatcherSettings, watcher_prefix
from zenwatch.wiring.settings import Settings

PUSH = {
    variable: field
    for variable, field in PushSettings.variables("FALCO_").items()
    if variable.endswith(("BUFFER_SIZE", "MAX_BODY", "RESOLVE_AFTER"))
}
VARIABLES = Settings.variables() | WatcherSettings.variables("TRIVY_") | PUSH

WRONG = {
    "CLUSTER_ID": ["-x", "a b", "x" * 64, "ä", "a/b"],
    "POD_NAMESPACE": ["Zen", "a_b", "-x", "x" * 64, "a.b"],
    "WATCH_INTERVAL": ["30", "0s", "99ms", "25h", "-1s", "1d", "s", "1h 30m", "nan", "9" * 400 + "s"],
    "WATCH_NAMESPACE": ["Shop", "a,-b", "*", "a b"],
    "BEHAVIOR_MODE": ["fast", "1"],
    "ROUND_TIMEOUT": ["60", "0s", "25h"],
    "API_RATE": ["0", "-1", "100001", "1.5"],
    "DEDUP_WINDOW": ["24", "1d", "all"],
    "RESOLVE_GRACE": ["10", "-1s", "25h"],
    "DEAD_LETTER_AFTER": ["0s", "25h", "soon"],
    "EVENT_TTL": ["7d", "168", "-1h"],
    "GC_RATE": ["0", "1001", "1.5"],
    "RECORD_BUDGET": ["9", "many", "10000001"],
    "RECORD_BUDGET_BYTES": ["1Ki", "200MB", "2048Gi"],
    "GROUP_BY_OWNER": ["perhaps", "2"],
    "ALLOW_SECOND": ["perhaps", "2"],
    "ALLOWED_HOSTS": ["zenwatch:8080", "http://zenwatch", "a b"],
    "HEADERS_TIMEOUT": ["10", "99ms", "11m"],
    "IDLE_TIMEOUT": ["120", "99ms", "25h"],
    "MAX_CONNECTIONS": ["0", "100001", "many"],
    "MAX_CONNECTIONS_PER_ADDRESS": ["0", "100001", "many"],
    "EMIT_EVENTS": ["perhaps", "2"],
    "FALCO_RESOLVE_AFTER": ["24", "0s", "8761h"],
    "FALCO_BUFFER_SIZE": ["0", "many", "1000001"],
    "FALCO_MAX_BODY": ["1023", "16MB", "16 Mi", "-1", "257Mi", "1.5Mi"],
    "LISTEN": ["8080", "localhost", ":65536", ":", "a b:80", "http://localhost:80", "::1:80"],
    "WEBHOOK_AUTH": ["token", "off"],
    "SPOOL_DIR": (),
    "SPOOL_MAX_BYTES": ["1Ki", "0", "2048Gi", "512MB"],
    "COALESCE_WINDOW": ["5", "-1s", "11m"],
    "METRICS_AUTH": ["token", "off"],
    "WEBHOOK_TIMEOUT": ["20", "0s", "11m"],
    **dict.fromkeys(("WEBHOOK_TOKEN_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"), ()),
    "TRIVY_ENABLED": ["perhaps", "2"],
    "TRIVY_MIN_SEVERITY": ["UNKNOWN", "high!", "1"],
    "TRIVY_NAMESPACE": ["Trivy", "a,b", "-x"],
    "TRIVY_SILENCE_AFTER": ["26", "0s", "8761h"],
    "WRITE_CONCURRENCY": ["0", "257", "-1", "1.5", "many"],
    "API_TIMEOUT": ["10", "999ms", "11m"],
    "RETRY_AFTER_MAX": ["60", "999ms", "11m"],
    "SHUTDOWN_TIMEOUT": ["20", "-1s", "601s"],
    "LOG_LEVEL": ["trace", "critical", "20"],
    "LOG_FORMAT": ["xml", "colour"],
}
RIGHT = {
    "CLUSTER_ID": ["a", "Prod-EU_1.x", "x" * 63],
    "POD_NAMESPACE": ["a", "kube-system", "x" * 63],
    "WATCH_INTERVAL": ["100ms", "24h", " 1m30s "],
    "WATCH_NAMESPACE": ["shop", "shop, payments,", "x" * 63],
    "BEHAVIOR_MODE": ["Conservative", "aggressive", "normal"],
    "ROUND_TIMEOUT": ["1s", "24h"],
    "API_RATE": ["1", "100000"],
    "DEDUP_WINDOW": ["24h", "90m"],
    "RESOLVE_GRACE": ["0s", "24h"],
    "DEAD_LETTER_AFTER": ["1s", "24h"],
    "EVENT_TTL": ["1h", "8760h"],
    "GC_RATE": ["1", "1000"],
    "RECORD_BUDGET": ["10", "10000000"],
    "RECORD_BUDGET_BYTES": ["1Mi", "1024Gi"],
    "GROUP_BY_OWNER": ["false", "Yes"],
    "ALLOW_SECOND": ["false", "Yes"],
    "ALLOWED_HOSTS": ["zenwatch.example.com, falco-gate"],
    "HEADERS_TIMEOUT": ["100ms", "10m"],
    "IDLE_TIMEOUT": ["100ms", "24h"],
    "MAX_CONNECTIONS": ["1", "100000"],
    "MAX_CONNECTIONS_PER_ADDRESS": ["1", "100000"],
    "EMIT_EVENTS": ["TRUE", "no"],
    "FALCO_RESOLVE_AFTER": ["1s", "8760h"],
    "FALCO_BUFFER_SIZE": ["1", "1000"],
    "FALCO_MAX_BODY": ["1Ki", "16Mi", "1048576", " 1Mi "],
    "LISTEN": [":8080", "127.0.0.1:0", "[::1]:8080", "zenwatch.test:443"],
    "WEBHOOK_AUTH": ["None", "required"],
    "SPOOL_DIR": ["/var/lib/zenwatch"],
    "SPOOL_MAX_BYTES": ["1Mi", "1024Gi"],
    "COALESCE_WINDOW": ["0s", "10m"],
    "METRICS_AUTH": ["NONE", "required"],
    "WEBHOOK_TIMEOUT": ["100ms", "10m"],
    **{file: ["/etc/zenwatch/it"] for file in ("WEBHOOK_TOKEN_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE")},
    "TRIVY_ENABLED": ["true", "FALSE", "no"],
    "TRIVY_MIN_SEVERITY": ["critical", "INFO", " Low "],
    "TRIVY_NAMESPACE": ["trivy-system"],
    "TRIVY_SILENCE_AFTER": ["1s", "8760h"],
    "WRITE_CONCURRENCY": ["1", "256"],
    "API_TIMEOUT": ["1s", "10m"],
    "RETRY_AFTER_MAX": ["1s", "10m"],
    "SHUTDOWN_TIMEOUT": ["0s", "10m"],
    "LOG_LEVEL": ["DEBUG", "warning"],
    "LOG_FORMAT": ["JSON", "text", "auto"],
}


def read(environment: dict[str, str]) -> EnvSettings:
    """As the class that knows the (first) variable would."""
    match next(iter(environment)).partition("_")[0]:
        case "TRIVY":
            return WatcherSettings.read(environment, prefix="TRIVY_")
        case "FALCO":
            return PushSettings.read(environment, prefix="FALCO_")
        case _:
            return Settings.read(environment)


def test_nothing_set_means_the_defaults() -> None:
    """Those of docs/specification.md, "Settings", and others that zenwatch adds."""
    settings = Settings.read({})

    assert (settings.cluster_id, settings.own_namespace) == ("local", "zenwatch")
    assert (settings.watch_interval_secs, settings.watch_namespaces, settings.behavior_mode) == (30.0, (), "normal")
    assert (settings.write_concurrency, settings.api_timeout_secs, settings.shutdown_timeout_secs) == (16, 30.0, 20.0)
    assert (settings.log_level, settings.log_format) == ("info", "auto")


@pytest.mark.parametrize("variable", list(VARIABLES))
def test_an_empty_variable_means_the_default(variable: str) -> None:
    """Manifests and shells set empty values where they mean nothing."""
    assert read({variable: " "}) in (Settings.read({}), WatcherSettings.read({}), PushSettings.read({}))


@pytest.mark.parametrize(("variable", "value"), [(variable, value) for variable, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_what_is_accepted(variable: str, value: str) -> None:
    """Whoever reads the sentence need not open the documentation."""
    with pytest.raises(ConfigError) as raised:
        read({variable: value})

    assert str(raised.value) == f"{variable} is {value!r}; expected {VARIABLES[variable].accepts}."


@pytest.mark.parametrize(("variable", "value"), [(variable, value) for variable, values in RIGHT.items() for value in values])
def test_what_the_readme_lists_as_accepted_is_accepted(variable: str, value: str) -> None:
    """The ends of each range, and upper and lower case where it makes no difference."""
    read({variable: value})


def test_every_setting_has_a_wrong_and_a_right_example_here() -> None:
    """A new setting is held to the same rules."""
    assert set(WRONG) == set(RIGHT) == set(VARIABLES)


def test_every_setting_says_what_it_accepts_and_means() -> None:
    """The README's table and the errors are made of this."""
    assert all(field.accepts and field.meaning for field in VARIABLES.values())


def test_all_wrong_values_are_reported_at_once() -> None:
    """One start instead of three."""
    with pytest.raises(ConfigError) as raised:
        Settings.read({"LOG_LEVEL": "x", "WRITE_CONCURRENCY": "0", "CLUSTER_ID": "ok"})

    assert [line.split()[0] for line in str(raised.value).splitlines()] == ["LOG_LEVEL", "WRITE_CONCURRENCY"]


def test_other_variables_are_no_business_of_ours() -> None:
    """An environment is full of them."""
    Settings.read({"PATH": "/bin", "cluster_id": "-", "own_namespace": "-"})


@pytest.mark.parametrize(("duration", "secs"), [("45s", 45), ("2m", 120), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("0s", 0)])
def test_durations_are_written_as_go_writes_them(duration: str, secs: float) -> None:
    """A number carries its unit."""
    assert seconds_of(duration) == secs


@pytest.mark.parametrize("duration", ["", "30", "s", "1 s", "-1s", "1d", "1s!", "1e3s", ".5s"])
def test_anything_else_is_no_duration(duration: str) -> None:
    """30 could be seconds or milliseconds: we do not guess."""
    with pytest.raises(ValueError, match="not a duration"):
        seconds_of(duration)


def test_a_watcher_has_defaults_of_its_own_that_a_variable_overrides() -> None:
    """kube-bench's variables begin with KUBE_BENCH_."""
    prefix = watcher_prefix("kube-bench")
    defaults = {"KUBE_BENCH_MIN_SEVERITY": "HIGH", "KUBE_BENCH_NAMESPACE": "kube-bench"}

    own = WatcherSettings.read({"KUBE_BENCH_MIN_SEVERITY": "low"}, prefix=prefix, defaults=defaults)

    assert (own.enabled, own.min_severity, own.namespace) == (True, Severity.LOW, "kube-bench")


def test_an_unknown_behavior_mode_ends_the_start_with_the_three() -> None:
    """A user who mistypes a mode learns which ones there are (docs/specification.md, "Settings")."""
    with pytest.raises(ConfigError, match=r"BEHAVIOR_MODE is 'turbo'; expected one of normal, conservative, aggressive\."):
        Settings.read({"BEHAVIOR_MODE": "turbo"})


def test_conservative_is_four_times_gentler_and_aggressive_three_times_as_frequent() -> None:
    """Both start from what the user set."""
    given = {"WATCH_INTERVAL": "60s", "WRITE_CONCURRENCY": "10", "API_RATE": "400"}

    gentle = Settings.read(given | {"BEHAVIOR_MODE": "conservative"}).paced()
    eager = Settings.read(given | {"BEHAVIOR_MODE": "aggressive"}).paced()

    assert (gentle.watch_interval_secs, gentle.write_concurrency, gentle.api_rate) == (240.0, 2, 100)
    assert (eager.watch_interval_secs, eager.write_concurrency, eager.api_rate) == (20.0, 10, 400)
    assert Settings.read(given).paced() == Settings.read(given)
