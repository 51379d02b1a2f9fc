"""Results as tables of pyarrow and pandas."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from winnow.errors import RunError, WinnowError

if TYPE_CHECKING:
    import pyarrow


class Result:
    """A result that can be read as a table: the rows that its step wrote, or, where it wrote none, one row of its own values."""

    TABLE: ClassVar[str] = ""

    def table(self) -> pyarrow.Table:
        """Return the rows as a `pyarrow.Table`, `belongs` and `flagged` as booleans; `RunError` when their file is gone."""
        import pyarrow as pa

        if not self.TABLE:
            flat = {name: value for name, value in asdict(self).items() if not isinstance(value, (dict, list, tuple))}  # type: ignore[call-overload]
            return pa.table(
                {
                    name: [value if value is None or isinstance(value, (bool, int, float)) else str(value)]
                    for name, value in flat.items()
                }
            )
        from pyarrow import csv

        path = self.folder / self.TABLE  # type: ignore[attr-defined]
        texts = dict.fromkeys(("id", "source", "class", "track", "group"), pa.string())
        types: dict[str, Any] = {**texts, "time": pa.float64(), "belongs": pa.bool_(), "flagged": pa.bool_()}
        read = csv.ConvertOptions(column_types=types, true_values=["yes"], false_values=["no"])
        try:
            return csv.read_csv(path, convert_options=read, parse_options=csv.ParseOptions(newlines_in_values=True))
        except FileNotFoundError:
            raise RunError(f"{path} is not there any more.", "Do the step again.") from None

    def to_pandas(self) -> Any:
        """Return the same as a `pandas.DataFrame`; `WinnowError` where pandas is not installed."""
        try:
            import pandas  # type: ignore[import-untyped]  # noqa: F401
        except ModuleNotFoundError:
            raise WinnowError(
                "to_pandas() needs pandas, which is not installed.",
                "Install it: pip install pandas; or take table(), which does without.",
            ) from None
        return self.table().to_pandas()
