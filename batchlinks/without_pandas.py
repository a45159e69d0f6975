"""What keeps pandas out of commands that never use it."""

import sys


class _NoPandas:
    """Stands before all finders of modules, and says that there is no pandas."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def leave_pandas_out() -> None:
    """Have Arrow believe, until somebody asks it for a DataFrame, that there is no pandas.

    Arrow looks for pandas at its first array, and so would import it: a third of a second for every command, and as much
    again for the process that reads the roster. Only for programs of our own: one that uses batchlinks as a library
    may hand pandas objects to Arrow, which would not know them.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    absent = _NoPandas()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([])  # the look, which is taken once
    finally:
        sys.meta_path.remove(absent)
