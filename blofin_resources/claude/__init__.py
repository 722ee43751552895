"""Claude: questions in roles, structured answers, a daily budget, every call on record.

Belongs here: the client of the [Messages API](https://platform.claude.com/docs/en/api/messages), models and prices,
the ledger of calls. Does not belong here: what is asked and what is done with the answer (`strategies.evolution`,
`blofin_assets`).

How it works, in one rule: whatever happens, `Claude.ask` returns a value and leaves a row, and the row is what the
same cycle is answered with if it is materialised again.
"""

from blofin_resources.claude.claude import REASONS, Answer, Claude, Prompt, Reason, Unavailable
from blofin_resources.claude.models import ROLES, Models, Role, load_models

__all__ = ["REASONS", "ROLES", "Answer", "Claude", "Models", "Prompt", "Reason", "Role", "Unavailable", "load_models"]
