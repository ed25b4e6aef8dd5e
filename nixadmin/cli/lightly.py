"""`override` without its weight: typing_extensions takes longer to import than all of --help may take."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import override as override
else:

    def override(method: Any) -> Any:  # noqa: ANN401 - it stands for one of any type
        return method
