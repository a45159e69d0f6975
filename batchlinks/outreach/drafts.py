"""Letters, texts and e-mails to start from, in English and Spanish: drafts that somebody has to fill in and approve.

Plain language throughout: why this letter comes, what HealthEx is, that it can be refused, whom to call. Merge fields are
Word's own, so that Word's mail merge and `--letters` take the same file. What is in brackets is for the office to fill in.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchlinks.errors import SettingsError

if TYPE_CHECKING:
    from docx.document import Document
    from docx.text.paragraph import Paragraph

_POINTS, _SMALL_POINTS = 14, 10


@dataclass(frozen=True, slots=True)
class DraftLetter:
    """What a letter says, paragraph by paragraph."""

    draft_note: str
    greeting: str
    date_format: str
    opening: Sequence[str]
    how_to: str
    steps: Sequence[str]
    code_label: str
    behind: Sequence[str]
    closing: str
    link_label: str
    other_language: str


_NOTE = (
    "DRAFT: your communications office has to approve this text. Fill in what is in brackets, then delete this line."
)
_NOTE_ES = (
    "DRAFT / BORRADOR: your communications office and a qualified translator have to approve this text. Fill in what is in "
    "brackets, then delete this line."
)

_LETTER = DraftLetter(
    draft_note=_NOTE,
    greeting="Hello,",
    date_format="MMMM d, yyyy",
    opening=(
        "You are a patient of [your organization]. We would like your permission to use your health records for [one sentence: "
        "what for, and who will see them]. We are asking you through HealthEx.",
        "HealthEx is a secure online service. There you see who asks for your health records, and you say yes or no. "
        "Nothing is shared unless you say yes.",
        "It is your choice. You can say no. If you say yes, you can change your mind later. Your care stays the same "
        "either way.",
    ),
    how_to="How to answer, by [date]:",
    steps=(
        "1. Point the camera of your phone at the square code.",
        "2. Tap the link that appears.",
        "3. Read what is asked, and choose.",
    ),
    code_label="This code is for you only. Please do not share it:",
    behind=(
        "No smartphone, or questions? Call [phone number], [days and hours]. We can send you the link by text or e-mail, "
        "or help you by phone. You do not have to type the link below.",
        "If you have already done this, please ignore this letter. If you do not want letters like this one, call us and "
        "we will stop.",
    ),
    closing="Thank you,\n[name and title]\n[your organization]",
    link_label="Your link:",
    other_language="Para recibir esta carta en español, llame al [phone number].",
)

_REMINDER = DraftLetter(
    draft_note=_NOTE,
    greeting="Hello,",
    date_format="MMMM d, yyyy",
    opening=(
        "A few weeks ago we wrote to you about your health records. If you have already answered, or have decided not to, "
        "please ignore this letter. You do not have to do anything.",
        "If you have not, here is your code again. We are asking for your permission to use your health records for [one "
        "sentence: what for, and who will see them]. You answer through HealthEx, a secure online service. There you see who "
        "asks for your records, and you say yes or no. Nothing is shared unless you say yes.",
        "It is your choice. You can say no. If you say yes, you can change your mind later. Your care stays the same "
        "either way.",
    ),
    how_to=_LETTER.how_to,
    steps=_LETTER.steps,
    code_label=_LETTER.code_label,
    behind=(
        _LETTER.behind[0],
        "This is the last letter that we send you about this unless you ask us for help. If you want no more letters, call us.",
    ),
    closing=_LETTER.closing,
    link_label=_LETTER.link_label,
    other_language=_LETTER.other_language,
)

_LETTER_ES = DraftLetter(
    draft_note=_NOTE_ES,
    greeting="Hola:",
    date_format="d/M/yyyy",
    opening=(
        "Usted es paciente de [your organization]. Queremos pedirle permiso para usar su historia clínica para [one sentence: "
        "what for, and who will see them]. Se lo pedimos por medio de HealthEx.",
        "HealthEx es un servicio seguro en internet. Allí puede ver quién pide sus datos de salud, y decir sí o no. "
        "No se comparte nada si usted no dice que sí.",
        "Usted decide. Puede decir que no. Si dice que sí, puede cambiar de opinión más adelante. Su atención médica "
        "será la misma en los dos casos.",
    ),
    how_to="Cómo responder, antes del [date]:",
    steps=(
        "1. Apunte la cámara de su teléfono al código cuadrado.",
        "2. Toque el enlace que aparece.",
        "3. Lea lo que se le pide, y elija.",
    ),
    code_label="Este código es solo para usted. Por favor, no lo comparta:",
    behind=(
        "¿No tiene un teléfono inteligente, o tiene preguntas? Llame al [phone number], [days and hours]. Podemos enviarle el "
        "enlace por mensaje de texto o correo electrónico, o ayudarle por teléfono. No tiene que escribir el enlace de abajo.",
        "Si ya lo hizo, no haga caso de esta carta. Si no quiere recibir cartas como esta, llámenos y no le enviaremos más.",
    ),
    closing="Gracias,\n[name and title]\n[your organization]",
    link_label="Su enlace:",
    other_language="To get this letter in English, call [phone number].",
)

_REMINDER_ES = DraftLetter(
    draft_note=_NOTE_ES,
    greeting="Hola:",
    date_format="d/M/yyyy",
    opening=(
        "Hace unas semanas le escribimos acerca de su historia clínica. Si ya respondió, o decidió no hacerlo, no haga caso "
        "de esta carta. No tiene que hacer nada.",
        "Si no lo ha hecho, aquí tiene otra vez su código. Le pedimos permiso para usar su historia clínica para [one "
        "sentence: what for, and who will see them]. Usted responde por medio de HealthEx, un servicio seguro en internet. "
        "Allí puede ver quién pide sus datos de salud, y decir sí o no. No se comparte nada si usted no dice que sí.",
        "Usted decide. Puede decir que no. Si dice que sí, puede cambiar de opinión más adelante. Su atención médica "
        "será la misma en los dos casos.",
    ),
    how_to=_LETTER_ES.how_to,
    steps=_LETTER_ES.steps,
    code_label=_LETTER_ES.code_label,
    behind=(
        _LETTER_ES.behind[0],
        "Esta es la última carta que le enviamos sobre esto, a menos que nos pida ayuda. Si no quiere más cartas, llámenos.",
    ),
    closing=_LETTER_ES.closing,
    link_label=_LETTER_ES.link_label,
    other_language=_LETTER_ES.other_language,
)


def write_templates(folder: Path) -> list[Path]:
    """Write all drafts into `folder`, which is made if need be. Raises SettingsError where a file of that name is there."""
    files = [(folder / name, make) for name, make in TEMPLATES.items()]
    there = [path.name for path, _ in files if path.exists()]
    if there:
        raise SettingsError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} in {folder} already, and may be yours. Nothing was "
            "written. Name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, make in files:
            path.write_bytes(make())
    except OSError as error:
        raise SettingsError(f"Nothing can be written into {folder} ({error.strerror}). Name another folder.") from error
    return [path for path, _ in files]


def _message_file(name: str) -> bytes:
    """A message of the package, with a byte-order mark, so that Notepad and Word take it for what it is.

    Texts keep to the alphabet of text messages (GSM 03.38), where one other character would halve what fits into a message.
    They name nobody: somebody else may see the phone.
    """
    text = Path(__file__).with_name("messages") / name
    return text.read_text(encoding="utf-8").encode("utf-8-sig")


# --- the letters ------------------------------------------------------------------------------------------------


def _letter_file(draft: DraftLetter, language: str) -> bytes:
    """A letter as a Word document: Letter paper, 14 points, the address where the window of an envelope shows it."""
    from docx import Document
    from docx.shared import Inches, Pt, RGBColor

    document = Document()
    section = document.sections[0]
    section.page_width, section.page_height = Inches(8.5), Inches(11)
    section.left_margin = section.right_margin = Inches(1)
    section.top_margin, section.bottom_margin = Inches(0.5), Inches(0.7)
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Arial", Pt(_POINTS)
    normal.paragraph_format.space_after, normal.paragraph_format.line_spacing = Pt(8), 1.0
    _set_language(document, language)

    note = document.add_paragraph().add_run(draft.draft_note)
    note.bold, note.font.size, note.font.color.rgb = True, Pt(_SMALL_POINTS), RGBColor(0xB0, 0, 0)
    sender = document.add_paragraph("[your organization]\n[street, city, state, ZIP]\n[phone number]")
    sender.paragraph_format.space_after = Pt(28)
    _add_address(document.add_paragraph())
    dated = document.add_paragraph()
    _add_field(dated, f'DATE \\@ "{draft.date_format}"', "")
    document.add_paragraph(draft.greeting)
    for paragraph in draft.opening:
        document.add_paragraph(paragraph)
    _add_steps(document, draft)
    code = document.add_paragraph()
    code.paragraph_format.keep_together = True
    _add_field(code, "MERGEBARCODE link QR \\q 1", "QR code")
    for paragraph in draft.behind:
        document.add_paragraph(paragraph)
    document.add_paragraph(draft.closing)
    document.add_paragraph(draft.other_language)
    link = document.add_paragraph()
    link.add_run(f"{draft.link_label} ").font.size = Pt(_SMALL_POINTS)
    _add_field(link, 'MERGEFIELD "link"', "«link»", points=_SMALL_POINTS)
    document.core_properties.title = draft.greeting
    document.core_properties.author = "batchlinks"
    content = io.BytesIO()
    document.save(content)
    return content.getvalue()


def _add_address(paragraph: "Paragraph") -> None:
    """Name, street, city, state and ZIP as merge fields, each where a letter has it."""
    from docx.shared import Pt

    paragraph.paragraph_format.space_after = Pt(20)
    for field, behind in (
        ("First Name", " "),
        ("Last Name", "\n"),
        ("Address", "\n"),
        ("City", ", "),
        ("State", " "),
        ("ZIP", ""),
    ):
        _add_field(paragraph, f'MERGEFIELD "{field}"', f"«{field}»")
        paragraph.add_run(behind)


def _add_steps(document: "Document", draft: DraftLetter) -> None:
    heading = document.add_paragraph()
    heading.add_run(draft.how_to).bold = True
    heading.paragraph_format.keep_with_next = True
    document.add_paragraph("\n".join(draft.steps)).paragraph_format.keep_with_next = True
    document.add_paragraph(draft.code_label).paragraph_format.keep_with_next = True


def _add_field(paragraph: "Paragraph", instruction: str, shown: str, *, points: int | None = None) -> None:
    """A field as Word writes it: begin, instruction, what is shown until it is filled in, end."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Pt

    for kind in ("begin", "instruction", "separate", "shown", "end"):
        run = paragraph.add_run(shown if kind == "shown" else "")
        if points is not None:
            run.font.size = Pt(points)
        if kind == "instruction":
            text = OxmlElement("w:instrText")
            text.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
            text.text = f" {instruction} "
            run._r.append(text)
        elif kind != "shown":
            mark = OxmlElement("w:fldChar")
            mark.set(qn("w:fldCharType"), kind)
            run._r.append(mark)


def _set_language(document: "Document", language: str) -> None:
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    element = OxmlElement("w:lang")
    element.set(qn("w:val"), language)
    document.styles["Normal"].element.get_or_add_rPr().append(element)


TEMPLATES: "dict[str, Callable[[], bytes]]" = {
    "letter.docx": partial(_letter_file, _LETTER, "en-US"),
    "letter.es.docx": partial(_letter_file, _LETTER_ES, "es-US"),
    "reminder.docx": partial(_letter_file, _REMINDER, "en-US"),
    "reminder.es.docx": partial(_letter_file, _REMINDER_ES, "es-US"),
    "text.txt": partial(_message_file, "text.txt"),
    "text.es.txt": partial(_message_file, "text.es.txt"),
    "email.txt": partial(_message_file, "email.txt"),
    "email.es.txt": partial(_message_file, "email.es.txt"),
}
"""By the name of the file, what makes its content."""
