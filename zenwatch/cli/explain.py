"""`zenwatch explain`: what became of one event, and why."""

import argparse
import asyncio
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zenwatch.cli.cluster import add_cluster_options, cluster_if_named
from zenwatch.errors import ConfigError, ZenwatchError, first_line
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.settings import Settings
from zenwatch.store.crd import CrdStore

PATIENCE_SECS = 10.0


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Tell what became of one event: from the process that runs, which remembers the last ones, and from the record where a cluster is "
        "named. The process is asked where LISTEN says, with a token of WEBHOOK_TOKEN_FILE. Exit code 1: nothing is known of it."
    )
    command.add_argument("query", metavar="KEY|NAME|AUDIT-ID", help="a record's spec.key or name, or an audit event's auditID")
    command.add_argument("--url", help="where zenwatch listens (default: by LISTEN and TLS_CERT_FILE, on this machine)")
    command.add_argument("--ca-file", metavar="FILE", help="the authorities of its certificate (default: those of the system)")
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    fates = _ask_process(parsed, settings)
    cluster = cluster_if_named(parsed)
    records = asyncio.run(_find_records(settings, cluster, parsed.query)) if cluster else []
    for fate in fates or ():
        record = f", record {fate['name']}" if fate["name"] else ""
        print(f"process   {fate['source']}: {fate['outcome']} at {fate['at']}{record}\n          {fate['why']}")
    for found in records:
        _print_record(found)
    if not cluster:
        print("Name a cluster (--kubeconfig, --context or KUBECONFIG) to see the record as well.", file=sys.stderr)
    if not fates and not records:
        print(f"Nothing is known of {parsed.query!r}.", file=sys.stderr)
        return 1
    return 0


def _ask_process(parsed: argparse.Namespace, settings: Settings) -> list[dict[str, str]] | None:
    """None: there is no process that could be asked; stderr says why."""
    url = parsed.url or _url_of(settings)
    request = urllib.request.Request(f"{url.rstrip('/')}/explain?{urllib.parse.urlencode({'q': parsed.query})}")  # noqa: S310  theirs
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--url is {url!r}; expected an address such as http://127.0.0.1:8080.")
    if token := _token_of(settings):
        request.add_header("Authorization", f"Bearer {token}")
    tls = ssl.create_default_context(cafile=parsed.ca_file) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS, context=tls) as answer:  # noqa: S310
            fates: list[dict[str, str]] = json.load(answer)
            return fates
    except urllib.error.HTTPError as exc:
        reason = exc.read(300).decode(errors="replace").strip()
    except (OSError, ValueError) as exc:
        # urllib wraps what happened.
        cause = getattr(exc, "reason", exc)
        reason = first_line(cause) if isinstance(cause, Exception) else str(cause)
    print(f"zenwatch: no answer from {url}: {reason}", file=sys.stderr)
    return None


def _url_of(settings: Settings) -> str:
    port = settings.listen.port if settings.listen else 8080
    host = settings.listen.host if settings.listen and settings.listen.host else "127.0.0.1"
    scheme = "https" if settings.tls_cert_file else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _token_of(settings: Settings) -> str:
    if not settings.webhook_token_file:
        return ""
    try:
        return next((line.strip() for line in Path(settings.webhook_token_file).read_text().splitlines() if line.strip()), "")
    except OSError as exc:
        raise ConfigError(f"WEBHOOK_TOKEN_FILE is {settings.webhook_token_file!r}: {exc.strerror}.") from exc


async def _find_records(settings: Settings, cluster: Access, query: str) -> list[Mapping[str, Any]]:
    client = KubeClient(cluster, timeout_secs=settings.api_timeout_secs, connections=2)
    store = CrdStore(client, cluster_id=settings.cluster_id, own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces)
    try:
        return [record async for record in store.find(query)]
    except ZenwatchError as exc:
        print(f"zenwatch: the records could not be read: {first_line(exc)}", file=sys.stderr)
        return []
    finally:
        await client.close()


def _print_record(record: Mapping[str, Any]) -> None:
    metadata, spec, status = record["metadata"], record["spec"], record.get("status") or {}
    print(f"record    {metadata['namespace']}/{metadata['name']}: {status.get('phase', 'Open')}, {spec['severity']}, {spec['title']}")
    seen = f", last seen {status['lastSeen']}" if status.get("lastSeen") else ""
    print(f"          reported {status.get('count', 1)} times, detected {spec['detectedAt']}, stored {metadata['creationTimestamp']}{seen}")
    rule = spec.get("details", {}).get("rule")
    print(f"          source {spec['source']}, key {spec['key']}" + (f", rule {rule}" if rule else ""))
