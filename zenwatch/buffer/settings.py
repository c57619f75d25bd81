"""Settings of the spool."""

from zenwatch.config.env import Bytes, EnvSettings, setting


class SpoolSettings(EnvSettings):
    """Where pushed events wait."""

    spool_dir: str = setting(
        "SPOOL_DIR",
        "",
        "the path of a folder; empty for none",
        "Pushed events are synced to disk there before they are acknowledged, and kept until they are stored. Empty: in memory only.",
    )
    spool_max_bytes: Bytes = setting(
        "SPOOL_MAX_BYTES",
        "512Mi",
        "a size such as 512Mi or 4Gi, from 1Mi to 1024Gi",
        "How many bytes of events the spool takes. A full one answers as a full buffer does.",
        ge=1024**2,
        le=1024**4,
    )
