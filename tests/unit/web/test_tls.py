"""zenwatch/web/tls.py: the certificate that clients are shown."""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import trustme
from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.tasks import background, until
from tests.support.web.certificates import client_context, write_certificate
from zenwatch.web.tls import Certificate


async def test_a_changed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    """cert-manager renews it every few weeks. Half a pair changes nothing."""
    authority, clock = trustme.CA(), FakeClock()
    paths = write_certificate(authority, tmp_path, "old.test")
    watched = Certificate(paths["cert"], paths["key"], "", clock=clock)
    with capture_logs() as logged:
        async with background(watched.watch):
            old = _served_name(authority, watched.context)
            Path(paths["cert"]).write_text("half a pair")  # noqa: ASYNC240  a small file
            await clock.pass_one_wait()
            await until(lambda: [line["event"] for line in logged] == ["certificate_not_read"])
            still_old = _served_name(authority, watched.context)
            write_certificate(authority, tmp_path, "new.test")
            await clock.pass_one_wait()
            await until(lambda: [line["event"] for line in logged][-1:] == ["certificate_read_again"])
            new = _served_name(authority, watched.context)

    assert (old, still_old, new) == ("old.test", "old.test", "new.test")
    assert "half a pair" not in str(logged)


def _served_name(authority: trustme.CA, server: ssl.SSLContext) -> str:
    """The name in the certificate that a client is shown: a handshake in memory."""
    client = client_context(authority)
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for end in ends * 4:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    certificate = ends[0].getpeercert() or {}
    names: Any = certificate["subjectAltName"]
    return str(names[0][1])
