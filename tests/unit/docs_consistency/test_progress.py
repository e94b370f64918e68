import io

from examples.docs_consistency.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_outside_a_terminal_there_is_a_line_each_ten_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress("ingesting", "commits", 3_000, out=out, clock=clock)
    for _ in range(30):
        clock.now += 1
        progress.advance(50)
    progress.close()
    assert out.getvalue().splitlines() == [
        "ingesting  500/3,000 commits  17%  50/s  ETA 0:50",
        "ingesting  1,000/3,000 commits  33%  50/s  ETA 0:40",
        "ingesting  1,500/3,000 commits  50%  50/s  ETA 0:30",
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    out, clock = Terminal(), Clock()
    progress = Progress("ingesting", "commits", 100, out=out, clock=clock)
    clock.now += 2
    progress.advance(50)
    assert out.getvalue() == "\ringesting  [############            ] 50/100 commits  50%  25/s  ETA 0:02\033[K"
    progress.close()
    assert out.getvalue().endswith("\r\033[K")


def test_work_under_a_second_is_silent() -> None:
    for out in (Terminal(), io.StringIO()):
        clock = Clock()
        progress = Progress("ingesting", "commits", 100, out=out, clock=clock)
        for _ in range(9):
            clock.now += 0.1
            progress.advance(10)
        progress.close()
        assert out.getvalue() == ""


def test_without_a_total_the_rate_is_told() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress("reading the log", "events", out=out, clock=clock)
    clock.now += 10
    progress.advance(5_000)
    assert out.getvalue() == "reading the log  5,000 events  500/s\n"
