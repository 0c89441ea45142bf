"""The one error that a rule's text can cause."""

from difflib import get_close_matches

__all__ = ["RuleError", "nearest"]


class RuleError(ValueError):
    """A rule that cannot be accepted: what is wrong, where, and what would help.

    Attributes:
        message: What is wrong, in one sentence.
        text: The rule's text.
        position: Character offset into `text` (0-based), at most its length.
        line: Line of the position (1-based).
        column: Column of the position (1-based).
        hint: What to do about it, or an empty string.
    """

    def __init__(self, message: str, text: str = "", position: int = 0, hint: str = "") -> None:
        self.message = message
        self.text = text
        self.position = max(0, min(position, len(text)))
        before = text[: self.position]
        self.line = before.count("\n") + 1
        self.column = self.position - (before.rfind("\n") + 1) + 1
        self.hint = hint
        super().__init__(message, text, position, hint)

    def __str__(self) -> str:
        lines = self.text.split("\n")
        source = lines[self.line - 1].replace("\t", " ") if self.text else ""
        start = max(0, self.column - 61)
        shown = source[start : start + 80]
        parts = [f"{self.message} (line {self.line}, column {self.column})"]
        if shown.strip():
            parts += [f"  {shown}", f"  {' ' * (self.column - 1 - start)}^"]
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


def nearest(word: str, known: list[str]) -> str:
    """Return a hint naming the known word nearest to `word`, or all of them if they are few."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known names: {', '.join(sorted(known))}."
