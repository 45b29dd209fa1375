"""Parts of a page that a program writes: what stands between two markers; the rest stays."""

from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """Return the lines between which a part of a page stands."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write_between(page: Path, name: str, text: str) -> None:
    """Put a text between the markers of a page; everything else on it stays.

    Args:
        page: Markdown.
        name: Of the markers.
        text: Without blank lines around it.

    Raises:
        ValueError: The page has no such markers.
    """
    begin, end = markers(name)
    before, first, rest = page.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{page} has no markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
