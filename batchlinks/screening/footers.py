"""The words of rows that are not patients: totals, page, run-date and trailer lines, the header again.

Words help, they do not decide: Page, Count and Total are people's names too. `no_patient` weighs them.
"""

import re

_COUNTED = (
    r"(?:patients?|members?|records?|rows?|lines?|entries|people|persons|results?|items?|patienten|datens[äa]tze|zeilen"
    r"|pacientes|registros|lignes|enregistrements|pazienti|pati[ëe]nten)"
)
_TOTAL_WORD = (
    r"(?:(?:grand|report|overall|page|running)[\s_-]?totals?|sub[\s_-]?totals?|totals?|gesamt(?:summe|zahl|anzahl|ergebnis)?"
    r"|insgesamt|zwischensumme|endsumme|teilergebnis|ergebnis|sous[\s_-]?total|total\sg[ée]n[ée]ral|totaux|total\sgeneral"
    r"|total\sgeral|totale(?:\s(?:complessivo|generale))?|subtotale|parziale|totaal|subtotaal|eindtotaal|totalt|delsumma"
    r"|razem|итого|всего|合計|小計|合计|总计)"
)
_COUNT_WORD = (
    r"(?:grand\s)?(?:count|sum|anzahl|summe|nombre|nb|somme|recuento|cuenta|conteo|suma|conteggio|somma|contagem|soma|aantal"
    r"|antal|number)"
)
_FRAME = rf"""
    {_TOTAL_WORD}(?:\s{_COUNTED})?                      # Total, Grand total: 45, Total patients 45
    | {_COUNTED}(?:\s(?:count|total|in\sreport|listed)|\s?[:=]\s?\d[\d,.]*)  # Record count: 45, Rows: 45
    | (?:number|no\.?|count|sum|anzahl|nombre|n[úu]mero|aantal)\s(?:of\s|de\s|der\s|van\s|d')?{_COUNTED}
    | (?:(?:row|record|grand)\s)?count
    | (?:page|seite|p[áa]gina|p[áa]g\.?|blatt)(?:\s|\s?:\s?)\d+(?:\s?(?:of|/|von|sur|de|di|van)\s?\d+)?  # Page 1 of 3
    | end\sof\s(?:report|file|list|data|document) | ende\sder\s(?:liste|datei) | fin\s(?:du|de|del)\s.{{1,20}}
    | (?:trailer|trl|tlr|trlr|eof|footer)(?:\srecord)?  # TRL|000045
"""
_WORDS = r"""
    (?:run|report|print(?:ed|ing)?|generated|created|export(?:ed)?|extract(?:ed)?|refreshed|updated|(?:data\s)?as\sof)
      (?:\s(?:on|at|by|date|time|run|title|name|id|generated|created|printed))*
    | (?:gedruckt|erstellt|exportiert)\sam | druckdatum | stand(?=\W*\d) | (?:imprim[ée]|[ée]dit[ée]|g[ée]n[ée]r[ée])\sle
    | date\sd['’](?:impression|[ée]dition) | (?:impreso|generado|emitido)\s(?:el|em) | fecha\sde\simpresi[óo]n
    | stampato\sil | afgedrukt\sop
    | confidential(?:ity)?(?:\snotice)? | disclaimer | prepared\sby | source | (?:applied\s)?filters? | notes? | legend
    | copyright | \(c\) | ©
"""
# A word of the frame is followed by the end, a colon, a dash with a space, or a number after white space: an ID
# such as TRL-001 or RUN00017 is none.
_LINE = re.compile(
    rf"\W*(?:(?:{_FRAME})\W*(?:[\s:=|]\s*\W?\d[\d,]*\b.*)?|(?:{_WORDS})(?:\s*:.*|\s.*)?|[\d,]+\s{_COUNTED}\b.*|n\s?=\s?\d+)",
    re.IGNORECASE | re.VERBOSE,
)
_BESIDE = re.compile(rf"\W*(?:{_FRAME}|{_COUNTED})\W*(?:[\s:=|]\s*\d[\d,]*\b.*)?", re.IGNORECASE | re.VERBOSE)
_LABEL = re.compile(
    rf"\W*(?:(?:.{{0,40}}[\s:_-])?(?:{_TOTAL_WORD}|{_COUNT_WORD})(?:[\s:=_-]\W*.{{0,40}})?)\W*", re.IGNORECASE
)
_PLAIN_TOTAL = re.compile(rf"\W*{_TOTAL_WORD}(?:\s{_COUNTED})?\W*(?:[\s:=|]\s*\d[\d,]*\W*)?", re.IGNORECASE)
_TRAILER = re.compile(r"(?:trailer|trl|tlr|trlr|eof|footer)[\W_]*\d*", re.IGNORECASE)

FOOTER_WORDS = (
    r"(?i)total|count|page|end|tr[l]?r?|tlr|eof|footer|number|no|sum|gesamt|ergebnis|anzahl|nb|recuento|cuenta|conte|som"
    r"|conta|aantal|antal|totaux|parziale|delsumma|razem|итого|всего|合計|小計|合计|总计|seite|p[áa]g|blatt|fin|n[úu]m"
    r"|patient|member|record|row|line|entries|people|person|result|item|datens|zeilen|pacientes|registros|lignes|enreg|pazienti|pati"
)
"""A cell for which `is_footer_beside` or `is_total_label` holds has one of these in it (RE2 syntax, for whole columns)."""


def is_report_line(text: str) -> bool:
    """Whether a cleaned ID cell speaks of the report and not of a patient."""
    return _LINE.fullmatch(text) is not None or is_total_label(text)


def is_footer_beside(text: str) -> bool:
    """Whether a cell beside the ID, in a row that is otherwise almost empty, says that the row is a footer."""
    return _BESIDE.fullmatch(text.strip()) is not None


def is_total_label(text: str) -> bool:
    """Whether a cell names a total, of all or of a group: `Grand total`, `North Count`, `Summe Nord`."""
    return _LABEL.fullmatch(text.strip()) is not None


def is_plain_total(text: str) -> bool:
    """Whether a cell says total and nothing else, which is hardly anybody's name."""
    return _PLAIN_TOTAL.fullmatch(text.strip()) is not None


def is_trailer(text: str) -> bool:
    """Whether an ID is a trailer record's: `TRAILER2`, `TRL|000045`."""
    return _TRAILER.fullmatch(text) is not None


def header_key(text: str) -> str:
    """What a repeated header has in common with the header, whatever the case, spaces and punctuation."""
    return "".join(character for character in text.casefold() if character.isalnum())
