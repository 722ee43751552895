"""Claude: prompts by role, structured answers, a daily budget, a record of every call.

Belongs here: the client of the [Messages API](https://platform.claude.com/docs/en/api/messages), models and prices,
the ledger of calls. Does not belong here: prompts, and what is done with an answer (`strategies.llm`,
`blofin_assets`).

One rule: whatever happens, `Claude.ask` returns a value and stores a row, and from that row the same cycle is answered
if it is materialised again.
"""

from blofin_resources.claude.claude import REASONS, Answer, Claude, Prompt, Reason, Unavailable
from blofin_resources.claude.models import ROLES, Models, Role, load_models

__all__ = ["REASONS", "ROLES", "Answer", "Claude", "Models", "Prompt", "Reason", "Role", "Unavailable", "load_models"]
