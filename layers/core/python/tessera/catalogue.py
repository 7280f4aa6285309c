"""What a caller can ask for: the networks and formats of the engine, as data, and which of them this deployment has.

The engine's own catalogue says the same about the networks and knows their weights; a test keeps the two equal. API
functions have no engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from tessera.errors import Invalid
from tessera.recipe import ImageFormat
from tessera.settings import Settings

SCALES = (2, 3, 4, 8)  # of every network


@dataclass(frozen=True)
class Network:
    """`shipped`: its weights are part of the engine. The others are public files that a worker has fetched, or not."""

    name: str
    title: str
    description: str
    licence: str
    shipped: bool = False


@dataclass(frozen=True)
class FormatFacts:
    """Limits of one format in pixels, None where there is none below those of the deployment."""

    name: ImageFormat
    max_side: int
    max_pixels: int | None


@dataclass(frozen=True)
class Offer:
    """A network as this deployment has it: `reason` says why it is not available, `stand_in` which one runs instead."""

    network: Network
    available: bool
    reason: str | None
    stand_in: str | None
    default: bool


BSD = "BSD-3-Clause"

PHOTO = Network(
    "tessera-photo",
    "Tessera Photo",
    "Small and quick; for pictures of the web, with their blur, noise and JPEG.",
    "CC0-1.0",
    shipped=True,
)
FIDELITY = Network(
    "tessera-fidelity",
    "Tessera Fidelity",
    "Small and quick; closest to the truth where a picture was reduced well.",
    "CC0-1.0",
    shipped=True,
)
X4PLUS = Network("realesrgan-x4plus", "Real-ESRGAN", "Restores photographs and invents fine texture.", BSD)


def _general(strength: int) -> Network:
    return Network(
        f"realesr-general-x4v3-denoise-{strength}",
        f"Real-ESRGAN General, denoising {strength} %",
        f"{strength} % realesr-general-x4v3, {100 - strength} % its partner that leaves noise in.",
        BSD,
    )


def _mixed(texture: int) -> Network:
    return Network(
        f"realesrgan-x4plus-texture-{texture}",
        f"Real-ESRGAN, texture {texture} %",
        f"{texture} % RealESRGAN_x4plus, {100 - texture} % RealESRNet_x4plus.",
        BSD,
    )


NETWORKS = (
    PHOTO,
    FIDELITY,
    X4PLUS,
    Network("realesrnet-x4plus", "Real-ESRNet", "Restores photographs without inventing texture: soft.", BSD),
    Network("realesrgan-x4plus-anime", "Real-ESRGAN Anime", "For drawings: clean lines and flat colours.", BSD),
    Network("realesr-animevideov3", "Real-ESRGAN Anime Video", "For drawings in motion: small and calm.", BSD),
    Network("realesr-general-x4v3", "Real-ESRGAN General", "Restores photographs at a fifteenth of x4plus' work.", BSD),
    _general(50),
    _general(75),
    *(_mixed(texture) for texture in (20, 35, 50, 65, 75, 90)),
)
BY_NAME = {network.name: network for network in NETWORKS}

FORMATS = (
    FormatFacts("jpeg", 65_500, None),
    FormatFacts("png", 2**31 - 1, None),
    FormatFacts("webp", 16_383, 128_000_000),
    FormatFacts("avif", 32_768, 50_000_000),
    FormatFacts("tiff", 2**31 - 1, 1_000_000_000),
)
LOSSLESS_WEBP_PIXELS = 80_000_000

NO_FACES = "No face model is installed: faces are enlarged like the rest, and the file's notes say so."


def no_faces(settings: Settings) -> str | None:
    """Why faces are not restored; None where they are."""
    return None if settings.faces == "installed" else NO_FACES


def default(settings: Settings) -> Network:
    """The network of a request that names none."""
    return X4PLUS if settings.networks == "public" else PHOTO


def offers(settings: Settings) -> tuple[Offer, ...]:
    return tuple(_offer(settings, network) for network in NETWORKS)


def check(settings: Settings, name: str) -> Network:
    """The network of that name. Raises Invalid where there is none, or it is missing and none stands in for it."""
    network = BY_NAME.get(name)
    if network is None:
        raise Invalid("model: there is none of that name; /v1/models lists them")
    offer = _offer(settings, network)
    if not offer.available and offer.stand_in is None:
        raise Invalid(f"model: {offer.reason}")
    return network


def _offer(settings: Settings, network: Network) -> Offer:
    available = network.shipped or settings.networks == "public"
    stands_in = PHOTO.name if not available and settings.stand_in == "allow" else None
    reason = None if available else f"{network.name} is not installed on this deployment's worker"
    return Offer(network, available, reason, stands_in, network == default(settings))


def format_limits(kind: ImageFormat, lossless: bool) -> FormatFacts:
    facts = next(facts for facts in FORMATS if facts.name == kind)
    return FormatFacts(kind, facts.max_side, LOSSLESS_WEBP_PIXELS) if kind == "webp" and lossless else facts
