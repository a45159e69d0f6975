"""How numbers are said in sentences."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """As in "1 link" and "1,200 links"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
