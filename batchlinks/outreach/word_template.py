"""A Word document as the template of a letter: its merge fields, and what in it is refused or made inert.

A template comes from somebody's computer, maybe from a mail. Nothing in it is ever run: fields are looked up in a list of
those that are known to be harmless, and everything that would load or start something is refused in a sentence.
"""

import io
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError
from batchlinks.zip_failures import ZIP_FAILURES

_MOST_BYTES, _MOST_UNPACKED, _MOST_PARTS = 20_000_000, 100_000_000, 2_000

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VML = frozenset({"urn:schemas-microsoft-com:vml", "urn:schemas-microsoft-com:office:office"})

_STORIES = re.compile(r"word/(?:document|header\d*|footer\d*|footnotes|endnotes)\.xml")
"""Parts that hold text, and so fields."""

_DATA_SOURCES = frozenset({"mailMergeSource", "mailMergeHeaderSource", "attachedTemplate", "recipientData"})
"""Relations that Word keeps of a merge that was set up, and of the template of its own: taken off."""

_ACTIVE = frozenset({
    "vbaProject", "oleObject", "package", "control", "activeXControlBinary", "aFChunk", "subDocument", "frame",
    "keyMapCustomizations", "attachedToolbars", "wordVbaData",
})  # fmt: skip
_ACTIVE_ELEMENTS = frozenset(f"{_W}{name}" for name in ("object", "control", "altChunk", "subDoc", "movie"))
_INERT_FIELDS = frozenset({
    "PAGE", "NUMPAGES", "SECTIONPAGES", "SECTION", "DATE", "TIME", "CREATEDATE", "SAVEDATE", "PRINTDATE", "SYMBOL", "HYPERLINK",
})  # fmt: skip
"""They show something of the document itself, or of the clock."""

_KNOWN_FIELDS = frozenset(
    """
    ASK AUTONUM AUTOTEXT COMPARE DATABASE DDE DDEAUTO DOCPROPERTY DOCVARIABLE EMBED FILLIN FORMTEXT GOTOBUTTON IF IMPORT
    INCLUDE INCLUDEPICTURE INCLUDETEXT LINK MACROBUTTON MERGEREC MERGESEQ NEXT NEXTIF PRINT QUOTE REF RD SET SKIPIF TOC
    ADDRESSBLOCK GREETINGLINE DISPLAYBARCODE FILENAME AUTHOR USERNAME
    """.split()
)
"""Fields that are refused by name; of others the name is not repeated, since it may be anything."""

_OPENS = re.compile(r"(?:https?://|mailto:|tel:)[^\\]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MergeField:
    """A place in the template that takes a value of the row."""

    key: str
    """What it is called in the template's `content`."""

    name: str
    """The column, as the template names it: `First Name` or `First_Name`."""

    switches: tuple[tuple[str, str], ...] = ()
    """Such as ("*", "upper") and ("b", "text before")."""

    def shown(self, text: str) -> str:
        """`text` as the field's switches want it: in capitals, with something before or behind unless it is blank."""
        for switch, value in self.switches:
            if switch == "*":
                text = _CASES[value.lower()](text)
        if text:
            before = "".join(value for switch, value in self.switches if switch == "b")
            behind = "".join(value for switch, value in self.switches if switch == "f")
            text = f"{before}{text}{behind}"
        return text


_CASES: Mapping[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "caps": str.title,
    "firstcap": lambda text: text[:1].upper() + text[1:],
}

CODE_FIELD = "qr_code"
"""Name of the field in whose place the QR code stands; Word's own is `MERGEBARCODE link QR`."""


@dataclass(frozen=True, slots=True)
class WordTemplate:
    """A template that can be merged: nothing in it runs or loads anything."""

    name: str
    """Of its file."""

    content: bytes = field(repr=False)
    """The document, in which each merge field is called by its key."""

    fields: tuple[MergeField, ...]
    """One for each place, in the order of the document."""

    is_draft: bool
    """Whether it says that it is a draft, or has brackets to fill in."""

    @property
    def has_code(self) -> bool:
        """Whether it says where the QR code goes."""
        return any(field.name == CODE_FIELD for field in self.fields)


def read_word_template(path: Path) -> WordTemplate:
    """A template from a file. Raises SettingsError for what is no Word document, or holds what is not to be run."""
    try:
        content = read_small_file(path, at_most=_MOST_BYTES)
    except OSError as error:
        raise SettingsError(f"The template {path} cannot be read ({error.strerror}).") from error
    return word_template(path.name, content)


def word_template(name: str, content: bytes) -> WordTemplate:
    """The same from a file's name and content."""
    parts = _unpack(name, content)
    _refuse_active(name, parts)
    fields: list[MergeField] = []
    texts = []
    stories = [part for part in parts if _STORIES.fullmatch(part)]
    for part in sorted(stories, key=lambda part: part != "word/document.xml"):
        root = _xml(name, parts[part])
        _name_fields(name, root, fields)
        texts.append("\n".join(_paragraphs(root)))
        parts[part] = _bytes(root)
    _take_off_data_source(name, parts)
    is_draft = any(_DRAFT.search(text) for text in texts)
    return WordTemplate(name, _pack(parts), tuple(fields), is_draft)


_DRAFT = re.compile(r"\bDRAFT\b|\bBORRADOR\b|\[[^\[\]\n]{2,80}\]")


# --- the package ----------------------------------------------------------------------------------------------


def _unpack(name: str, content: bytes) -> dict[str, bytes]:
    if content[:4] == b"\xd0\xcf\x11\xe0":
        raise SettingsError(
            f"{name} has a password, or is in the format of Word 2003. Open it in Word and save it as .docx without a password."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            entries = package.infolist()
            too_large = len(entries) > _MOST_PARTS or sum(entry.file_size for entry in entries) > _MOST_UNPACKED
            if too_large or len({entry.filename for entry in entries}) != len(entries):
                raise SettingsError(f"{name} expands to an unsafe size when opened, or names a part twice.")
            parts = {entry.filename: package.read(entry) for entry in entries if not entry.is_dir()}
    except ZIP_FAILURES as error:
        raise SettingsError(f"{name} is not a Word document (.docx), or is damaged.") from error
    if "word/document.xml" not in parts or "[Content_Types].xml" not in parts:
        raise SettingsError(f"{name} is not a Word document (.docx).")
    if b"wordprocessingml.document.main+xml" not in parts["[Content_Types].xml"]:
        raise SettingsError(f"{name} is not a plain Word document. Save it as .docx (not .docm or .dotx).")
    return parts


def _pack(parts: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as package:
        for part, content in parts.items():
            package.writestr(part, content)
    return packed.getvalue()


def _xml(name: str, content: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise SettingsError(f"{name} is damaged. Open it in Word and save it again.") from error
    if root.getroottree().docinfo.doctype:
        raise SettingsError(
            f"{name} has a part that no Word document has (a DOCTYPE). Open it in Word and save it again."
        )
    return root


def _bytes(root: etree._Element) -> bytes:
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    return written


# --- what is refused ------------------------------------------------------------------------------------------


def _refuse_active(name: str, parts: Mapping[str, bytes]) -> None:
    """Raise SettingsError for what would start or load something."""
    for part, content in parts.items():
        lowered = part.lower()
        if "vba" in lowered or "/activex/" in lowered or "/embeddings/" in lowered:
            raise _active(name, "a macro, a control or another document inside it")
        if not lowered.endswith((".xml", ".rels")):
            continue
        root = _xml(name, content)
        if lowered.endswith(".rels"):
            _check_relations(name, root)
        elif lowered == "[content_types].xml":
            if b"macroEnabled" in content or b"activeX" in content or b"vbaProject" in content:
                raise _active(name, "a macro")
        else:
            _check_elements(name, root)


def _check_relations(name: str, root: etree._Element) -> None:
    for relation in root:
        if not isinstance(relation.tag, str):
            continue
        kind = relation.get("Type", "").rpartition("/")[2]
        if kind in _ACTIVE:
            raise _active(name, "a macro, a control or another document inside it")
        outside = relation.get("TargetMode", "").lower() == "external"
        if outside and kind == "hyperlink" and _OPENS.fullmatch(relation.get("Target", "")):
            continue
        if outside and kind not in _DATA_SOURCES:
            raise _active(name, "something that is loaded from elsewhere (a picture, a document, a file)")


def _check_elements(name: str, root: etree._Element) -> None:
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        if element.tag in _ACTIVE_ELEMENTS:
            raise _active(name, "a control or another document inside it")
        if etree.QName(element).namespace in _VML and any(
            etree.QName(attribute).localname in ("src", "href") for attribute in map(str, element.attrib)
        ):
            raise _active(name, "something that is loaded from elsewhere (a picture, a document, a file)")


def _active(name: str, what: str) -> SettingsError:
    return SettingsError(
        f"{name} has {what}, which batchlinks does not open. Take it out, or copy the text into a new document."
    )


def _take_off_data_source(name: str, parts: dict[str, bytes]) -> None:
    """What ties the template to a list, to another template or to Word's own merge: the letters know none of it."""
    for part in [part for part in parts if part.endswith(".rels")]:
        root = _xml(name, parts[part])
        for relation in list(root):
            if relation.get("Type", "").rpartition("/")[2] in _DATA_SOURCES:
                root.remove(relation)
        parts[part] = _bytes(root)
    if (settings := parts.get("word/settings.xml")) is not None:
        root = _xml(name, settings)
        for element in ("mailMerge", "attachedTemplate", "linkStyles", "updateFields", "documentProtection"):
            for found in root.findall(f"{_W}{element}"):
                root.remove(found)
        parts["word/settings.xml"] = _bytes(root)


# --- fields ---------------------------------------------------------------------------------------------------


def _name_fields(name: str, root: etree._Element, known: list[MergeField]) -> None:
    """Give each merge field its key. Raises SettingsError for a field that would do something."""
    for simple in root.iter(f"{_W}fldSimple"):
        simple.set(f"{_W}instr", _checked(name, simple.get(f"{_W}instr", ""), known))
    for texts in _complex_fields(name, root):
        told = _checked(name, "".join(text.text or "" for text in texts), known)
        for place, text in enumerate(texts):
            text.text = told if place == 0 else ""
            text.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")


def _complex_fields(name: str, root: etree._Element) -> Iterator[Sequence[etree._Element]]:
    """The pieces of each field's instruction, in the order of the document."""
    instruction: list[etree._Element] | None = None
    shows_result = False
    for element in root.iter(f"{_W}fldChar", f"{_W}instrText", f"{_W}delInstrText"):
        if element.tag != f"{_W}fldChar":
            if instruction is not None and not shows_result:
                instruction.append(element)
            elif (element.text or "").strip():
                raise _broken_field(name)
            continue
        match element.get(f"{_W}fldCharType"):
            case "begin":
                if instruction is not None:
                    raise SettingsError(
                        f"{name} has a field inside another one, which batchlinks does not work out. Use one field alone."
                    )
                instruction, shows_result = [], False
            case "separate":
                shows_result = True
            case "end":
                if not instruction:
                    raise _broken_field(name)
                yield instruction
                instruction = None
            case _:
                raise _broken_field(name)
    if instruction is not None:
        raise _broken_field(name)


def _broken_field(name: str) -> SettingsError:
    return SettingsError(f"{name} has a field that is damaged. Delete it and insert it again in Word.")


def _checked(name: str, instruction: str, known: list[MergeField]) -> str:
    """The instruction of a field as it is in the template's content."""
    tokens = _tokens(instruction)
    kind = tokens[0].upper() if tokens else ""
    if kind == "MERGEFIELD" and len(tokens) > 1:
        return f" MERGEFIELD {_key(tokens[1], _switches(tokens[2:]), known)} "
    if kind == "MERGEBARCODE" and len(tokens) > 2 and tokens[2].upper() == "QR":
        return f" MERGEFIELD {_key(CODE_FIELD, (), known)} "
    opens = kind == "HYPERLINK" and not _leads_out_of_text(tokens[1:])
    if kind not in _INERT_FIELDS or opens:
        shown = f"the field {kind}" if kind in _KNOWN_FIELDS | _INERT_FIELDS else "a field of another kind"
        raise SettingsError(
            f"{name} has {shown}, and batchlinks fills in merge fields only: it neither runs nor loads anything. Take it out."
        )
    return instruction


def _leads_out_of_text(tokens: Sequence[str]) -> bool:
    """Whether a hyperlink opens a page, a mail or a place in the document: nothing that runs."""
    if not tokens:
        return False
    return tokens[0] == "\\l" or _OPENS.fullmatch(tokens[0]) is not None


def _key(column: str, switches: tuple[tuple[str, str], ...], known: list[MergeField]) -> str:
    known.append(MergeField(f"f{len(known)}", column, switches))
    return known[-1].key


def _tokens(instruction: str) -> list[str]:
    """The words of an instruction; what stands in quotation marks is one."""
    lexer = shlex.shlex(instruction.translate(_QUOTES), posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape, lexer.quotes = True, "", "", '"'
    try:
        return list(lexer)
    except ValueError:  # a quotation mark that is never closed
        return instruction.replace('"', "").split()


_QUOTES = str.maketrans("“”„", '"""')


def _switches(tokens: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if len(token) < 2 or token[0] != "\\":
            continue
        switch = token[1].lower()
        value = token[2:] or (rest.pop(0) if rest and switch in "*bf#@" else "")
        if (switch == "*" and value.lower() in _CASES) or switch in "bf":
            found.append((switch, value))
    return tuple(found)


def _paragraphs(root: etree._Element) -> Iterator[str]:
    for paragraph in root.iter(f"{_W}p"):
        yield "".join(text.text or "" for text in paragraph.iter(f"{_W}t"))
