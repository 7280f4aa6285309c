"""Networks that an operator brings along: files in a folder, listed in its `models.toml` with what is known of them.

`python -m tessera_engine models add FILE --name NAME` reads a file with spandrel, measures what tiles need to know and
writes the entry. Nothing is used that is not listed, and no file whose SHA-256 is another than the listed one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tessera_engine.catalogue import File

if TYPE_CHECKING:
    from tessera_engine.tiling import Network

LIST = "models.toml"
ENDINGS = (".safetensors", ".pth")
HEAD = "# Own models: python -m tessera_engine models add FILE --name NAME\n"


class OwnModelsBroken(Exception):
    """`models.toml` cannot be read or says what it must not. For the operator: it names the file."""


class OwnWeights(BaseModel):
    """An entry of the list. `halo`: input pixels around a tile; the network's receptive radius where `exact`.

    `half_safe`: the architecture bears half precision, which is used on CUDA only, and checked for every tile.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,199}\.(safetensors|pth)$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture: str = Field(min_length=1, max_length=200)
    scale: Literal[2, 3, 4, 8]
    halo: int = Field(ge=0, le=2048)
    exact: bool
    generative: ClassVar[bool] = True  # nobody has said what it was trained for
    half_safe: bool
    licence: str = Field(default="not stated", max_length=200)
    description: str = Field(default="", max_length=500)

    @property
    def hashes(self) -> tuple[str, ...]:
        return (self.sha256,)

    @property
    def files(self) -> tuple[File, ...]:
        """What has to be pulled: nothing."""
        return ()

    @property
    def obstacle(self) -> str:
        """Why this cannot run here; empty when it can."""
        if not (folder() / self.file).is_file():
            return f"{self.file} is missing"
        if importlib.util.find_spec("torch") is None or importlib.util.find_spec("spandrel") is None:
            return "it runs on PyTorch by way of spandrel, which are not installed: pip install torch spandrel"
        return ""

    def load(self) -> Network:
        """ValueError when the file's bytes, or the network in it, are not the listed ones."""
        data = (folder() / self.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f"{self.file} is not the file that {LIST} lists: its SHA-256 differs")
        from tessera_engine.backends import spandrel  # here, so that nothing else needs it

        network = spandrel.load(self.file, data, halo=self.halo, half_safe=self.half_safe)
        if (network.scale, network.halo) != (self.scale, self.halo):
            raise ValueError(f"{self.file} is another network than {LIST} says")
        return network


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """TESSERA_OWN_MODELS, or ~/.local/share/tessera/models: no cache, what lies there cannot be fetched again."""
    chosen = environ.get("TESSERA_OWN_MODELS")
    return Path(chosen) if chosen else Path.home() / ".local" / "share" / "tessera" / "models"


def listed() -> dict[str, OwnWeights]:
    """Name to weights, as the folder's list says just now; empty without one. OwnModelsBroken when it is not sound."""
    path = folder() / LIST
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = [OwnWeights.model_validate(entry) for entry in content.pop("model", [])]
    except (OSError, ValueError, TypeError) as error:
        raise OwnModelsBroken(f"{path}: {error}") from error
    if content:
        raise OwnModelsBroken(f"{path}: {', '.join(content)}: every entry begins with [[model]]")
    if len(by_name := {entry.name: entry for entry in entries}) < len(entries):
        raise OwnModelsBroken(f"{path}: two entries have one name")
    return by_name


def add(source: Path, name: str, taken: Iterable[str], *, licence: str = "", description: str = "") -> OwnWeights:
    """Measure the network, copy the file into the folder and list it. ValueError when that cannot be."""
    if source.suffix not in ENDINGS:
        raise ValueError(f"{source.name}: only {' and '.join(ENDINGS)} are read")
    if name in taken or name in listed():
        raise ValueError(f"{name} is the name of another model")
    from tessera_engine.backends import spandrel

    data = source.read_bytes()
    entry = OwnWeights.model_validate(
        {"name": name, "file": source.name, "sha256": hashlib.sha256(data).hexdigest()}
        | spandrel.facts(source.name, data)
        | {key: value for key, value in {"licence": licence, "description": description}.items() if value}
    )
    target = folder() / entry.file
    if target.exists() and target.read_bytes() != data:
        raise ValueError(f"{target} is there already and is another file")
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, data)
    path = folder() / LIST
    before = path.read_text(encoding="utf-8") if path.is_file() else HEAD
    _write(path, (before.rstrip("\n") + "\n\n" + to_toml(entry)).encode())
    return entry


def to_toml(entry: OwnWeights) -> str:
    """JSON's strings are TOML's, but for the control character that JSON leaves as it is."""
    lines = (
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for key, value in entry.model_dump().items()
    )
    return "\n".join(("[[model]]", *lines, ""))


def _write(target: Path, data: bytes) -> None:
    """Under its name only once it is whole."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
