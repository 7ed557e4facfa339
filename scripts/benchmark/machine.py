"""Processes, processors and network namespaces, and their removal."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

# How long a server may take to stop before it is killed.
ENDING = 120.0

# The link that is not loopback: the server's end and the clients'.
SERVER_SIDE = "10.213.77.1"
CLIENT_SIDE = "10.213.77.2"

TXT, SOA = 16, 6


class Failure(Exception):
    """Ends the benchmark, with a message that says what to do."""


class TooSlow(Failure):
    """A step exceeded its time limit."""


class Machine:
    """The machine under test. Ends every process and removes every file and namespace that
    it has created."""

    def __init__(self, programs, results):
        self.programs = pathlib.Path(programs)
        processors = sorted(os.sched_getaffinity(0))
        self.server_processor, self.load_processor = processors[0], processors[-1]
        self.shares_processor = len(processors) == 1
        self.servers = []
        self.namespaces = []
        # The system's temporary directory may be in memory.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=results))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A second signal must not interrupt the cleanup.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in list(self.servers):
            server.kill()
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def program(self, name):
        """One of the project's programs."""
        place = self.programs / name
        return str(place if place.exists() else self.programs / "examples" / name)

    def make(self, name):
        """Creates a directory."""
        directory = self.directory / name
        directory.mkdir(parents=True)
        return directory

    def link(self):
        """Creates two linked namespaces, and returns their names."""
        names = [f"bench{os.getpid()}-{side}" for side in ("server", "client")]
        for name in names:
            run(["ip", "netns", "add", name])
            self.namespaces.append(name)
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        server, client = names
        pair = ["veth0", "type", "veth", "peer", "eth0", "netns", client]
        run(["ip", "-n", server, "link", "add"] + pair)
        for name, device, address in (
            (server, "veth0", SERVER_SIDE),
            (client, "eth0", CLIENT_SIDE),
        ):
            run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", device])
            run(["ip", "-n", name, "link", "set", device, "up"])
        return names

    def start(self, name, command, address, namespace=None):
        """Starts a server on the processor for servers."""
        server = Server(self, name, command, address, namespace)
        self.servers.append(server)
        return server

    def load_command(self, command, namespace=None):
        """The command, pinned to the processor of the load generator."""
        return inside(namespace) + ["taskset", "-c", str(self.load_processor)] + command


class Server:
    """A server process with its children."""

    def __init__(self, machine, name, command, address, namespace):
        self.machine = machine
        self.name = name
        self.address = address
        self.log = machine.directory / f"{name.replace(' ', '-')}.log"
        self.began = time.monotonic()
        prefix = inside(namespace) + ["taskset", "-c", str(machine.server_processor)]
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                prefix + command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self):
        """The end of its log."""
        return self.log.read_text(errors="replace").strip()[-400:]

    def wait_for_answer(self, name, rtype=TXT, within=60.0, empty=False):
        """Queries until there is a correct answer. Returns the seconds since the start."""
        query = question(name, rtype)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.005)
            client.connect(self.address)
            while True:
                with contextlib.suppress(OSError):
                    client.send(query)
                    answer = client.recv(4096)
                    code, records = answer[3] & 15, struct.unpack("!H", answer[6:8])[0]
                    if code == 0 and (records > 0 or empty):
                        return time.monotonic() - self.began
                self.must_run(within)
                # Nobody is listening yet, or the answer is not correct yet.
                time.sleep(0.002)

    def wait_for_socket(self, within=60.0):
        """Waits until its port is open, also in another namespace."""
        port = f":{self.address[1]:04X} "
        while True:
            with contextlib.suppress(OSError):
                sockets = pathlib.Path(f"/proc/{self.process.pid}/net/udp")
                if port in sockets.read_text():
                    return
            self.must_run(within)
            time.sleep(0.01)

    def must_run(self, within):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} has ended: {self.said()}")
        if time.monotonic() - self.began > within:
            raise TooSlow(f"{self.name} does not answer within {within:.0f} s")

    def processes(self):
        """The process and its descendants."""
        parents = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = entry.read_text().rpartition(")")[2].split()
                parents[int(entry.parent.name)] = int(fields[1])
        found = [self.process.pid]
        for process in found:
            found += [child for child, parent in parents.items() if parent == process]
        return found

    def memory(self):
        """Its share of resident memory in bytes; memory that processes share is counted once."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def stop(self):
        """Asks the process to stop, and waits."""
        self.process.terminate()
        try:
            self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        # Children may outlive the first process.
        for process in self.processes() if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(ENDING)
        if self in self.machine.servers:
            self.machine.servers.remove(self)


def inside(namespace):
    return ["ip", "netns", "exec", namespace] if namespace else []


def run(command, within=60.0, output=None):
    """Runs a program that must succeed, and returns its output."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=within,
        )
    except subprocess.TimeoutExpired:
        raise TooSlow(f"{command[0]} takes longer than {within:.0f} s") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
    return done.stdout


def free_port():
    """A port that is free for UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
                with contextlib.suppress(OSError):
                    tcp.bind(("127.0.0.1", port))
                    return port
    raise Failure("no port is free")


def question(name, rtype):
    """A query (RFC 1035, section 4.1)."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    return struct.pack("!6H", 1, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", rtype, 1)
