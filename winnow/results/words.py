"""Numbers with their nouns, what a threshold promises and what it was chosen by, as the terminal, the report and the card say it."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 video, 1,200 videos, 2 patches."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural: videos, patches, classes."""
    return noun + ("es" if noun.endswith(("ch", "ss")) else "s")


def verb(number: int, one: str, many: str) -> str:
    """Return a number with its verb: 1 does, 1,200 do."""
    return f"{number:,} {one if number == 1 else many}"


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as per cent: 0.0123 is 1.2 %."""
    return f"{100 * share:.{decimals}f} %"


def false_alarms(rate: float, held_out: int, of: str = "", estimated: bool = False) -> str:
    """Return which false-alarm rate (`of` what) a threshold promises, or is estimated to have, by how many held-out pictures."""
    if rate >= 1:
        return "no false-alarm rate can be promised"
    manner = "estimated, not promised, from" if estimated else "from"
    return f"{percent(rate, 2)} false alarms{of}, {manner} {held_out:,} held-out picture{'' if held_out == 1 else 's'}"


def promised(rate: float, estimated: bool = False) -> str:
    """Return which rate was promised, or estimated, for a sentence on the false alarms that were seen."""
    return "none promised" if rate >= 1 else f"{percent(rate)} {'estimated' if estimated else 'promised'}"


def elected(scores: dict[str, float]) -> str:
    """Return which scorer was chosen by its AUROC on synthetic defects, and those of the others."""
    first, *others = sorted(scores, key=lambda name: -scores[name])
    rest = ", ".join(f"'{name}' {scores[name]:.3f}" for name in others)
    return (
        f"'{first}' decides: of damaged copies of these pictures it tells more from the good ones "
        f"(AUROC {scores[first]:.3f}) than {rest}."
    )
