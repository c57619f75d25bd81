"""Find environment variables that look like settings of zenwatch, and are none: most likely somebody mistyped one.

Others share the environment: Kubernetes sets variables for every Service, and the tools have variables of their own.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

# Nobody else is known to use these: whatever begins with one of them is meant for zenwatch.
OWN_PREFIXES = ("AUDIT_", "COALESCE_", "DEDUP_", "GC_", "RECORD_", "SPOOL_", "WEBHOOK_")
# Behind a watcher's prefix stand the tool's own variables, too, so that only what resembles a setting counts. Guesses, tried with the
# variables of the tools: TRIVY_MINSEVERITY resembles TRIVY_MIN_SEVERITY, TRIVY_INCLUDE_NAMESPACES does not resemble TRIVY_NAMESPACE.
LIKE_A_SETTING, LIKE_A_WHOLE_NAME, WORTH_NAMING = 0.7, 0.9, 0.5
# What Kubernetes sets for the Services of the namespace: WEBHOOK_SERVICE_HOST, WEBHOOK_PORT, WEBHOOK_PORT_80_TCP_ADDR.
_OF_A_SERVICE = re.compile(r".+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_PROJECT = "ZENWATCH_"


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """nearest: the setting that was probably meant; empty: none resembles it."""

    name: str
    nearest: str

    @property
    def reason(self) -> str:
        hint = f"did you mean {self.nearest}?" if self.nearest else "`zenwatch settings` lists those that it reads"
        return f"zenwatch reads no variable of this name; {hint}"

    def __str__(self) -> str:
        return f"{self.name} has no effect: {self.reason}"


def unknown_variables(
    environment: Mapping[str, str], known: Collection[str], *, tool_prefixes: Collection[str] = (), of_tools: Collection[str] = ()
) -> Iterator[UnknownVariable]:
    """Sorted. known: all that zenwatch reads. tool_prefixes: those of the watchers. of_tools: variables of the tools that resemble ours."""
    prefixes = (*OWN_PREFIXES, *tool_prefixes)
    for name in sorted(environment):
        is_foreign = name in known or name in of_tools or _OF_A_SERVICE.fullmatch(name)
        if is_foreign or not environment[name].strip():
            continue
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        nearest, likeness = _nearest(name, prefix, known)
        if prefix in OWN_PREFIXES or likeness >= (LIKE_A_SETTING if prefix else LIKE_A_WHOLE_NAME):
            yield UnknownVariable(name, nearest if likeness >= WORTH_NAMING else "")


def _nearest(name: str, prefix: str, known: Collection[str]) -> tuple[str, float]:
    """The setting that resembles the name most, and how much: 1 where only case or the project's own prefix differ."""
    plain = name.upper().removeprefix(_PROJECT)
    if plain in known:
        return plain, 1.0
    own = {each.removeprefix(prefix): each for each in known if each.startswith(prefix)}
    [nearest] = get_close_matches(plain.removeprefix(prefix), own, n=1, cutoff=0.0) or [""]
    return own.get(nearest, ""), SequenceMatcher(None, nearest, plain.removeprefix(prefix)).ratio()
