"""Git checkouts for tests, made on the spot, and what Git itself says of them."""

import os
import random
import subprocess
from pathlib import Path

import pytest

_AUTHOR = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


class Checkout:
    """A repository with a work tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str | bytes, stdin: bytes | None = None) -> bytes:
        environment = {**os.environ, **_AUTHOR}
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def write(self, path: str | bytes, content: str = "") -> None:
        file = self.folder / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def commit(self, subject: str = "change") -> str:
        """Commits all that is in the work tree."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").decode().strip()

    def commits(self) -> list[str]:
        """Along the first parents, oldest first."""
        return self.git("rev-list", "--first-parent", "--reverse", "HEAD").decode().split()

    def tree(self, commit: str = "HEAD") -> bytes:
        """The oracle."""
        return self.git("ls-tree", "-r", "-z", "--full-tree", commit)


def eventful_checkout(folder: Path) -> Checkout:
    """A history with everything that Git allows and that a careless reader gets wrong."""
    made = Checkout(folder)
    _strange_names(made)
    _every_kind_of_change(made)
    _a_merge(made)
    _a_submodule(made)
    made.commit("nothing changed")
    return made


def _strange_names(made: Checkout) -> None:
    made.write("README.md", "# Start\n")
    made.write("docs/naïve café.md", "# Café\n")
    made.write("docs/two words.md", "x")
    made.write('docs/quo"te\\back.md', "x")
    made.write("docs/new\nline\ttab.md", "x")
    made.write(b"docs/latin-\xe9.md", "x")
    made.write("docs/{brace}.md", "x")
    made.write("-dash.md", "x")
    made.write(":colon.md", "x")
    made.write("100%0A.md", "x")
    made.write("/".join(["long" * 50] * 3) + "/deep.md", "x")
    made.commit("strange names")


def _every_kind_of_change(made: Checkout) -> None:
    made.write("a.md", "# A\n")
    made.write("folder/b.md", "b")
    made.commit("two more")
    made.write("a.md", "# A\n\nmore\n")
    made.git("mv", "folder/b.md", "folder/c.md")
    made.commit("changed and renamed")
    (made.folder / "a.md").unlink()
    made.commit("removed")
    made.write("a.md", "# A\n")
    made.commit("came back as it was")
    (made.folder / "a.md").chmod(0o755)
    made.commit("another mode")
    (made.folder / "a.md").unlink()
    (made.folder / "a.md").symlink_to("README.md")
    made.commit("a link now")
    (made.folder / "a.md").unlink()
    made.write("a.md/inside.md", "in a folder that was a file")
    made.commit("a folder now")


def _a_merge(made: Checkout) -> None:
    made.git("checkout", "--quiet", "-b", "side")
    made.write("side.md", "side")
    made.git("rm", "--quiet", "docs/two words.md")
    made.commit("on the side")
    made.git("checkout", "--quiet", "main")
    made.write("main.md", "main")
    made.commit("on main")
    made.git("merge", "--quiet", "--no-ff", "-m", "merged", "side")


def _a_submodule(made: Checkout) -> None:
    made.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    made.git("commit", "--quiet", "-m", "a submodule")
    # A checkout of it would be an empty folder; `add --all` would take its absence for a removal.
    (made.folder / "lib").mkdir()


def long_checkout(folder: Path, commits: int, files: int = 40) -> tuple[Checkout, int]:
    """A history of so many commits, and how many file changes it has. The same each time."""
    made = Checkout(folder)
    dice = random.Random(commits)
    present: set[str] = set()
    stream, changes = [], 0
    for number in range(1, commits + 1):
        stream.append(f"commit refs/heads/main\ncommitter Ada <a@example.org> {1_600_000_000 + number} +0000\n")
        stream.append("data 1\nx\n")
        for name in sorted(dice.sample(range(files), dice.randint(1, 4))):
            path, changes = f"docs/{name}.md", changes + 1
            if path in present and dice.random() < 0.2:
                present.remove(path)
                stream.append(f"D {path}\n")
            else:
                present.add(path)
                text = f"# {number}\n\n[x](gone-{number}.md)\n"
                stream.append(f"M 100644 inline {path}\ndata {len(text)}\n{text}\n")
    made.git("fast-import", "--quiet", stdin="".join(stream).encode())
    made.git("reset", "--quiet", "--hard", "main")
    return made, changes


def corpus(folder: Path) -> Checkout:
    """A clone of a real documentation project: DOCS_CORPUS, else the bundle beside this repository."""
    named = os.environ.get("DOCS_CORPUS")
    bundle = Path(named) if named else Path(__file__).parents[3] / "shared" / "data" / "redis-doc.bundle"
    if not bundle.exists():
        pytest.skip(f"not applicable: no corpus of real documentation here ({bundle}; DOCS_CORPUS names another)")
    subprocess.run(["git", "clone", "--quiet", str(bundle), str(folder)], check=True, capture_output=True)
    return Checkout(folder)
