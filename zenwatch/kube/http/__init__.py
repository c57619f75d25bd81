"""One request to an API server, and what its answer means.

aiohttp is imported here first, without what zenwatch never uses (decisions/0012): the certificates of the system, because every
connection brings its own TLS context, and the C part of frozenlist, because no list is frozen often.
"""

import os

_LEAN = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull, "FROZENLIST_NO_EXTENSIONS": "1"}


def _import_aiohttp() -> None:
    """Import it with these variables set, and set them back: later TLS contexts load the certificates that the user names."""
    before = {name: os.environ.get(name) for name in _LEAN}
    os.environ.update(_LEAN)
    try:
        import aiohttp  # noqa: F401, PLC0415  the first import decides
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_import_aiohttp()
