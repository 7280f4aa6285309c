from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tessera_engine import catalogue, models, tiling
from tessera_engine.backends import torch as backend
from tessera_engine.backends.torch import TorchNetwork
from tessera_engine.errors import NetworkFault

from tests.torch import reference
from tests.torch.support import FOLDER, FOUND, SMALL, drawn, saved, scene

CPU = torch.device("cpu")
WHOLE = 100_000


@pytest.fixture(params=list(SMALL))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FOUND, ids=[path.name for path in FOUND])
def real(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def enlarge(network: tiling.Network, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return tiling.enlarge(network, pixels, tile=64, done=lambda _: None)


def levels_apart(got: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> int:
    assert got.shape == wanted.shape
    return int(np.abs(got.astype(int) - wanted).max())


# ---------------------------------------------------------------- drawn weights
@pytest.mark.parametrize("size", [(61, 48), (64, 47), (5, 9), (1, 7), (2, 1), (1, 1)])
@pytest.mark.parametrize("side", [WHOLE, 40, backend.SMALLEST])
def test_it_is_the_forward_pass_at_every_size(kind: str, size: tuple[int, int], side: int) -> None:
    net, pixels = drawn(kind), scene(*size)
    wanted = reference.enlarge(net.state_dict(), pixels)
    assert levels_apart(enlarge(TorchNetwork(net, CPU, side=side), pixels), wanted) == 0


def test_single_precision_is_enough(kind: str) -> None:
    net, pixels = drawn(kind), scene(40, 31)
    exact = reference.values(net.state_dict(), pixels, torch.float64).clamp(0, 1).mul(255)[0].permute(1, 2, 0).numpy()
    assert np.abs(enlarge(TorchNetwork(net, CPU), pixels) - exact).max() < 0.501


@pytest.mark.parametrize("halved", [False, True])
def test_samples_of_16_bits(kind: str, halved: bool) -> None:
    """To the nearest of 65,535, give or take what float32 holds; with a network in half precision too."""
    net = drawn(kind)
    pixels = np.random.default_rng(4).integers(0, 65_536, (31, 40, 3), dtype=np.uint16)
    values = reference.values(net.state_dict(), pixels, torch.float64, 65_535).clamp(0, 1)
    if halved:
        values = torch.nn.functional.avg_pool2d(values, 2)
    wanted = values.mul(65_535)[0].permute(1, 2, 0).numpy()
    tiles = [
        tiling.enlarge(TorchNetwork(net, CPU, half=half, halved=halved, side=side), pixels, tile=0, done=lambda _: None)
        for side, half in ((WHOLE, True), (backend.SMALLEST, False))
    ]
    assert tiles[0].dtype == np.uint16 and np.abs(tiles[0] - wanted).max() < 0.6
    assert np.array_equal(*tiles)


@pytest.mark.parametrize("side", [backend.SMALLEST, 45, 64, 90])
def test_tiles_do_not_show(kind: str, side: int) -> None:
    net, pixels = drawn(kind), scene(151, 122)
    whole = enlarge(TorchNetwork(net, CPU, side=WHOLE), pixels)
    assert levels_apart(enlarge(TorchNetwork(net, CPU, side=side), pixels), whole) == 0


def test_the_halo_is_no_wider_than_the_network_sees(kind: str) -> None:
    """One changed pixel reaches as far as the halo says, pairs of pixels apart that pixel-unshuffle binds together.

    The gradient is looked at, whose zeros are exact: behind the radius nothing is multiplied with anything.
    """
    net = drawn(kind)
    network = TorchNetwork(net, CPU)
    far = network.halo + 2 * network.align
    side = 2 * far + network.align
    picture = torch.rand(1, 3, side, side, requires_grad=True)
    middle = net(picture)[:, :, far * network.scale : (far + 1) * network.scale, far * network.scale :]
    middle[:, :, :, : network.scale].square().sum().backward()
    assert picture.grad is not None
    reached = picture.grad.abs().sum((0, 1)).nonzero()
    assert far - int(reached.min()) <= network.halo
    assert int(reached.max()) - far <= network.halo
    assert far - int(reached.min()) == network.halo


def test_the_tail_in_strips_is_the_tail(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, pixels = drawn(kind), scene(50, 41)
    whole = enlarge(TorchNetwork(net, CPU), pixels)
    monkeypatch.setattr(backend, "STRIP_MEMORY", 3 * 50 * net.tail_values * 4)
    assert len(backend.strips_of(0, 41, 50 * net.tail_values * 4)) == 14
    assert levels_apart(enlarge(TorchNetwork(net, CPU), pixels), whole) == 0


@pytest.mark.parametrize("side", [WHOLE, 19])
def test_halved_is_the_mean_of_four(side: int) -> None:
    net, pixels = drawn("compact x4"), scene(45, 37)
    network = TorchNetwork(net, CPU, halved=True, side=side)
    assert network.scale == 2
    assert levels_apart(enlarge(network, pixels), reference.enlarge(net.state_dict(), pixels, halved=True)) == 0


def test_the_plain_tile_interface_takes_a_mirrored_halo(kind: str) -> None:
    network = TorchNetwork(drawn(kind), CPU)
    halo = tiling.Padding.all(network.halo)
    pixels = scene(30, 26)
    tile = tiling.Region(0, 0, 30, 26).add_padding(halo).read(pixels)
    inner = slice(network.halo * network.scale, -network.halo * network.scale)
    wanted = reference.enlarge(drawn(kind).state_dict(), tile)[inner, inner]
    assert levels_apart(network.enlarge(tile), wanted) == 0


# ---------------------------------------------------------------- when something fails
class Failing:
    """Stands before a network's `features`: raises for large tiles, or spoils the first answers."""

    def __init__(self, net: Any, *, limit: int = 10**9, spoilt: int = 0) -> None:
        self.features, self.limit, self.spoilt, self.asked = net.features, limit, spoilt, 0

    def __call__(self, picture: Any) -> Any:
        self.asked += 1
        if picture.shape[2] * picture.shape[3] > self.limit:
            raise torch.OutOfMemoryError("too large")
        features = self.features(picture)
        return features * float("nan") if self.asked <= self.spoilt else features


def test_without_enough_memory_tiles_become_smaller_and_nothing_shows(kind: str) -> None:
    net, pixels = drawn(kind), scene(151, 122)
    whole = enlarge(TorchNetwork(net, CPU), pixels)
    network = TorchNetwork(net, CPU)
    before = network.side
    network.net.features = failing = Failing(net, limit=120**2)
    told: list[int] = []
    assert levels_apart(tiling.enlarge(network, pixels, tile=64, done=told.append), whole) == 0
    assert network.side < before and failing.asked > 1
    assert sum(told) >= 151 * 122


def test_no_memory_at_all_is_told(kind: str) -> None:
    network = TorchNetwork(drawn(kind), CPU)
    network.net.features = Failing(network.net, limit=0)
    with pytest.raises(NetworkFault, match="memory"):
        enlarge(network, scene(100, 80))


def test_numbers_that_are_not_finite_are_computed_again_in_single_precision(kind: str) -> None:
    net, pixels = drawn(kind), scene(40, 33)
    network = TorchNetwork(net, CPU)
    whole = enlarge(network, pixels)
    network.half = drawn(kind).eval().to(memory_format=torch.channels_last)
    network.half.features = failing = Failing(network.half, spoilt=1)
    assert levels_apart(enlarge(network, pixels), whole) == 0
    assert failing.asked == 1


def test_numbers_that_stay_not_finite_are_no_picture(kind: str) -> None:
    network = TorchNetwork(drawn(kind), CPU)
    network.net.features = Failing(network.net, spoilt=10)
    with pytest.raises(NetworkFault, match="finite"):
        enlarge(network, scene(40, 33))


def test_all_but_the_last_convolution_is_made_half(kind: str) -> None:
    net = backend.except_last_half(drawn(kind))
    last = set(net.last.parameters())
    assert all((p.dtype == torch.float32) == (p in last) for p in net.parameters())
    pixels = scene(40, 33)
    network = TorchNetwork(drawn(kind), CPU, half=True)
    exact = enlarge(TorchNetwork(drawn(kind), CPU), pixels)
    assert 0 < levels_apart(enlarge(network, pixels), exact) <= 4


# ---------------------------------------------------------------- files
def state_of(kind: str, seed: int) -> Mapping[str, Any]:
    state: Mapping[str, Any] = drawn(kind, seed).state_dict()
    return state


@pytest.mark.parametrize("key", ["params_ema", "params", None])
def test_the_official_layouts_are_read(kind: str, key: str | None) -> None:
    state = state_of(kind, 3)
    content = {"params": state_of(kind, 4), key: state} if key == "params_ema" else {key: state} if key else state
    network = backend.load((("net.pth", saved(content)),), 1.0, device="cpu")
    pixels = scene(21, 18)
    assert levels_apart(enlarge(network, pixels), reference.enlarge(state, pixels)) == 0


def test_safetensors_are_read(kind: str) -> None:
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in state_of(kind, 3).items()})
    network = backend.load((("net.safetensors", data),), 1.0, device="cpu")
    pixels = scene(21, 18)
    assert levels_apart(enlarge(network, pixels), reference.enlarge(state_of(kind, 3), pixels)) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_blend_is_the_network_of_the_blended_parameters(kind: str, share: float) -> None:
    one, other = state_of(kind, 3), state_of(kind, 4)
    files = (("one.pth", saved({"params": one})), ("other.pth", saved({"params_ema": other})))
    blended = {name: share * one[name] + (1 - share) * other[name] for name in one}
    pixels = scene(30, 22)
    wanted = reference.enlarge(blended, pixels)
    assert levels_apart(enlarge(backend.load(files, share, device="cpu"), pixels), wanted) == 0
    if share in (0.0, 1.0):
        assert levels_apart(wanted, reference.enlarge(one if share else other, pixels)) == 0


def test_what_cannot_be_blended_is_refused() -> None:
    with pytest.raises(ValueError, match="one architecture"):
        backend.blended(state_of("compact x4", 3), state_of("RRDB x4", 3), 0.5)
    with pytest.raises(ValueError, match="0 to 1"):
        backend.blended(state_of("compact x4", 3), state_of("compact x4", 4), 1.5)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code of the file was run')",))


def test_a_file_with_code_in_it_is_not_run() -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        backend.load((("net.pth", saved({"params": Evil()})),), 1.0, device="cpu")


def test_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no RRDBNet"):
        backend.load((("net.pth", saved({"params": {"layer.weight": torch.zeros(3)}})),), 1.0, device="cpu")
    state = dict(state_of("compact x4", 3))
    del state["body.2.bias"]
    with pytest.raises(RuntimeError, match=r"body\.2\.bias"):
        backend.build(state)


# ---------------------------------------------------------------- from the catalogue
@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> models.Pulled:
    """A small network as the catalogue lists one, its file in the cache."""
    monkeypatch.setenv("TESSERA_MODELS", str(tmp_path))
    data = saved({"params": state_of("compact x4", 3)})
    (tmp_path / "small.pth").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return models.Pulled((catalogue.File("small.pth", "nowhere", len(data), digest, "compact", 4, 5),))


def test_a_listed_file_runs(pulled: models.Pulled) -> None:
    pixels = scene(33, 20)
    wanted = reference.enlarge(state_of("compact x4", 3), pixels)
    assert pulled.obstacle == ""
    assert levels_apart(enlarge(models.network(pulled), pixels), wanted) == 0


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_wrong_byte_is_refused_before_anything_is_read(
    pulled: models.Pulled, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = catalogue.cache_directory() / "small.pth"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    models.checked.cache_clear()
    monkeypatch.setattr(backend, "read", lambda *_: pytest.fail("the file was read"))
    with pytest.raises(ValueError, match=r"small\.pth is not the file that the catalogue lists"):
        pulled.load()


def test_a_network_that_the_catalogue_describes_otherwise_is_refused(pulled: models.Pulled) -> None:
    described = dataclasses.replace(pulled.files[0], halo=4)
    with pytest.raises(ValueError, match="another network"):
        models.Pulled((described,)).load()


@pytest.mark.parametrize("file", catalogue.FILES.values(), ids=lambda file: file.name)
def test_the_catalogues_halos_are_the_architectures(file: catalogue.File) -> None:
    """The real sizes, without weights."""
    with torch.device("meta"):
        if file.architecture.startswith("RRDBNet"):
            net: Any = SMALL_OF["RRDB"](scale=file.scale, num_block=6 if "6 blocks" in file.architecture else 23)
        else:
            net = SMALL_OF["compact"](num_conv=32 if "32" in file.architecture else 16)
    assert (net.upscale, net.radius) == (file.scale, file.halo)


SMALL_OF = {"RRDB": type(SMALL["RRDB x4"]()), "compact": type(SMALL["compact x4"]())}


# ---------------------------------------------------------------- real weights, where they are
def test_real_weights_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Says which real files the tests below run on; without any, those tests do not exist."""
    with capsys.disabled():
        print(f"\nreal weights in {FOLDER}: {', '.join(path.name for path in FOUND) or 'none'}")


def test_real_weights_are_the_forward_pass(real: Path) -> None:
    data = real.read_bytes()
    state = backend.read(real.name, data)
    pixels = scene(75, 58)
    network = backend.load(((real.name, data),), 1.0, device="cpu")
    wanted = reference.enlarge(state, pixels)
    assert network.halo == (18 if "animevideo" in real.name else 34)
    assert levels_apart(enlarge(network, pixels), wanted) == 0
    network.side = 24
    assert levels_apart(enlarge(network, pixels), wanted) == 0


PAIRS = [
    (path, partner)
    for path in FOUND
    if (partner := path.with_name(path.name.replace("general-x4v3", "general-wdn-x4v3"))) != path and partner in FOUND
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[one.name for one, _ in PAIRS])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_real_denoising_is_the_blended_state(one: Path, other: Path, strength: float) -> None:
    files = tuple((path.name, path.read_bytes()) for path in (one, other))
    states = [backend.read(*file) for file in files]
    blended = {name: strength * states[0][name] + (1 - strength) * states[1][name] for name in states[0]}
    pixels = scene(48, 40)
    wanted = reference.enlarge(blended, pixels)
    assert levels_apart(enlarge(backend.load(files, strength, device="cpu"), pixels), wanted) == 0
