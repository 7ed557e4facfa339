"""The other servers, each with one thread for queries, and neither log nor rate limit."""

import re
import shutil

from machine import free_port
from service import ORIGIN

NSD = """\
server:
    server-count: 1
    ip-address: 127.0.0.1@{port}
    do-ip6: no
    username: ""
    chroot: ""
    database: ""
    pidfile: ""
    zonelistfile: "{directory}/zone.list"
    xfrdfile: "{directory}/xfrd.state"
    xfrdir: "{directory}"
    verbosity: 0
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: {origin}
    zonefile: "{zone}"
"""

KNOT = """\
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{directory}"
log:
  - target: stderr
    any: critical
zone:
  - domain: {origin}
    file: "{zone}"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
"""

BIND = """\
options {{
    directory "{directory}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    max-records-per-type 0;
    recursion no;
    notify no;
    querylog no;
    dnssec-validation no;
    minimal-responses yes;
}};
controls {{ }};
logging {{ category default {{ null; }}; }};
zone "{origin}" {{ type primary; file "{zone}"; }};
"""

DNSMASQ = """\
port={port}
listen-address=127.0.0.1
bind-interfaces
user=root
pid-file={directory}/pid
no-resolv
no-hosts
no-poll
local=/{origin}/
local-ttl=5
edns-packet-max=1232
log-facility=/dev/null
"""


def nsd(machine, zone):
    return configured(machine, "NSD", NSD, ["nsd", "-d", "-c"], zone)


def knot(machine, zone):
    return configured(machine, "Knot", KNOT, ["knotd", "-c"], zone)


def bind(machine, zone):
    return configured(machine, "BIND", BIND, ["named", "-f", "-n", "1", "-c"], zone)


def dnsmasq(machine, zone):
    """It cannot read master files, so its configuration contains the records that are queried."""
    records = []
    with open(zone, encoding="utf-8") as lines:
        for line in lines:
            name, _, _, rtype, data = line.rstrip("\n").split("\t")
            if rtype == "TXT" and re.match(r"vp\d+\.", name):
                strings = ",".join(re.findall(r'"(?:[^"\\]|\\.)*"', data))
                records.append(f"txt-record={name.rstrip('.')},{strings}\n")
    text = DNSMASQ + "".join(records)
    return configured(machine, "dnsmasq", text, ["dnsmasq", "-k", "-C"], zone)


def hickory(machine, zone):
    port = free_port()
    command = [machine.program("hickory"), f"127.0.0.1:{port}", f"{ORIGIN}.", str(zone)]
    return machine.start("hickory-server", command, ("127.0.0.1", port))


def floor(machine, host="127.0.0.1", namespace=None):
    port = free_port()
    command = [machine.program("floor"), f"{host}:{port}"]
    name = "floor by link" if namespace else "floor"
    return machine.start(name, command, (host, port), namespace)


def configured(machine, name, form, command, zone):
    """A server that is started with a configuration file."""
    directory = machine.directory / f"{name}-{free_port()}"
    directory.mkdir()
    port = free_port()
    path = directory / "configuration"
    path.write_text(form.format(port=port, directory=directory, zone=zone, origin=ORIGIN))
    # A copy, since the profiles of AppArmor, which go by a program's path, keep
    # some of them from reading anything here.
    program = shutil.copy(shutil.which(command[0]), directory)
    return machine.start(name, [program] + command[1:] + [str(path)], ("127.0.0.1", port))

