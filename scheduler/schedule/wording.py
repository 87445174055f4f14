"""How refused texts are shown in errors: short, readable, and with nothing that hides."""

import unicodedata

_LONGEST = 64
_BLANKS = frozenset(" \t\r\n\v\f")


def quoted(text: str) -> str:
    """The text in quotes: at most 64 characters, those that cannot be seen as escapes."""
    shown = "".join(map(_visible, text[:_LONGEST]))
    mark = '"' if "'" in shown else "'"
    return f"{mark}{shown}{'…' if len(text) > _LONGEST else ''}{mark}"


def counted(count: int, noun: str) -> str:
    """`1 step`, `2 steps`: for nouns whose plural ends in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def foreign_character(text: str) -> str | None:
    """What to write instead of a text's first character that is no ASCII text; None without one."""
    for character in text:
        if not (character.isascii() and (character.isprintable() or character in _BLANKS)):
            return f"{_named(character)} does not belong here; {_remedy(character)}"
    return None


def _visible(character: str) -> str:
    return character if character.isprintable() else _escaped(character)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    code = f"U+{ord(character):04X} {name}".rstrip()
    return f"'{character}' ({code})" if character.isprintable() else f"the invisible {code}"


def _remedy(character: str) -> str:
    if character.isspace():
        return "write a plain blank"
    if unicodedata.category(character) == "Pd" or character == "\N{MINUS SIGN}":
        return "write '-'"
    plain = unicodedata.normalize("NFKC", character)
    if unicodedata.decimal(character, None) is not None:
        plain = str(unicodedata.decimal(character))
    if plain != character and plain.isascii() and plain.isprintable():
        return f"write '{plain}'"
    return "take it out: only ASCII letters, digits and signs are read"
