"""The processor time of a server that is not asked for it: of its process and of all that it has started."""

import psutil


class ProcessMeter:
    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    async def cpu_seconds(self) -> float:
        return sum(_used(process) for process in self._family())

    def pids(self) -> list[int]:
        return [process.pid for process in self._family()]

    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


def _used(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # its parent counts it from now on
    return float(used.user + used.system + used.children_user + used.children_system)
