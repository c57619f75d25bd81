"""zenwatch/config/unknown.py: variables that look like settings, and are none."""

import pytest

from zenwatch.wiring.plugins import installed_watchers, unknown_settings, variables_of
from zenwatch.wiring.settings import Settings

# What Kubernetes sets for a Service with two ports.
OF_A_SERVICE = (
    "{}_SERVICE_HOST",
    "{}_SERVICE_PORT",
    "{}_SERVICE_PORT_HTTP",
    "{}_SERVICE_PORT_GRPC_TLS",
    "{}_PORT",
    "{}_PORT_8080_TCP",
    "{}_PORT_8080_TCP_PROTO",
    "{}_PORT_8080_TCP_PORT",
    "{}_PORT_8080_TCP_ADDR",
    "{}_PORT_53_UDP_ADDR",
)
SERVICES = (
    "FALCO",
    "FALCO_FALCOSIDEKICK",
    "TRIVY",
    "TRIVY_OPERATOR",
    "KYVERNO_SVC",
    "AUDIT",
    "WEBHOOK",
    "ZENWATCH",
    "RECORD_STORE",
    "SPOOL",
    "GC",
)
# Variables of the tools themselves, from their documentation.
OF_TOOLS = {
    "trivy": "CACHE_DIR CONFIG DEBUG DB_REPOSITORY JAVA_DB_REPOSITORY EXIT_CODE FORMAT IGNORE_UNFIXED IGNOREFILE INCLUDE_NAMESPACES "
    "EXCLUDE_NAMESPACES INSECURE LIST_ALL_PKGS MISCONFIG_SCANNERS NO_PROGRESS OFFLINE_SCAN OUTPUT PASSWORD PKG_TYPES PLATFORM QUIET "
    "REGISTRY_TOKEN REPORT RUN_AS_PLUGIN SCANNERS SECRET_CONFIG SECURITY_CHECKS SERVER SEVERITY SKIP_DB_UPDATE SKIP_DIRS SKIP_FILES "
    "TEMPLATE TIMEOUT TOKEN TOKEN_HEADER USERNAME VULN_TYPE VULN_SEVERITY_SOURCE NON_SSL AUTH_URL GITHUB_TOKEN",
    "falco": "BPF_PROBE CGROUP_MEM_PATH DRIVER_LOADER_OPTIONS FRONTEND GRPC_HOSTNAME HOSTNAME VERSION SKIP_DRIVER_LOADER K8S_NODE_NAME",
    "kyverno": "DEPLOYMENT POD_NAME ROLE_NAME SERVICEACCOUNT_NAME SVC VERSION",
    "kube-bench": "BENCHMARK CONFIG CONFIG_DIR VERSION PGSQL_HOST PGSQL_PASSWORD",
    "checkov": "CHECK CONFIG_FILE EXTERNAL_CHECKS_DIR OUTPUT RUN_SCA_PACKAGE_SCAN TIMEOUT VERSION",
}
OF_OTHERS = (
    *("PATH", "HOME", "TERM", "LANG", "HOSTNAME", "NO_COLOR", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "LISTEN_FDS", "LISTEN_PID"),
    *("LOG_FILE", "API_KEY", "API_URL", "TLS_CA", "POD_NAME", "POD_IP", "MY_POD_NAMESPACE", "NODE_NAME", "CLUSTER_NAME", "METRICS_PORT"),
    *("EVENT_SOURCE", "GROUP", "WATCHMAN_SOCK", "SSL_CERT_FILE", "ZENWATCH_CORPUS", "TRIVIAL", "http_proxy"),
)


def found(**environment: str) -> dict[str, str]:
    """The nearest setting by name of an unknown variable."""
    return {unknown.name: unknown.nearest for unknown in unknown_settings(environment)}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("TRIVY_MINSEVERITY", "TRIVY_MIN_SEVERITY"),
        ("TRIVY_SEVERTIY", "TRIVY_MIN_SEVERITY"),
        ("TRVIY_MIN_SEVERITY", "TRIVY_MIN_SEVERITY"),
        ("trivy_min_severity", "TRIVY_MIN_SEVERITY"),
        ("FALCO_MIN_SEVERTY", "FALCO_MIN_SEVERITY"),
        ("FALCO_SILENT_AFTER", "FALCO_SILENCE_AFTER"),
        ("KYVERNO_ENABLE", "KYVERNO_ENABLED"),
        ("CHECKOV_NAMESPACES", "CHECKOV_NAMESPACE"),
        ("KUBE_BENCH_SILENCEAFTER", "KUBE_BENCH_SILENCE_AFTER"),
        ("KUBEBENCH_MIN_SEVERITY", "KUBE_BENCH_MIN_SEVERITY"),
        ("AUDIT_RULESFILE", "AUDIT_RULES_FILE"),
        ("AUDIT_RULES", "AUDIT_RULES_FILE"),
        ("AUDIT_COLOUR", ""),
        ("WEBHOOK_TOKEN", "WEBHOOK_TOKEN_FILE"),
        ("SPOOL_DIRECTORY", "SPOOL_DIR"),
        ("SPOOL_MAXBYTES", "SPOOL_MAX_BYTES"),
        ("RECORD_BUDGETS", "RECORD_BUDGET"),
        ("GC_RATES", "GC_RATE"),
        ("WATCH_NAMESPACES", "WATCH_NAMESPACE"),
        ("ZENWATCH_LOG_LEVEL", "LOG_LEVEL"),
        ("GROUP_BY_OWNERS", "GROUP_BY_OWNER"),
    ],
)
def test_a_mistyped_setting_is_found_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    """Without a word its value would have no effect."""
    assert found(**{typed: "HIGH"}) == {typed: meant}


def test_what_zenwatch_reads_is_known() -> None:
    """Every setting of the process and of all watchers."""
    watchers = installed_watchers()
    read = {*Settings.variables(), *(variable for watcher in watchers for variable in variables_of(watcher))}

    assert found(**dict.fromkeys(read, "x")) == {}


@pytest.mark.parametrize("service", SERVICES)
def test_variables_of_services_are_nobodys_mistake(service: str) -> None:
    """Kubernetes sets them in every pod of the namespace."""
    assert found(**{variable.format(service): "10.0.0.1" for variable in OF_A_SERVICE}) == {}


@pytest.mark.parametrize("tool", OF_TOOLS)
def test_variables_of_the_tools_are_nobodys_mistake(tool: str) -> None:
    """zenwatch may run beside them, with their environment."""
    prefix = tool.upper().replace("-", "_")

    assert found(**{f"{prefix}_{variable}": "x" for variable in OF_TOOLS[tool].split()}) == {}


def test_variables_of_others_are_nobodys_mistake() -> None:
    """A machine has dozens."""
    assert found(**dict.fromkeys(OF_OTHERS, "x")) == {}


def test_an_empty_variable_is_no_setting() -> None:
    """As for settings: a manifest may set it to nothing."""
    assert found(TRIVY_MINSEVERITY=" ", SPOOL_X="") == {}
