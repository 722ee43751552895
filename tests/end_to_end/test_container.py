"""The container file, as far as it can be tried without a container: its form, its sources, its own installation."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from blofin_assets.shared.code_version import PROJECT

FILE = PROJECT / "deploy" / "Containerfile"
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "ENV", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its text."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def test_it_is_made_of_known_parts_and_ends_as_a_user_without_rights() -> None:
    parts = instructions()
    assert {name for name, _ in parts} <= KNOWN
    python = re.search(r'^requires-python = ">=([\d.]+)', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert python
    assert parts[0] == ("FROM", f"docker.io/library/python:{python[1]}-slim")
    users = [text for name, text in parts if name == "USER"]
    assert users == ["blofin"]
    assert any(
        f"useradd --system --uid 10001 --create-home --home-dir /var/lib/blofin {users[0]}" in text for _, text in parts
    )
    names = [name for name, _ in parts]
    assert "RUN" not in names[names.index("USER") :]
    for name, text in parts:
        if name == "COPY":
            assert (PROJECT / text.split()[0]).exists()
        if name in {"ENTRYPOINT", "CMD"}:
            assert all(isinstance(word, str) for word in json.loads(text))
    assert "ANTHROPIC" not in FILE.read_text()


def test_what_is_copied_leaves_out_secrets_and_data() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().split()
    assert {".env", ".git", ".venv", "warehouse/*"} <= set(ignored)
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert kept == [
        line[2:-1] for line in (PROJECT / ".gitignore").read_text().split() if line.startswith("!/warehouse")
    ]


@pytest.mark.slow
def test_its_commands_install_what_runs_where_no_source_is(tmp_path: Path) -> None:
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S607
    source = tmp_path / "source"
    for name in tracked.stdout.split():
        if (PROJECT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    for text in (text for name, text in instructions() if name == "RUN"):
        words = shlex.split(text)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], cwd=source, check=True, capture_output=True)
            [site] = (source / ".venv").glob("lib/*/site-packages")
            # the libraries are those of this environment, in place of their download, the tool that builds among them
            for old in site.glob("setuptools*"):
                shutil.rmtree(old)
            (site / "libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
        elif words[0].startswith(".venv/") and "-r" not in words:
            subprocess.run([*words, "--force-reinstall"], cwd=source, check=True, capture_output=True)
    entry = json.loads(next(text for name, text in instructions() if name == "ENTRYPOINT"))
    command = [str(source / ".venv" / "bin" / entry[0]), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("blofin ")
