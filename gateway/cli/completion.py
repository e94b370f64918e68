"""eventstore completion"""

from typing import Literal

from cyclopts import App

from gateway.cli.manners.flags import PLAIN, Flags

NOTES = """\
Names of streams come from the server, if one runs and answers within 300 ms.
For good:

    bash  eventstore completion bash > ~/.local/share/bash-completion/completions/eventstore
    zsh   eventstore completion zsh > ~/.zfunc/_eventstore        (~/.zfunc in fpath, before compinit)
    fish  eventstore completion fish > ~/.config/fish/completions/eventstore.fish

Example:

    eventstore completion bash"""

app = App(name="completion", help_epilogue=NOTES, help_format="plaintext")


@app.default
def completion(shell: Literal["bash", "zsh", "fish"], /, *, flags: Flags = PLAIN) -> None:
    """Print the completion script of a shell.

    Parameters
    ----------
    shell
        The shell.
    """
    from gateway.cli.main import make_app
    from gateway.errors import BadRequest

    if flags.json:
        raise BadRequest("--json has no effect on completion, which prints a script", field="--json")
    print(make_app().generate_completion(prog_name="eventstore", shell=shell), end="")
