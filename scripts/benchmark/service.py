"""The service: its zone, its registrations, its start."""

import json
import shutil

from machine import CLIENT_SIDE, SERVER_SIDE, SOA, free_port, run

ORIGIN = "bench.internal"

# The first of the addresses that registered hosts state.
FIRST_ADDRESS = "10.0.0.1"

ZONE = """\
origin = "{origin}"
lease = "{lease}"
root_port = "grpc"
root_sequence = "vp"
default_role = "mixed"
[ports]
grpc = 7051
[sequences.vp]
limit = 2000000
[roles.mixed]
sequence = "vp"
[environment]
{environment}
"""

# The environment is small, so that a zone of a million peers can be written to a
# file.
SMALL_ENVIRONMENT = """\
CORE_PEER_ID = "{{ id }}"
CORE_PEER_ADDRESS = "{{ address }}:{{ ports.grpc }}"
CORE_PEER_DISCOVERY_ROOTNODE = "{{ roots | join(',') }}"
"""

# The variables that a mixed peer gets from zones/pbft.toml, with the root nodes of one
# sequence only, so that an answer fits a packet of 1,232 octets.
FABRIC_ENVIRONMENT = '''\
CORE_PEER_ID = "{{ id }}"
CORE_PEER_NETWORKID = "{{ origin | replace('.', '-') }}"
CORE_PEER_ADDRESS = "{{ name }}:{{ ports.grpc }}"
CORE_PEER_LISTENADDRESS = "0.0.0.0:{{ ports.grpc }}"
CORE_PEER_DISCOVERY_ROOTNODE = """\\
{% for k in range(4) if k != number %}vp{{ k }}.{{ origin }}:{{ ports.grpc }}{{ ',' if not loop.last }}{% endfor %}"""
CORE_VM_DOCKER_HOSTCONFIG_DNS = "{{ server }}"
CORE_PEER_FILESYSTEMPATH = "/var/hyperledger/production/{{ origin }}/{{ id }}"
CORE_PEER_SYNC_BLOCKS_CHANNELSIZE = "100"
CORE_PEER_SYNC_STATE_SNAPSHOT_CHANNELSIZE = "500"
CORE_PEER_SYNC_STATE_DELTAS_CHANNELSIZE = "200"
CORE_PEER_VALIDATOR_CONSENSUS_PLUGIN = "pbft"
CORE_PEER_VALIDATOR_CONSENSUS_BUFFERSIZE = "7500"
CORE_PEER_VALIDATOR_EVENTS_BUFFERSIZE = "1000"
CORE_PBFT_GENERAL_MODE = "batch"
CORE_PBFT_GENERAL_N = "4"
CORE_PBFT_GENERAL_F = "1"
CORE_REST_ENABLED = "true"
CORE_REST_ADDRESS = "0.0.0.0:7050"
CORE_PEER_VALIDATOR_ENABLED = "true"
CORE_PEER_VALIDATOR_EVENTS_ADDRESS = "0.0.0.0:7053"
'''

# All hosts have the same source address, so its limit is removed.
CONFIGURATION = "[limits]\nnew_hosts_per_source = 0\n"


class Service:
    """The service's files, on which it can be started repeatedly."""

    def __init__(self, machine, name, environment=SMALL_ENVIRONMENT):
        self.machine = machine
        self.name = name
        self.environment = environment
        self.directory = machine.make(name.replace(" ", "-"))
        self.data = self.directory / "data"
        self.configuration = self.directory / "paramd.toml"
        self.configuration.write_text(CONFIGURATION)

    def fill(self, peers, within, source=None):
        """Registers this many hosts. Each states its own address, unless all use the source
        of their queries."""
        dump = self.directory / "dump.json"
        with open(dump, "w", encoding="ascii") as out:
            head = json.dumps({"version": 1, "origin": f"{ORIGIN}.", "serial": 1})
            out.write(head[:-1] + ', "peers": [')
            for number in range(peers):
                address = source or address_of(number)
                out.write(",\n" if number else "\n")
                out.write(
                    f'{{"host": "host-{number}", "sequence": "vp", "number": {number}, '
                    f'"role": "mixed", "source": "{source or "127.0.0.1"}", "address": "{address}"}}'
                )
            out.write("]}\n")
        run([self.machine.program("paramd"), "restore", str(dump), "--data", str(self.data)], within)
        dump.unlink()

    def start(self, lease="1d", namespace=None):
        """Starts it. Leases last for a day, so that answers do not change, unless heartbeats
        are measured."""
        zones = self.directory / "zones"
        zones.mkdir(exist_ok=True)
        zone = ZONE.format(origin=ORIGIN, lease=lease, environment=self.environment)
        (zones / "bench.toml").write_text(zone)
        address = (SERVER_SIDE if namespace else "127.0.0.1", free_port())
        command = [self.machine.program("paramd"), "--log", "warn", "serve"]
        command += ["--zones", str(zones), "--data", str(self.data)]
        command += ["--config", str(self.configuration)]
        command += ["--listen", f"{address[0]}:{address[1]}"]
        return self.machine.start(self.name, command, address, namespace)

    def started(self, lease="1d"):
        """Starts it on loopback, and waits until it answers."""
        server = self.start(lease)
        server.wait_for_answer(ORIGIN, SOA)
        return server

    def master_file(self, server, within):
        """The zone of the running server, as a master file."""
        path = self.directory / "zone"
        host, port = server.address
        command = [self.machine.program("paramd"), "dump", ORIGIN, "--server", f"{host}:{port}"]
        with open(path, "w", encoding="utf-8") as out:
            run(command, within, out)
        return path

    def bytes_on_disk(self):
        """The size of the registrations, without their dumps."""
        files = [path for path in self.data.rglob("*") if path.is_file()]
        dumps = self.data / "dumps"
        return sum(path.stat().st_blocks * 512 for path in files if dumps not in path.parents)

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def address_of(number):
    """The address that a host states: the first address plus its number."""
    number += int.from_bytes(map(int, FIRST_ADDRESS.split(".")), "big")
    return ".".join(map(str, number.to_bytes(4, "big")))


def with_cookies(machine, names, peers, within):
    """The service in a namespace with a link to that of its clients."""
    service = Service(machine, "service by link")
    service.fill(peers, within, CLIENT_SIDE)
    server = service.start("30s", names[0])
    server.wait_for_socket()
    return server

