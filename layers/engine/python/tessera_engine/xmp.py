"""The XMP packet of a result: what made it, and under the policy `keep` what the source's packet says.

XMP: ISO 16684-1. DigitalSourceType: IPTC Photo Metadata Standard 2025.1 and its NewsCodes, which define
algorithmicallyEnhanced as a correction by algorithm that leaves the main content as it is, such as noise reduction, and
compositeWithTrainedAlgorithmicMedia as an enhancement by a generative model. So a network that was trained to invent
gets the latter. A source that says that it is synthetic stays so: an enlargement must not wash that off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from xml.dom import minidom
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

SOFTWARE = "Tessera"
NAMESPACE = "urn:tessera:provenance:1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

MAX_BYTES = 65_502  # what one segment of a JPEG holds (XMP part 3, 1.1.3)

NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ALTERED = NEWSCODES + "algorithmicallyEnhanced"
GENERATED = NEWSCODES + "compositeWithTrainedAlgorithmicMedia"
SYNTHETIC = frozenset(
    NEWSCODES + name
    for name in (
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "algorithmicMedia",
        "virtualRecording",
    )
)

Name = tuple[str, str]  # namespace and local name
SOURCE_TYPE = (IPTC, "DigitalSourceType")

# What a new size, a new file or a turned picture has made untrue.
UNTRUE = frozenset(
    {
        (TIFF, "Orientation"),
        (TIFF, "ImageWidth"),
        (TIFF, "ImageLength"),
        (TIFF, "XResolution"),  # the file's own fields say it
        (TIFF, "YResolution"),
        (TIFF, "ResolutionUnit"),
        (EXIF, "PixelXDimension"),
        (EXIF, "PixelYDimension"),
        (XMP, "Thumbnails"),
        ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
    }
)
# Maps of gain, depth and motion that lay behind the source's picture and are not written.
UNTRUE_NAMESPACES = frozenset(
    {
        NAMESPACE,
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.google.com/photos/1.0/camera/",
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/image/",
        "http://ns.google.com/photos/1.0/panorama/",  # states sizes in pixels
    }
)

FAULTS = (ExpatError, ValueError, RecursionError)


@dataclass(frozen=True)
class Run:
    """A network's work on the picture. `weights` are SHA-256 in hex of the files that ran, in order."""

    model: str
    weights: tuple[str, ...]
    scale: int
    stand_in: bool
    generative: bool


def packet(runs: tuple[Run, ...], source: bytes, *, keep: bool) -> tuple[bytes, bool]:
    """UTF-8, empty for nothing to say, and whether a source's packet that should be kept could not be.

    Without `keep`, the source's packet is asked for its DigitalSourceType only.
    """
    lost = False
    document = None
    try:
        document = parsed(source) if source else None
        ours = description(runs, source_type(document), about(document)) if runs else ""
        if keep and document:
            merged = wrapped(kept(document, ours))
            if len(merged) <= MAX_BYTES:
                return merged, False
            lost = True
    except FAULTS:
        lost = keep
        ours = description(runs, "", "") if runs else ""
    return wrapped(f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{in_rdf(ours)}</x:xmpmeta>') if ours else b"", lost


def parsed(source: bytes) -> minidom.Document:
    """One of FAULTS for what is no XMP. Entities cannot be declared without a DOCTYPE, which XMP never has."""
    text = source.decode("utf-8-sig").strip("\0")
    if "<!DOCTYPE" in text:
        raise ValueError("a packet with a document type")
    document = minidom.parseString(text)
    if not document.getElementsByTagNameNS(RDF, "RDF"):
        raise ValueError("a packet without RDF")
    return document


def descriptions(document: minidom.Document) -> Iterator[minidom.Element]:
    (rdf, *_) = document.getElementsByTagNameNS(RDF, "RDF")
    for node in rdf.childNodes:
        if isinstance(node, minidom.Element) and name_of(node) == (RDF, "Description"):
            yield node


def name_of(node: minidom.Element | minidom.Attr) -> Name:
    return (node.namespaceURI or "", node.localName or "")


def properties(described: minidom.Element) -> Iterator[minidom.Element | minidom.Attr]:
    """Simple ones may be attributes (ISO 16684-1, 7.9.2.2)."""
    yield from list(described.attributes.values())
    yield from [node for node in described.childNodes if isinstance(node, minidom.Element)]


def source_type(document: minidom.Document | None) -> str:
    """The source's DigitalSourceType, empty when it says nothing: an attribute, a text or a resource."""
    for described in descriptions(document) if document else ():
        for node in properties(described):
            if name_of(node) == SOURCE_TYPE:
                if isinstance(node, minidom.Attr):
                    return str(node.value)
                text = "".join(part.data for part in node.childNodes if isinstance(part, minidom.Text))
                return str(node.getAttributeNS(RDF, "resource")) or text.strip()
    return ""


def about(document: minidom.Document | None) -> str:
    """What the source's properties are about: all of a packet's have to name the same."""
    return next((node.getAttributeNS(RDF, "about") for node in descriptions(document)), "") if document else ""


def description(runs: tuple[Run, ...], source: str, subject: str) -> str:
    """Our properties, as RDF. `source` is the DigitalSourceType that the source had."""
    generated = GENERATED if any(run.generative for run in runs) else ALTERED
    properties = {
        "tessera:Software": escape(SOFTWARE),
        "tessera:Model": ordered(run.model for run in runs),
        "tessera:Weights": ordered(sha256 for run in runs for sha256 in run.weights),
        "tessera:Scale": str(prod(run.scale for run in runs)),
        "tessera:StandIn": str(any(run.stand_in for run in runs)),
        "Iptc4xmpExt:DigitalSourceType": source if source in SYNTHETIC else generated,
    }
    body = "".join(f"<{name}>{value}</{name}>" for name, value in properties.items())
    escaped = escape(subject, {'"': "&quot;"})
    return (
        f'<rdf:Description xmlns:rdf="{RDF}" xmlns:tessera="{NAMESPACE}" xmlns:Iptc4xmpExt="{IPTC}" '
        f'rdf:about="{escaped}">{body}</rdf:Description>'
    )


def ordered(values: Iterator[str]) -> str:
    return f"<rdf:Seq>{''.join(f'<rdf:li>{escape(value)}</rdf:li>' for value in values)}</rdf:Seq>"


def in_rdf(body: str) -> str:
    return f'<rdf:RDF xmlns:rdf="{RDF}">{body}</rdf:RDF>'


def kept(document: minidom.Document, ours: str) -> str:
    """The source's packet without what is no longer true, and with our properties in place of its own."""
    replaced = UNTRUE | {SOURCE_TYPE} if ours else UNTRUE
    for described in descriptions(document):
        for node in properties(described):
            if name_of(node) in replaced or node.namespaceURI in UNTRUE_NAMESPACES:
                if isinstance(node, minidom.Attr):
                    described.removeAttributeNode(node)
                else:
                    described.removeChild(node)
    if ours:
        (rdf, *_) = document.getElementsByTagNameNS(RDF, "RDF")
        added = minidom.parseString(ours).documentElement
        assert added is not None
        rdf.appendChild(document.importNode(added, True))
    assert document.documentElement is not None  # `parsed` has looked into it
    return document.documentElement.toxml()


def wrapped(xml: str) -> bytes:
    """As a packet that readers find by its marks and may not rewrite in place."""
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{xml}<?xpacket end="r"?>'.encode()
