"""One door to numba: functions compiled to machine code and cached on disk beside their module.

The first call on a new machine compiles for some seconds; later processes load the cache. When the
package folder is read-only numba keeps its cache in the user's cache folder, `NUMBA_CACHE_DIR` wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile `function` without the interpreter; it may only use numbers, arrays and tuples."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))
