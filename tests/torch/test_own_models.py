"""Files of an operator's own, read by spandrel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine import __main__ as command
from tessera_engine import imageio, models, own, pipeline, steps, tiling
from tessera_engine.archs.rrdbnet import RRDBNet
from tessera_engine.backends import spandrel as backend
from tessera_engine.backends import torch as ours
from tessera_engine.backends.torch import TorchNetwork
from tessera_engine.errors import NotFinite
from tessera_engine.picture import Picture

from tests.torch import reference
from tests.torch.support import FOUND, drawn, saved, scene
from tests.torch.test_torch_backend import Evil, enlarge, levels_apart

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore::DeprecationWarning")

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def package() -> Any:
    return backend.imported()


@pytest.fixture(params=FOUND, ids=[path.name for path in FOUND])
def real(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def small(kind: str) -> bytes:
    """A file of an architecture that is none of ours, with drawn weights."""
    torch.manual_seed(5)
    if kind == "SPAN":
        from spandrel.architectures.SPAN import SPAN

        return saved({"params": SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict()})
    from spandrel.architectures.SwinIR import SwinIR

    net = SwinIR(
        upscale=2, img_size=(64, 64), window_size=8, img_range=1.0, depths=[2, 2], embed_dim=12, num_heads=[2, 2],
        mlp_ratio=2, upsampler="pixelshuffledirect",
    )  # fmt: skip
    return saved({"params": net.state_dict()})


# ---------------------------------------------------------------- the same pixels as ours
def test_real_weights_give_the_pixels_of_our_own_modules(real: Path) -> None:
    """By spandrel's module in tiles, by ours with parameters that spandrel has read, and by the catalogue's way."""
    data, pixels = real.read_bytes(), scene(75, 58)
    wanted = enlarge(ours.load(((real.name, data),), 1.0, device="cpu"), pixels)
    told = backend.facts(real.name, data)
    assert (told["scale"], told["halo"], told["exact"]) == (4, 18 if "animevideo" in real.name else 34, True)
    assert levels_apart(
        enlarge(backend.load(real.name, data, halo=told["halo"], half_safe=True, device="cpu"), pixels), wanted
    ) == 0  # fmt: skip
    for side in (1000, 24):
        foreign = backend.Foreign(backend.described(real.name, data), told["halo"])
        assert levels_apart(enlarge(TorchNetwork(foreign, CPU, side=side), pixels), wanted) == 0


def test_the_radius_of_real_weights_is_measured(real: Path) -> None:
    foreign = backend.Foreign(backend.described(real.name, real.read_bytes()), 0)
    assert backend.measured_radius(foreign) == (18 if "animevideo" in real.name else 34)


@pytest.mark.parametrize("scale", [4, 2])
def test_an_esrgan_runs_as_our_rrdbnet(scale: int) -> None:
    """In its later spelling and, by way of spandrel's own parameters, in the first one."""
    torch.manual_seed(3)
    net = RRDBNet(scale=scale, num_feat=64, num_block=1, num_grow_ch=32)
    first_spelling = backend.described("x.pth", saved(net.state_dict())).model.state_dict()
    assert "model.1.sub.0.RDB1.conv1.0.weight" in first_spelling
    pixels = scene(21, 18)
    wanted = reference.enlarge(net.state_dict(), pixels)
    for state in (net.state_dict(), first_spelling):
        data = saved(dict(state))
        told = backend.facts("x.pth", data)
        assert (told["scale"], told["halo"], told["exact"]) == (scale, net.radius, True)
        network = backend.load("x.pth", data, halo=told["halo"], half_safe=False, device="cpu")
        assert isinstance(network.net, RRDBNet)
        assert levels_apart(enlarge(network, pixels), wanted) == 0


def test_a_radius_of_which_no_float_holds_the_gradient_is_measured() -> None:
    """Six blocks are 93 convolutions with drawn weights of a hundredth: 1e-190 at the end."""
    torch.manual_seed(3)
    net = RRDBNet(num_feat=64, num_block=6, num_grow_ch=32)
    foreign = backend.Foreign(backend.described("x.pth", saved(net.state_dict())), 0)
    assert backend.measured_radius(foreign) == net.radius == 94


def test_a_halo_that_is_too_narrow_is_seen() -> None:
    descriptor = backend.described("x.pth", saved(drawn("compact x4").state_dict()))
    assert backend.measured_radius(backend.Foreign(descriptor, 0)) == 5
    assert backend.seamless(backend.Foreign(descriptor, 5))
    assert not backend.seamless(backend.Foreign(descriptor, 3))


# ---------------------------------------------------------------- other architectures
def test_a_convolutional_network_is_exact_in_tiles() -> None:
    data, pixels = small("SPAN"), scene(90, 70)
    told = backend.facts("span.pth", data)
    assert told["exact"] and told["architecture"].startswith("SPAN") and told["scale"] == 2
    descriptor = backend.described("span.pth", data)
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div(255)
    wanted = descriptor(picture)[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
    for side in (500, 33):
        network = backend.load("span.pth", data, halo=told["halo"], half_safe=False, device="cpu")
        network.side = side
        assert levels_apart(enlarge(network, pixels), wanted) <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (37, 50)])
def test_a_network_of_windows_takes_every_size_and_is_not_called_exact(size: tuple[int, int]) -> None:
    data = small("SwinIR")
    told = backend.facts("swin.pth", data)
    assert not told["exact"] and told["halo"] == backend.GENEROUS
    network = backend.load("swin.pth", data, halo=told["halo"], half_safe=False, device="cpu")
    assert enlarge(network, scene(*size)).shape == (size[1] * 2, size[0] * 2, 3)


def test_numbers_that_are_not_finite_are_no_picture() -> None:
    network = backend.load("span.pth", small("SPAN"), halo=20, half_safe=False, device="cpu")
    for parameter in network.net.net.parameters():
        parameter.fill_(float("inf"))
    with pytest.raises(NotFinite):
        enlarge(network, scene(20, 20))


def test_what_is_no_network_that_enlarges_is_refused() -> None:
    with pytest.raises(ValueError, match="no network that spandrel knows"):
        backend.facts("x.pth", saved({"params": {"layer.weight": torch.zeros(3)}}))
    with pytest.raises(Exception, match="Weights only load failed"):
        backend.facts("x.pth", saved({"params": Evil()}))
    from spandrel.architectures.SPAN import SPAN

    denoiser = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=1)
    grey = SPAN(num_in_ch=1, num_out_ch=1, feature_channels=8, upscale=2)
    with pytest.raises(ValueError, match="enlarges 2, 3, 4 or 8 times"):
        backend.facts("x.pth", saved({"params": denoiser.state_dict()}))
    with pytest.raises(ValueError, match="every picture in colours"):
        backend.facts("x.pth", saved({"params": grey.state_dict()}))


# ---------------------------------------------------------------- from the list
@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESSERA_OWN_MODELS", str(tmp_path / "own"))
    models.network.cache_clear()
    return tmp_path


def carry_out(pixels: NDArray[np.uint8], model: str, scale: Any) -> pipeline.Product:
    source, _ = imageio.encode(Picture(pixels), Encode(format="png"))
    recipe = Recipe(operations=(Upscale(model=model, scale=scale), Encode(format="png")))
    limits = Limits(max_input_pixels=10**6, max_output_pixels=10**7)
    return pipeline.carry_out(recipe, source, limits, stand_in="refuse", listener=lambda _: None)


def test_a_file_is_added_and_runs_at_every_scale(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in drawn("compact x4").state_dict().items()}
    (folder / "mine.safetensors").write_bytes(save(state))
    assert command.main(["models", "add", str(folder / "mine.safetensors"), "--name", "mine", "--licence", "MIT"]) == 0
    assert "enlarges 4 times, sees 5 pixels" in capsys.readouterr().out
    assert (own.folder() / "mine.safetensors").is_file()
    assert command.main(["models", "list"]) == 0
    assert "mine  (RealESRGAN Compact" in capsys.readouterr().out
    for scale in (2, 3, 4, 8):
        product = carry_out(scene(30, 20), "mine", scale)
        assert (product.width, product.height, product.model) == (30 * scale, 20 * scale, "mine")
        assert product.fidelity is not None
    (weights,) = models.choose("mine", 4, "refuse").passes
    wanted = reference.enlarge(state, scene(30, 20))
    assert levels_apart(enlarge(models.network(weights), scene(30, 20)), wanted) == 0


def test_a_network_that_the_list_describes_otherwise_is_refused(folder: Path) -> None:
    (folder / "mine.pth").write_bytes(saved({"params": drawn("compact x4").state_dict()}))
    entry = own.add(folder / "mine.pth", "mine", ())
    with pytest.raises(ValueError, match="another network"):
        entry.model_copy(update={"scale": 2}).load()


def test_parts_of_a_picture_have_a_note_where_the_network_sees_the_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "swin.pth").write_bytes(small("SwinIR"))
    own.add(folder / "swin.pth", "swin", ())
    assert steps.NOTE_PARTS not in carry_out(scene(60, 40), "swin", 2).notes
    network = models.network(models.choose("swin", 2, "refuse").passes[0])
    assert isinstance(network, tiling.EdgeNetwork)
    monkeypatch.setattr(network, "side", 48)
    assert steps.NOTE_PARTS in carry_out(scene(60, 40), "swin", 2).notes
