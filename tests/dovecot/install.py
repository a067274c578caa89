"""Unpacks Debian's Dovecot, and what it needs and the machine lacks, into a directory. Needs no root, installs nothing.

Fails where Debian's packages cannot be reached: a step of CI that skips itself proves nothing.
"""

import re
import subprocess
import sys
from pathlib import Path

WANTED = ("dovecot-core", "dovecot-imapd")
_MISSING = re.compile(r"^Inst (\S+)", re.MULTILINE)


def unpack(directory: Path) -> Path:
    """Where Dovecot lies unpacked; a second call finds it there.

    Raises:
        SystemExit: a command failed; it says why itself.

    """
    root = directory / "root"
    if (root / "usr/lib/dovecot/imap").exists():
        return root
    packages = directory / "packages"
    for each in ("lists/partial", "cache/archives/partial", "packages"):
        (directory / each).mkdir(parents=True, exist_ok=True)
    # Lists of our own: the system's may be missing, or older than what the archive still holds.
    apt = [
        "apt-get",
        "--quiet",
        "-o",
        f"Dir::State::lists={directory / 'lists'}",
        "-o",
        f"Dir::Cache={directory / 'cache'}",
    ]
    apt += ["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]
    _run([*apt, "--error-on=any", "update"], directory)
    plan = _run([*apt, "--simulate", "--no-install-recommends", "install", *WANTED], directory)
    _run([*apt, "download", *sorted({*WANTED, *_MISSING.findall(plan)})], packages)
    for package in sorted(packages.glob("*.deb")):
        _run(["dpkg", "--extract", str(package), str(root)], directory)
    return root


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, check=False, text=True, capture_output=True)  # noqa: S603 - our own words
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}\nDovecot is not here: its tests cannot run")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{unpack(Path(sys.argv[1]).resolve())}\n")
