"""The child process in which an untrusted model is loaded first.

Belongs here: giving up what is not needed, then loading and asking. Does not belong here: the parent's side
(`trial_load`), what loading and asking are (`artifacts`).

Run as ``python -I -m model_zoo.serving.trial_child FOLDER``.
"""

import resource
import sys
from pathlib import Path

from model_zoo.serving.trial_load import LONGEST, MEMORY, REFUSED, SECONDS


def main() -> None:
    """Drop rights, load the model of the folder and report its faults."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from model_zoo.serving.artifacts import try_artifact  # noqa: PLC0415  # only now, within the limits

    try:
        try_artifact(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason
        sys.stdout.buffer.write((str(error) or repr(error)).encode(errors="replace")[:LONGEST])
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
