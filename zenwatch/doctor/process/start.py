"""Check that `zenwatch run` would start with the settings that doctor has, and that all of them have an effect."""

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.process.checks import AREA
from zenwatch.errors import ConfigError
from zenwatch.web.server_config import server_config


def variable_checks(context: DoctorContext) -> list[Check]:
    """Also where a process answers: most likely it has the same variables."""
    if not context.unknown_settings:
        return []
    text = f"variables that look like settings and have no effect: {len(context.unknown_settings)}"
    return [Check(AREA, "variables", Level.WARN, text, tuple(map(str, context.unknown_settings)))]


def start_checks(context: DoctorContext) -> list[Check]:
    """Only where no process answers: a running process has settings of its own."""
    if not context.process.no_answer:
        return []
    try:
        server_config(context.settings, is_in_pod=context.is_in_pod, clock=context.clock)
    except ConfigError as exc:
        text = "zenwatch run would not start with the settings that doctor has"
        return [Check(AREA, "settings", Level.FAIL, text, (str(exc),))]
    return []
