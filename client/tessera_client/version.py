"""The version: read by the build (pyproject.toml), by the User-Agent and by `tessera --version`."""

VERSION = "0.1.0"
