"""A real Slurm of a few nodes on this machine, for tests: everything in its folder, without systemd or cgroups.

Debian's Slurm 22.05: apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
(and slurmdbd mariadb-server for clusters with accounting).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
HERE = Path(__file__).parent
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
USABLE = {"idle", "mixed", "allocated", "completing", "planned"}  # states of a node that accepts jobs


def available(accounting: bool = False) -> str:
    """Returns why no cluster can be started here, or an empty string."""
    if missing := [name for name in PROGRAMS + (ACCOUNTING if accounting else ()) if not shutil.which(name, path=PATH)]:
        return f"{', '.join(missing)} not installed: see tests/tools/slurm.py"
    if os.geteuid() != 0:
        return "slurmd starts jobs as their users: only root may run it"
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        return "Slurm wants a host name that resolves: add it to /etc/hosts"
    return ""


def processes(config: Path, node: str = "") -> dict[int, str]:
    """Command lines of the live processes of a cluster or of one node, found by their environment or a parent's."""
    wanted = {f"SLURM_CONF={config}".encode()} | ({f"SLURMD_NODENAME={node}".encode()} if node else set())
    parents, commands, members = {}, {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            pid, (state, parent) = int(entry.name), (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state != b"Z" and pid != os.getpid():
                parents[pid] = int(parent)
                commands[pid] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                    members.add(pid)
    while children := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= children
    return {pid: commands[pid] for pid in members if pid in commands}


def kill(config: Path, node: str = "") -> None:
    """Kills all processes of a cluster or node, and those that they start meanwhile."""
    while pids := processes(config, node):
        for signal_ in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none reports another's end
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_)
        time.sleep(0.02)


def free_port(address: str) -> int:
    """A free port below 32768, where outgoing connections begin, so that it is still free after a crash."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, port := random.SystemRandom().randint(10_000, 32_000)))
            return port


class Cluster:
    """A Slurm with nodes n1, n2, ... and two partitions: `urgent` preempts `main`. Use: `with Cluster(folder) as cluster:`.

    Each node pretends to have a GPU: jobs with `--gres=gpu:1` get CUDA_VISIBLE_DEVICES. Without `accounting`, `sacct` fails.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 2,
        cpus_per_node: int = 1,
        *,
        memory_mb: int = 2000,
        max_array_size: int = 1001,
        grace_seconds: int = 5,
        accounting: bool = False,
        conf_extra: str = "",
    ) -> None:
        self.folder, self.config = folder.absolute(), folder.absolute() / "slurm.conf"
        if len(str(self.folder)) > 80:  # a socket's path has 107 characters at most, of which Slurm adds up to 25
            raise ValueError(f"{self.folder}: too long for the sockets in it; allowed: at most 80 characters")
        self.nodes, self.accounting = [f"n{i + 1}" for i in range(nodes)], accounting
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        self.env = {**inherited, "SLURM_CONF": str(self.config), "PATH": PATH}
        host, self._address = socket.gethostname().split(".")[0], socket.gethostbyname(socket.gethostname())
        values = {"folder": self.folder, "host": host, "address": self._address, "port": free_port(self._address)}
        values |= {
            "memory_per_cpu": memory_mb // cpus_per_node,
            "max_array_size": max_array_size,
            "grace_seconds": grace_seconds,
        }
        size = f"CPUs={cpus_per_node} RealMemory={memory_mb} Gres=gpu:1"
        where = f"NodeHostname={host} NodeAddr={self._address}"
        lines = [f"NodeName={node} {where} Port={free_port(self._address)} {size}" for node in self.nodes]
        self._texts = {"slurm.conf": "\n".join([(HERE / "slurm.conf.in").read_text().format(**values), *lines, conf_extra, ""])}
        self._texts["gres.conf"] = "Name=gpu File=/dev/null\n"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for name in ("state", *self.nodes):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if self.accounting:
            self._accounting_config()
        for name, text in self._texts.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)  # slurmdbd refuses a file that others may read
        # the end of this process, even by SIGKILL, closes the pipe, and the guard kills the rest of the cluster
        self._guard = subprocess.Popen(
            [sys.executable, "-IS", __file__, self.config], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._start_munged()
            if self.accounting:
                self._start_accounting()
            self.start_controller()
            for node in self.nodes:
                self._start("slurmd", "-D", "-N", node, name=node)
            self._wait_for_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kills all processes that have this cluster's SLURM_CONF: daemons, jobs and others."""
        self._guard.communicate()
        for daemon in self._daemons.values():
            daemon.wait()

    def sh(self, command: str, timeout: float = 60) -> str:
        """Runs a shell command in the environment of the cluster; returns its standard output."""
        try:
            done = subprocess.run(
                ["sh", "-c", command], env=self.env, capture_output=True, text=True, timeout=timeout, check=True
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise
        return done.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """The fields that scontrol shows of a job: JobState, Reason, Restarts, ExitCode, NodeList, ..."""
        return {
            name: value for name, _, value in (word.partition("=") for word in self.sh(f"scontrol show job -o {job}").split())
        }

    def node_state(self, node: str) -> str:
        """The state that sinfo shows: idle, allocated, mixed, down, drained, ...; with a `*` if the node does not respond."""
        return self.sh(f"sinfo -h -N -p main -n {node} -o %T")

    def wait_for(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Waits until the condition holds. Raises TimeoutError with the daemons' logs, at once if a daemon ends."""
        end = time.monotonic() + seconds
        while not condition():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > end:
                logs = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))
                raise TimeoutError(f"waited for {what}; ended: {', '.join(ended) or 'nothing'}; logs:\n{logs}")
            time.sleep(0.1)

    def wait_for_state(self, job: str, state: str, seconds: float = 60) -> dict[str, str]:
        """Waits for this JobState; returns the job's fields."""
        self.wait_for(lambda: self.job(job)["JobState"] == state, seconds, f"job {job} to be {state}")
        return self.job(job)

    def end_in(self, job: str, seconds: int) -> None:
        """Sets a time limit of seconds for a running job, which sbatch cannot. Slurm checks limits every 30 seconds."""
        self.sh(f"scontrol update JobId={job} EndTime=now+{seconds}")

    def kick(self) -> None:
        """Starts requeued jobs at once, which would wait for two minutes, unless a step of their last start still runs."""
        for line in self.sh("squeue -h -r -t all -o '%i %A %T %r'").splitlines():
            job, own_id, state, reason = line.split(maxsplit=3)  # for a task of an array: 7_1 and 9
            if (state, reason) == ("PENDING", "BeginTime") and self.job(job)["Restarts"] != "0":
                running = processes(self.config).values()
                if not any(f"slurmstepd: [{own_id}." in command for command in running):
                    self.sh(f"scontrol update JobId={job} StartTime=now")

    @contextlib.contextmanager
    def kicking(self, seconds: float = 1) -> Iterator[None]:
        """Calls `kick` every so many seconds inside the block."""
        done = threading.Event()

        def kicks() -> None:
            while not done.wait(seconds):
                with contextlib.suppress(subprocess.SubprocessError):  # the controller is down, or the job has ended
                    self.kick()

        thread = threading.Thread(target=kicks)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def preempt(self, seconds: float, node: str = "") -> str:
        """Submits a job to `urgent` that takes one node, or all, from the jobs of `main`; returns its id."""
        where = f"--nodelist={node}" if node else f"--nodes={len(self.nodes)}"
        return self.sh(f"sbatch --parsable -p urgent {where} --exclusive --mem=0 -o /dev/null --wrap 'sleep {seconds}'")

    def crash_node(self, node: str) -> None:
        """Kills slurmd, steps and jobs of a node at once; the controller is not informed."""
        kill(self.config, node)
        self._daemons.pop(node).wait()

    def start_node(self, node: str) -> None:
        """Restarts a crashed node; returns when it accepts jobs. Slurm may notice up to 20 s later that its job is missing."""
        self._start("slurmd", "-D", "-N", node, name=node)
        self._wait_for_nodes()

    def stop_controller(self) -> None:
        """Stops slurmctld: jobs continue, Slurm's commands fail."""
        daemon = self._daemons.pop("slurmctld")
        daemon.terminate()  # SIGKILL would lose the last seconds of its state
        daemon.wait()

    def start_controller(self) -> None:
        """Starts slurmctld with its saved state; returns when running nodes accept jobs."""
        self._start("slurmctld", "-D")
        self.wait_for(lambda: "UP" in self.sh("scontrol ping || true"), 60, "slurmctld")
        self._wait_for_nodes()

    def _wait_for_nodes(self) -> None:
        running = [node for node in self.nodes if node in self._daemons]
        self.wait_for(lambda: all(self.node_state(node) in USABLE for node in running), 60, "nodes")

    def _start(self, *command: str, name: str = "") -> None:
        name = name or command[0]
        env = self.env | {"SLURMD_NODENAME": name}  # steps inherit it, so that `processes` finds their node
        with (self.folder / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def _start_munged(self) -> None:
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)  # munged refuses a key that others may read
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *files)
        self.wait_for((self.folder / "munge.socket").exists, 20, "munged")

    def _accounting_config(self) -> None:
        self._sql, dbd = free_port("127.0.0.1"), free_port("127.0.0.1")
        self._texts["slurmdbd.conf"] = (
            (HERE / "slurmdbd.conf.in").read_text().format(folder=self.folder, dbd=dbd, sql=self._sql)
        )
        storage = {
            "Type": "accounting_storage/slurmdbd",
            "Host": "127.0.0.1",
            "Port": dbd,
            "Pass": self.folder / "munge.socket",
        }
        self._texts["slurm.conf"] += "".join(f"AccountingStorage{name}={value}\n" for name, value in storage.items())

    def _start_accounting(self) -> None:
        data = f"--no-defaults --user=root --datadir={self.folder}/sql"
        self.sh(f"mariadb-install-db {data} --auth-root-authentication-method=normal --skip-test-db")
        self._start("mariadbd", *data.split(), f"--socket={self.folder}/sql.socket", f"--pid-file={self.folder}/sql.pid",
                    f"--port={self._sql}", "--bind-address=127.0.0.1")  # fmt: skip
        self.wait_for((self.folder / "sql.socket").exists, 60, "mariadbd")
        self._start("slurmdbd", "-D")
        self.wait_for(lambda: "up" in self.sh("sacctmgr -n list cluster && echo up || true"), 60, "slurmdbd")


if __name__ == "__main__":
    sys.stdin.read()
    kill(Path(sys.argv[1]))
