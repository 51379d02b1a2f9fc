"""What people do to items, and which of it can be kept: events, names of classes and of persons."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from winnow.errors import OptionError

CHECK = "check"
"""Of what was seen: the suggestion contradicted the label that the item had, and the person was asked to check it."""
DECIDE = ("label", "skip", "clear")
KINDS = (*DECIDE, "note", "undo")
SEEN = "\u00a0\u200c\u200d\u202f\u3000"
"""Spaces and joiners that are no control characters: names in Persian, Hindi or of symbols need them."""
NONE_SEEN = "none"
"""What a person saw who was shown no suggestion."""
_SEEN = re.compile(rf"{NONE_SEEN}|(?:{CHECK} )?(?:0\.\d{{1,4}}|1) (?P<name>[^\n]+)")
LONGEST = {"who": 100, "uuid": 64, "at": 64, "class": 100, "note": 2000, "item": 10_000, "act": 40_000}
MOST_ITEMS = 500  # of one act


class Event(NamedTuple):
    """What one person did to one item, or to several at once: then `item` has a line for each, and the act is whole or absent.

    `value` is a class, the text of a note or the uuid of the event undone. `seen` is the suggestion that the person saw who
    decided: "0.93 staff", its probability and class; "check 0.93 staff" where it contradicted the item's label; "none" where none
    was shown; "" where that is not known, as of an import. Of several items it is a line each, or one line for all.
    """

    uuid: str
    item: str
    kind: str
    value: str = ""
    at: str = ""
    seen: str = ""


def items_of(item: str) -> list[str]:
    """Return the items that an event names."""
    return item.split("\n")


def seen_of(item: str, seen: str) -> list[str]:
    """Return what was seen of each item that an event names, in their order."""
    count, lines = len(items_of(item)), seen.split("\n")
    return lines if len(lines) == count else [seen] * count


def is_seen(letter: str) -> bool:
    """Return whether a letter is no control character, so that a name may hold it."""
    return letter.isprintable() or letter in SEEN


def class_name(text: str) -> str:
    """Return a class's name as it is kept: trimmed, accents composed; `OptionError` when it is no line of text."""
    name = unicodedata.normalize("NFC", text.strip())
    reason = _not_text(name, LONGEST["class"]) or ("is empty" if not name else "")
    if not reason and not all(map(is_seen, name)):
        reason = "holds a control character"
    if reason:
        raise OptionError(f"The class {text[:50]!r} {reason}.", "Give a short name, on one line.")
    return name


def check_who(who: str) -> None:
    """Raise `OptionError` for the name of a person that is empty, too long or not text."""
    reason = _not_text(who, LONGEST["who"]) or ("is empty" if not who.strip() else "")
    if reason or not all(map(is_seen, who)):
        raise OptionError(
            f"The name of who labels {reason or 'holds control characters'}.", "Give a short name: --who NAME"
        )


def malformed(event: Event) -> str:
    """Return why an event cannot be kept, whatever else is in the store, or ""."""
    if event.kind not in KINDS:
        return f"There is no kind of event {event.kind[:20]!r}."
    if not event.item or not (event.uuid.isascii() and event.uuid.replace("-", "").isalnum()):
        return "An event needs an item, and a uuid of letters, digits and hyphens."
    items = items_of(event.item)
    if not all(items) or len(set(items)) < len(items) or len(items) > MOST_ITEMS:
        return f"An act names up to {MOST_ITEMS} items, each once, one a line."
    longest = LONGEST["item" if len(items) == 1 else "act"]
    limits = {"uuid": LONGEST["uuid"], "at": LONGEST["at"], "value": LONGEST["note"], "item": longest}
    for name, most in limits.items():
        if reason := _not_text(getattr(event, name), most):
            return f"Its {name} {reason}."
    if event.kind in ("skip", "clear") and event.value:
        return f"'{event.kind}' takes no value."
    if event.seen and (event.kind not in DECIDE or any(map(malformed_seen, seen_of(event.item, event.seen)))):
        return "What was seen is no suggestion, as in '0.93 staff', and not 'none'."
    return ""


def malformed_seen(seen: str) -> bool:
    """Return whether a text is not what somebody can have seen."""
    found = _SEEN.fullmatch(seen)
    return found is None or bool(found["name"] and _not_text(found["name"], LONGEST["class"]))


def _not_text(text: str, most: int) -> str:
    if len(text) > most:
        return f"has more than {most} characters"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON may hold half of a character
        return "is not text"
    return "is not text" if "\0" in text else ""
