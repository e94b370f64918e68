"""The commands: name, module, and what each does in one line. Nothing of a command is imported until it is called."""

from typing import NamedTuple


class Command(NamedTuple):
    """`module` holds an App with the same name as the command."""

    name: str
    module: str
    help: str


GROUPS: dict[str, tuple[Command, ...]] = {
    "Every day": (
        Command("up", "up", "Hold the server up and run consumers until Ctrl-C"),
        Command("work", "work", "Run the consumers of a module until Ctrl-C"),
        Command("publish", "publish", "Append one event to a stream, now or later"),
        Command("read", "read", "Print the events of a stream"),
        Command("tail", "tail", "Follow the events of all streams as they come"),
    ),
    "What is there": (
        Command("streams", "streams", "List streams: version, partition, last event"),
        Command("log", "log", "Describe the log: partitions, heads, epochs, memory"),
        Command("groups", "groups", "List, make, delete, pause or resume consumer groups"),
        Command("dlq", "dlq", "List, show, retry, discard or export dead letters"),
        Command("replay", "replay", "Have a group handle events again; shows a plan first"),
        Command("replays", "replays", "List, show, cancel or resume replays"),
        Command("sagas", "sagas", "List or show sagas; retry, skip a step, abort, draw"),
        Command("projections", "projections", "List or show read models; rebuild, roll back, as of a time"),
        Command("timers", "timers", "List or cancel events that wait for their time"),
        Command("types", "types", "List the event types of a module, or find what a change breaks"),
        Command("audit", "audit", "List who changed what and why"),
        Command("jobs", "jobs", "List, show or cancel long work"),
    ),
    "In and out": (
        Command("import", "import_", "Append the events of a file, each exactly once"),
        Command("export", "export", "Write all events as NDJSON"),
    ),
    "Is it well": (
        Command("config", "config", "Show every setting and where it comes from"),
        Command("doctor", "doctor", "Check the server; exit 1 if anything fails"),
        Command("verify", "verify", "Check the log and its groups against their invariants"),
        Command("bench", "bench", "Measure appends and reads on this server"),
        Command("completion", "completion", "Print the completion script of a shell"),
    ),
}
COMMANDS: tuple[Command, ...] = tuple(command for group in GROUPS.values() for command in group)


def overview() -> str:
    """`eventstore --help`: printed without importing the parser, within the time that a person does not notice."""
    lines = ["Usage: eventstore COMMAND [OPTIONS] [ARGS]", "", "An event-sourced log on Redis Streams."]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {command.name:<12}{command.help}" for command in commands)]
    return "\n".join([*lines, "", *_ENDING])


_ENDING = (
    "Shared flags, before or after the command, whose --help lists those it takes:",
    "  --json --url URL --config FILE -q -v --color auto|always|never",
    "  --time relative|iso|raw --timeout 10s --no-input --no-pager --version",
    "",
    "Without a server in the settings (REDIS_URL, ...), one is started for",
    ".eventstore and stopped by its last user.",
    "",
    "Example:",
    "",
    "    eventstore publish order-42 OrderPlaced '{\"total\": 99}'",
)
