"""`zenwatch crds`: input for `kubectl apply -f -`."""

import yaml

from tests.support.terminal import Zenwatch


def test_both_definitions_are_printed_as_documents_of_their_own(zenwatch: Zenwatch) -> None:
    """Without a separator the second would overwrite the first."""
    shown = zenwatch("crds")

    printed = list(yaml.safe_load_all(shown.out))
    assert shown.code == 0
    assert [(crd["kind"], crd["metadata"]["name"]) for crd in printed] == [
        ("CustomResourceDefinition", "zenagentevents.zen.kube-zen.io"),
        ("CustomResourceDefinition", "zenagentremediations.zen.kube-zen.io"),
    ]
