"""The frozen base of everything that crosses a process.

The same object is the HTTP body, the Ray payload and the JSON column, so a shape is said once.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; booleans and strings are refused, integers are taken."""

Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
"""An integer that SQL can hold."""

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
"""A seed of every generator used: weights, batches, sampling."""


Precision = Literal["float32", "tf32", "bfloat16"]
"""In which precision a training step is computed.

`tf32`: products and convolutions keep 10 bits of their factors' fractions, on GPUs that can; on a
CPU it is float32. `bfloat16`: the model is run forward and backward in bfloat16 where torch's
autocast deems it safe. Weights, optimizer states, the rule's arithmetic, the loss and all that is
measured are float32 in each.
"""


class Frozen(BaseModel):
    """An immutable record that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
