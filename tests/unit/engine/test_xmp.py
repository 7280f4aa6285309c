"""What the XMP says, read back with the standard library's ElementTree, which the writer does not use."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from tessera.job import Limits
from tessera.recipe import Encode, Recipe, Upscale
from tessera_engine import catalogue, decoding, imageio, metadata, models, pipeline, steps, xmp
from tessera_engine.header import ImageInfo
from tessera_engine.metadata import Origin
from tessera_engine.xmp import Run

MakeFile = Callable[..., bytes]
RUN = Run("a-model", ("ab" * 32, "cd" * 32), 4, stand_in=False, generative=False)
LIMITS = Limits(max_input_pixels=1_000_000, max_output_pixels=16_000_000)
IPTC, TESSERA, EXIF = f"{{{xmp.IPTC}}}", f"{{{xmp.NAMESPACE}}}", f"{{{xmp.EXIF}}}"
DC = "{http://purl.org/dc/elements/1.1/}"
LI = f".//{{{xmp.RDF}}}li"


def packet(attributes: str = "", elements: str = "", about: str = "") -> bytes:
    return f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{xmp.RDF}">
<rdf:Description rdf:about="{about}" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="{xmp.EXIF}"
 xmlns:tiff="{xmp.TIFF}" xmlns:Iptc4xmpExt="{xmp.IPTC}" {attributes}>
<dc:creator><rdf:Seq><rdf:li>Ä. Author &amp; son</rdf:li></rdf:Seq></dc:creator>{elements}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def found(data: bytes) -> dict[str, Any]:
    """Every property of the packet: its text, or a list of its items."""
    result: dict[str, Any] = {}
    for described in ElementTree.fromstring(data).iter(f"{{{xmp.RDF}}}Description"):
        result.update(described.attrib)
        for node in described:
            items = [item.text for item in node.iterfind(LI)]
            assert node.tag not in result, "a property may stand in a packet once"
            result[node.tag] = items or (node.text or "").strip()
    return result


def test_what_ran() -> None:
    second = Run("other <model>", ("ef" * 32,), 2, stand_in=True, generative=False)
    said = found(xmp.packet((RUN, second), b"", keep=False)[0])
    assert said[TESSERA + "Software"] == "Tessera"
    assert said[TESSERA + "Model"] == ["a-model", "other <model>"]
    assert said[TESSERA + "Weights"] == ["ab" * 32, "cd" * 32, "ef" * 32]
    assert (said[TESSERA + "Scale"], said[TESSERA + "StandIn"]) == ("8", "True")
    assert said[IPTC + "DigitalSourceType"] == xmp.ALTERED


def test_a_network_that_invents_says_so() -> None:
    invented = Run("gan", (), 4, stand_in=False, generative=True)
    assert found(xmp.packet((RUN, invented), b"", keep=False)[0])[IPTC + "DigitalSourceType"] == xmp.GENERATED


def test_without_a_network_nothing_is_claimed() -> None:
    assert xmp.packet((), packet(), keep=False) == (b"", False)
    said = found(xmp.packet((), packet(), keep=True)[0])
    assert said[DC + "creator"] == ["Ä. Author & son"]
    assert not any(name.startswith((IPTC, TESSERA)) for name in said)


def test_the_sources_packet_is_not_in_a_safe_one() -> None:
    data, lost = xmp.packet((RUN,), packet('exif:GPSLatitude="52,31.1N"'), keep=False)
    assert not lost and b"GPS" not in data and "Author" not in data.decode()


def test_the_sources_packet_is_merged_when_it_is_kept() -> None:
    untrue = 'tiff:Orientation="6" exif:PixelXDimension="99" exif:GPSLatitude="52,31.1N" exif:FNumber="28/10"'
    source = packet(untrue, "<tiff:ImageWidth>99</tiff:ImageWidth>", about="uuid:1&amp;2")
    data, lost = xmp.packet((RUN,), source, keep=True)
    said = found(data)
    assert not lost and len(data) <= xmp.MAX_BYTES
    assert said[DC + "creator"] == ["Ä. Author & son"]
    assert (said[EXIF + "GPSLatitude"], said[EXIF + "FNumber"]) == ("52,31.1N", "28/10")
    assert said[TESSERA + "Model"] == ["a-model"] and said[IPTC + "DigitalSourceType"] == xmp.ALTERED
    gone = {f"{{{xmp.TIFF}}}Orientation", f"{{{xmp.TIFF}}}ImageWidth", EXIF + "PixelXDimension"}
    assert not gone & said.keys()
    subjects = ElementTree.fromstring(data).iter(f"{{{xmp.RDF}}}Description")
    assert {node.get(f"{{{xmp.RDF}}}about") for node in subjects} == {"uuid:1&2"}


def test_a_second_enlargement_replaces_what_the_first_one_said() -> None:
    first, _ = xmp.packet((RUN,), packet(), keep=True)
    again = Run("b-model", ("09" * 32,), 2, stand_in=False, generative=False)
    said = found(xmp.packet((again,), first, keep=True)[0])
    assert said[TESSERA + "Model"] == ["b-model"] and said[DC + "creator"] == ["Ä. Author & son"]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("attributes", "elements"),
    [
        ('Iptc4xmpExt:DigitalSourceType="{}"', ""),
        ("", "<Iptc4xmpExt:DigitalSourceType> {} </Iptc4xmpExt:DigitalSourceType>"),
        ("", '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>'),
    ],
)
def test_a_synthetic_source_stays_one(attributes: str, elements: str, keep: bool) -> None:
    for name, wanted in (("trainedAlgorithmicMedia", None), ("digitalCapture", xmp.ALTERED)):
        code = xmp.NEWSCODES + name
        data, lost = xmp.packet((RUN,), packet(attributes.format(code), elements.format(code)), keep=keep)
        assert found(data)[IPTC + "DigitalSourceType"] == (wanted or code) and not lost


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no XML",
        packet()[:-60],
        packet().replace(b"<x:xmpmeta", BOMB + b"<x:xmpmeta", 1),
        packet().replace(b"Author", b"&undeclared;"),
        packet().replace("Ä".encode(), b"\xc4"),
        packet().decode().encode("utf-16"),
        b"<a/>",
        b"<a>" * 8_000 + b"</a>" * 8_000,
        packet("", "<dc:x>" * 3_000 + "</dc:x>" * 3_000),
        packet("", "<dc:title>" + "long " * 14_000 + "</dc:title>"),
    ],
)
def test_a_packet_that_cannot_be_kept_leaves_ours_and_a_note(damaged: bytes) -> None:
    data, lost = xmp.packet((RUN,), damaged, keep=True)
    assert found(data)[TESSERA + "Model"] == ["a-model"] and b"Author" not in data
    assert lost == bool(damaged)
    assert xmp.packet((), damaged, keep=True) == (b"", bool(damaged))


def test_the_largest_packet_fits_a_jpeg(make_file: MakeFile) -> None:
    room = xmp.MAX_BYTES - len(xmp.packet((RUN,), packet("", "<dc:title></dc:title>"), keep=True)[0])
    title = "x" * (room - len("<dc:title></dc:title>") + len("<dc:title/>"))
    for text, fits in ((title, True), (title + "xxxxxxxxxxxxxxxxxxxx", False)):
        data, lost = xmp.packet((RUN,), packet("", f"<dc:title>{text}</dc:title>"), keep=True)
        assert lost != fits
        if fits:
            assert xmp.MAX_BYTES - 20 <= len(data) <= xmp.MAX_BYTES
            jpeg = make_file(Image.new("L", (8, 8)), "jpeg", xmp=data)
            assert Image.open(BytesIO(jpeg)).info["xmp"] == data


# --- through the pipeline ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("policy", ["safe", "keep", "strip"])
def test_every_format_carries_it(kind: Any, policy: Any, make_file: MakeFile) -> None:
    source = make_file(Image.new("RGB", (8, 6), "red"), "jpeg", xmp=packet('exif:GPSLatitude="52,31.1N"'))
    upscale = Upscale(model="upscayl-standard-4x", scale=8)
    product = pipeline.carry_out(
        Recipe(operations=(upscale, Encode(format=kind, metadata=policy))),
        source,
        LIMITS,
        stand_in="allow",
        listener=lambda _: None,
    )
    assert not product.notes
    with Image.open(BytesIO(product.encoded)) as image:
        data = image.info.get("xmp")
    if policy == "strip":
        assert data is None and b"Tessera" not in product.encoded
        return
    said = found(data)
    weights = models.DEFAULT.needed(8)
    assert said[TESSERA + "Model"] == ["tessera-photo"] and said[TESSERA + "Scale"] == "8"
    assert said[TESSERA + "Weights"] == [sha256 for part in weights for sha256 in part.hashes]
    assert said[TESSERA + "StandIn"] == "True" and said[IPTC + "DigitalSourceType"] == xmp.ALTERED
    assert ((EXIF + "GPSLatitude") in said) == (DC + "creator" in said) == (policy == "keep")
    assert (b"GPSLatitude" in product.encoded) == (policy == "keep")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "tiff"])
def test_a_packet_is_read_from_every_format(kind: Any, make_file: MakeFile) -> None:
    kept, _ = imageio.encode(
        imageio.Picture(np.zeros((4, 4, 3), np.uint8), xmp=packet()), Encode(format=kind, metadata="keep")
    )
    picture, _ = decoding.decode(kept, ImageInfo(kind, 4, 4))
    assert found(picture.xmp)[DC + "creator"] == ["Ä. Author & son"]


def test_compositions_name_all_their_files() -> None:
    model = models.CATALOGUE["realesrgan-x4plus-texture-50"]
    run = steps.ran(models.Choice(model, model.needed(8), stand_in=False), 8)
    pair = (catalogue.X4PLUS.sha256, catalogue.NET_X4PLUS.sha256)
    assert run == Run(model.name, pair * 2, 8, stand_in=False, generative=True)
    faithful = models.CATALOGUE["realesrnet-x4plus"]
    assert not steps.ran(models.Choice(faithful, faithful.needed(4), stand_in=False), 4).generative


def test_a_packet_that_cannot_be_kept_is_a_note() -> None:
    for policy, noted in (("keep", True), ("safe", False), ("strip", False)):
        options = Encode.model_validate({"format": "png", "metadata": policy})
        assert metadata.tags(Origin(xmp=b"broken"), options, (RUN,))[1] == noted
