#!/bin/sh
# Starts a peer with the identity that the parameter service assigns to this
# container, renews the lease while the peer is running, and leaves when it ends.
# POSIX sh, so that it runs in any image; usage() lists its variables.
set -u

usage() {
    cat <<'END'
Usage: start_peer.sh [SERVER [PORT]]

Obtains this container's identity from the parameter service, exports the
environment that comes with it, and runs the peer. While the peer is running,
the script renews its lease; when the peer ends, it ends the lease.

SERVER is the name or address of the service, PORT its port (53). Without
SERVER, the script queries the resolver of /etc/resolv.conf.

SERVER may be a list, separated by commas or spaces, and a name with several
addresses stands for all of them. The script stays with a server that answers.
When one is silent for 2 seconds, answers SERVFAIL, does not serve the zone, or
does not know the latest epoch, the script queries the next one at once, stays
with that one, and says so.
Names are looked up in /etc/hosts, otherwise with dig, and again when no server
is of use. Of their addresses, only those of the same family as the peer's count,
if there are any: the service must see the queries come from one source.

Which peer this is:
  ROLE             role of the peer; unset: the default role of the zone (mixed)
  CONSEN           consensus, which selects the zone CONSEN.fabric.internal (noops)
  PARAM_ZONE       the zone, instead of CONSEN
  PARAM_HOST       name of the peer, one label; unset: the host name

The address at which other peers reach it, the first of:
  PARAM_ADDRESS    the address, IPv4 or IPv6; no network is joined then
  CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE
                   a network of the Docker engine: the container joins it and
                   uses its address there (host, none, bridge, default and
                   container:... are not networks to join)
  PARAM_IFACE      the interface that has the address
  otherwise the first address of an interface other than loopback

Options:
  PARAM_EXEC       command line to run instead of "peer node start"; write exec
                   before the last of several commands, so that signals reach it
                   and stopping it stops everything
  PARAM_PREFIXES   prefixes of the variables that may be exported (CORE_)
  PARAM_TIMEOUT    seconds to wait for the identity, and for the peer's name to
                   resolve, before giving up (120)
  PARAM_RESOLVE    what to do if the environment contains the peer's stable name
                   (vp1.ZONE) and the system's resolver does not return its
                   address: "require" waits, since neither other peers nor
                   chaincode could reach the peer by that name; "warn" prints a
                   warning and starts the peer (require)
  PARAM_RENEW      seconds between two renewals of the lease (10)
  PARAM_FENCE      when to stop the peer, so that no two processes ever run with
                   one ID: "lost" stops it as soon as an answer shows another
                   holder of the lease, another ID, or a higher epoch; "strict"
                   also stops it before the lease can have expired, if it is not
                   renewed; "warn" only prints a warning (lost)
  PARAM_STOP_GRACE seconds from SIGTERM to SIGKILL (10)
  PARAM_LEASE      duration of a lease in seconds, if the service does not state
                   it (30); for "strict" it must be at least PARAM_RENEW +
                   PARAM_STOP_GRACE + 6, so that there is time for a retry, or
                   for the next server if one is silent
  PARAM_KEY_FILE   file with the key to sign with (TSIG), in the format of
                   tsig-keygen; for example a Docker secret:
                   /run/secrets/peers.key
  PARAM_DOCKER_SOCKET
                   socket of the Docker engine (/var/run/docker.sock)
  PARAM_TOOLS      folder whose bin/dig and bin/curl are used, if they exist,
                   instead of those in PATH; Dockerfile.peer adds it
                   (/usr/local/lib/start_peer)
  TMPDIR           a directory to write to while waiting (/tmp)

The exit status is that of the peer (128 + n if signal n ended it), 1 if there
was no identity to start it with, 2 for wrong arguments, 75 if the script stopped
the peer (PARAM_FENCE), which should then be restarted. SIGTERM, SIGINT, SIGHUP,
SIGQUIT, SIGUSR1 and SIGUSR2 are forwarded to the peer.

Requires awk, dig of BIND 9.10 or later, and curl 7.40 or later to join a network.
END
}

newline='
'

say() { printf 'start_peer: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The seconds since the system was started, as $now. This clock is never set, and
# it includes the time for which the system is suspended (Linux: CLOCK_BOOTTIME).
clock() {
    { read -r now _ </proc/uptime; } 2>/dev/null || now=$(date +%s)
    now=${now%%.*}
}

# Sleeps, and lets signals take effect immediately: a shell handles them in wait,
# but not while a command is running in the foreground.
pause() {
    sleep "$1" >/dev/null 2>&1 &
    wait "$!" || :
}

# The first line of a tool's output, safe for a terminal: it may contain data from
# the network.
first_line() {
    printf '%s\n' "$1" |
        LC_ALL=C awk '/[^ \t]/ { gsub(/[^ -~]/, "."); print substr($0, 1, 300); exit }'
}

# --- The tools ---------------------------------------------------------------

# The flags of every query. An answer that is not intact to its last byte is
# discarded (+nobesteffort).
flags='+time=2 +tries=1 +nobesteffort +noall +comments +answer +additional'

# A ~/.digrc must not change the output (dig -r has the same effect, but older
# versions do not support it).
run_dig() { HOME=/dev/null "$dig" "$@"; }

# require TOOL FLAG HINT OPTION...: verifies, without the network, that the tool
# supports the options. The tool stops at the first unknown option, and otherwise
# prints its version at FLAG.
require() {
    tool=$1 flag=$2 hint=$3
    shift 3
    remedy="build the image with Dockerfile.peer, which adds it, or install a newer one"
    have "$tool" || die "$tool is missing ($hint): $remedy"
    version=$(HOME=/dev/null "$tool" "$flag" 2>&1) ||
        die "$tool does not run: $(first_line "$version")"
    said=$(HOME=/dev/null "$tool" "$@" "$flag" 2>&1) ||
        die "$tool cannot be used: $(first_line "$said") ($(first_line "$version"); $hint): $remedy"
}

# --- Valid parts of a query or of a command line -----------------------------

is_label() {
    case $1 in
        '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_-]*) return 1 ;;
    esac
    [ "${#1}" -le 63 ]
}

is_domain() {
    case $1 in
        '' | [!A-Za-z0-9_]* | *..* | *.-* | *[!A-Za-z0-9._-]*) return 1 ;;
    esac
}

is_number() {
    case $1 in
        '' | *[!0-9]* | ??????????*) return 1 ;;
    esac
}

is_address() {
    case $1 in
        *[!0-9A-Fa-f:.]*) return 1 ;;
        *.*.*.* | *:*:*) ;;
        *) return 1 ;;
    esac
}

# --- The peer's address ------------------------------------------------------

# For awk: canonical() gives each address one spelling, without a port.
addresses='
    function hexadecimal(digits,    i, n) {
        digits = tolower(digits)
        for (i = 1; i <= length(digits); i++)
            n = n * 16 + index("123456789abcdef", substr(digits, i, 1))
        return n + 0
    }
    function canonical(address,    half, group, tail, left, right, i, n, text) {
        if (sub(/^\[/, "", address)) sub(/\].*/, "", address)
        else if (address !~ /:.*:/) sub(/:.*/, "", address)
        sub(/%.*/, "", address)
        if (address !~ /:/) return address
        if (match(address, /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/)) {
            split(substr(address, RSTART), tail, ".")
            address = substr(address, 1, RSTART - 1) \
                sprintf("%x:%x", tail[1] * 256 + tail[2], tail[3] * 256 + tail[4])
        }
        n = split(address, half, /::/)
        left = split(half[1], group, ":")
        right = n > 1 ? split(half[2], tail, ":") : 0
        for (i = left + 1; i <= 8 - right; i++) group[i] = 0
        for (i = 1; i <= right; i++) group[8 - right + i] = tail[i]
        for (i = 1; i <= 8; i++) text = text sprintf("%x:", hexadecimal(group[i]))
        # An IPv4-mapped address is the IPv4 address.
        if (text !~ /^0:0:0:0:0:ffff:/) return text
        i = hexadecimal(group[7])
        n = hexadecimal(group[8])
        return int(i / 256) "." i % 256 "." int(n / 256) "." n % 256
    }'

# The container ID for the engine. The host name can be anything, so it is used
# only if it looks like an ID.
own_container() {
    {
        sed -n 's|.*containers/\([0-9a-f]\{64\}\)/.*|\1|p' /proc/self/mountinfo
        sed -n 's|.*[/-]\([0-9a-f]\{64\}\).*|\1|p' /proc/self/cgroup
        uname -n
    } 2>/dev/null | sed -n '/^[0-9a-f]\{12,64\}$/ { p; q; }'
}

# engine METHOD PATH [JSON]: the response of the engine, followed by a line with
# the HTTP status. Run as a job, like everything that may take long (see pause).
engine() {
    "$curl" --disable --silent --show-error --noproxy '*' --max-time 30 \
        --unix-socket "$socket" --request "$1" \
        --header 'Content-Type: application/json' ${3:+--data "$3"} \
        --write-out '\n%{http_code}\n' "http://engine$2" \
        >"$work/engine" 2>&1 &
    wait "$!"
}

# The engine's error message, or that of curl, without the HTTP status.
complaint() {
    first_line "$(sed -e '/^[0-9]*$/d' -e 's/.*"message":"\(.*\)"}.*/\1/' \
        -e 's/^curl: ([0-9]*) //' "$work/engine")"
}

join_network() {
    case $network in
        [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*)
            die "CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE is not the name of a network: $network"
            ;;
    esac
    require "$curl" --version "curl 7.40 or newer joins a network" --unix-socket "$socket"
    [ -S "$socket" ] ||
        die "cannot join network $network: no Docker socket at $socket (mount it, or set PARAM_DOCKER_SOCKET)"
    container=$(own_container)
    [ -n "$container" ] ||
        die "cannot join network $network: this does not look like a container of the engine"

    # A Swarm task is on its networks from its start, and a restarted container on
    # those that it joined. For a second request, the engine (20.10) returns
    # "already exists", and forgets the address.
    inspect_container
    [ -z "$address" ] || return 0
    engine POST "/networks/$network/connect" "{\"Container\":\"$container\"}"
    answered_200
    inspect_container
    [ -n "$address" ] || die "joined network $network, but the engine names no address there"
}

inspect_container() {
    engine GET "/containers/$container/json"
    answered_200
    address=$(address_on_network <"$work/engine")
}

answered_200() {
    case $(cat "$work/engine") in
        *"${newline}200") ;;
        *) die "cannot join network $network through $socket: $(complaint)" ;;
    esac
}

# Parses the engine's description of the container. Quotes in a JSON string are
# escaped, so a text that looks like one of these keys is one.
address_on_network() {
    awk -v network="\"$network\":{" '
        function value(key) {
            if (!match($0, "\"" key "\":\"[^\"]*\"")) return ""
            return substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
        }
        (start = index($0, "\"Networks\":{")) {
            $0 = substr($0, start)
            if (!(start = index($0, network))) exit
            $0 = substr($0, start)
            address = value("IPAddress")
            print address != "" ? address : value("GlobalIPv6Address")
        }'
}

# The first address of interface $1, or of any interface except loopback.
interface_address() {
    if have ip; then
        ip -o addr show up | awk -v want="$1" '
            / scope (global|host) / && (want == "" ? $2 != "lo" : $2 == want) {
                sub("/.*", "", $4)
                print $4
                exit
            }'
    elif [ -z "$1" ] && all=$(hostname -I); then
        printf '%s\n' "${all%% *}"
    else
        kernel_address "$1"
    fi 2>/dev/null
}

# The same in an image without ip(8), from the tables of the kernel: the local
# IPv4 address in a network of the interface.
kernel_address() {
    awk -v want="$1" "$addresses"'
        # 0100000A is 10.0.0.1: the kernel prints the bytes of the address in
        # reverse order.
        function number(hex,    i, n) {
            for (i = 7; i > 0; i -= 2) n = n * 256 + hexadecimal(substr(hex, i, 2))
            return n
        }

        FILENAME ~ /route/ {
            if (FNR > 1 && $2 != "00000000" && $3 == "00000000" && (want == "" || $1 == want)) {
                base[++networks] = number($2)
                size[networks] = 4294967296 - number($8)
            }
            next
        }
        $1 == "|--" { address = $2 }
        /host LOCAL/ && split(address, byte, ".") {
            n = ((byte[1] * 256 + byte[2]) * 256 + byte[3]) * 256 + byte[4]
            for (i = 1; i <= networks; i++)
                if (n >= base[i] && n < base[i] + size[i]) found[i] = address
        }
        END {
            for (i = 1; i <= networks; i++)
                if (i in found) { print found[i]; exit }
        }' /proc/net/route /proc/net/fib_trie
}

# --- The servers -------------------------------------------------------------

# The addresses of a name, one a line. getent(1) would be simpler, but not every
# image has one that prints them all.
addresses_of() {
    known=$(awk -v name="$1" '
        { sub(/#.*/, "") }
        { for (i = 2; i <= NF; i++) if (tolower($i) == tolower(name)) print $1 }' /etc/hosts)
    for kind in $types; do
        [ -z "$known" ] || break
        # Other lines are comments, and targets of aliases, which end with a dot.
        known=$(run_dig +time=2 +tries=1 +search +short -t "$kind" -q "$1" |
            sed -n '/^[0-9A-Fa-f.:]*[0-9A-Fa-f:]$/p')
    done
    family=$(printf '%s\n' "$known" | grep "$like_own")
    printf '%s\n' "${family:-$known}"
} 2>/dev/null

# The servers that SERVER stands for, on one line. A name stays a name if it has one
# address, or is not known yet: dig looks it up for each query.
servers() {
    for word in $given; do
        all=''
        case $word in
            *:*) ;;
            *[!0-9.]*) all=$(addresses_of "$word") ;;
        esac
        case $all in
            *"$newline"*) ;;
            *) all=$word ;;
        esac
        # shellcheck disable=SC2086  # several words
        printf '%s ' $all
    done
}

# Sends a query to the current server, and if that is of no use, to the others in
# turn; the one that is becomes the current one. Prints the lines of digest and
#   service 10.0.0.1          who has answered, or was the last to be asked
#   change ...                that this server is the current one now, and why
#   trouble ...               why no server is of use
# The list of the servers, the current one first, is in a file for which there is
# only a descriptor, because most queries are made by jobs. Without it (/proc is
# missing, the disk is full) each query begins with the first server.
inquire() {
    question=$1 failures='' asked=' ' kept=''
    read -r kept </proc/self/fd/7
    for list in ${kept:+"$kept"} ''; do
        [ -n "$list" ] || list=$(servers)
        for server in ${list:--}; do
            server=${server#-}
            case $asked in
                *" $server "*) continue ;;
            esac
            asked="$asked$server "
            service=${server:-the resolver of /etc/resolv.conf}
            facts=$(ask "$question" | digest)
            understand
            useless || break 2
            failures="$failures${failures:+; }$reason"
        done
    done
    printf '%s\nservice %s\n' "$facts" "$service"
    if [ -n "$reason" ]; then
        printf 'trouble %s\n' "$failures"
    elif [ -n "$server" ]; then
        [ -z "$failures" ] || printf 'change going on with %s: %s\n' "$service" "$failures"
        list=" $list "
        # shellcheck disable=SC2086  # several words
        set -- $server ${list#*" $server "} ${list%%" $server "*}
        [ "$*" = "$kept" ] || echo "$*" >/proc/self/fd/7
    fi
} 2>/dev/null

# Whether the server is silent, fails, or is not one of the service, or its answer
# is from the past: a replica that lags behind neither renews a lease nor ends one.
# Sets the reason.
useless() {
    reason=''
    case $status in
        '') reason="no answer from $service: ${text:-awk cannot read what dig says}" ;;
        SERVFAIL) reason="$service answers SERVFAIL${text:+: $text}" ;;
        REFUSED) [ -n "$text" ] || reason="$service answers REFUSED" ;;
        NXDOMAIN)
            [ -n "$authority" ] ||
                reason="$service does not serve $zone: is the service up, and is this where it is asked?"
            ;;
        NOERROR)
            [ "${epoch:-$latest}" -ge "$latest" ] ||
                reason="$service answers from the past (epoch $epoch, and $latest is known)"
            ;;
    esac
    [ -n "$reason" ]
}

# --- Query and answer --------------------------------------------------------

# Sends a query that states the address of the peer with EDNS CLIENT-SUBNET.
ask() {
    # shellcheck disable=SC2086  # several words
    run_dig ${server:+"@$server"} -p "$port" ${key:+-k "$key"} $flags $transport \
        +subnet="$address/$bits" -t TXT -q "$1." 2>&1
}

# Makes the next query use TCP if the last one used UDP, and the other way round.
# With several DNS servers, Docker's resolver before 24.0 takes BADCOOKIE, which
# asks dig to prove its address, for a failure, and returns the answer of the next
# server. TCP needs no such proof.
change_transport() {
    if [ -z "$transport" ]; then transport=+tcp; else transport=''; fi
}

# Translates the output of dig into lines that a shell can parse without
# evaluating anything. Data from the network cannot start a line of its own, since
# values with control characters are rejected:
#   status NOERROR            the response code
#   authority                 it comes from a server of the zone
#   text ...                  the reason that the server or dig gives
#   id vp1                    from the summary record of this peer: its ID,
#   misnamed                  which is its host name,
#   holder 10.0.1.5           the registered address,
#   mine                      which is that of this container,
#   epoch 3                   the number that rises when the ID changes its
# holder,
#   lease 30                  the duration of the lease in seconds
#   set NAME=VALUE            a variable to export
#   refuse NAME: REASON       a variable not to export
# A DNS message has at most 64 kB, but all of it may be escapes, so each step here
# takes linear time.
digest() {
    LC_ALL=C awk -v place="$place." -v host="$host" -v zone="$zone." \
        -v prefixes="$prefixes" -v address="$address" "$addresses"'
        BEGIN {
            place = tolower(place)
            host = tolower(host)
            peer = host "." tolower(zone)
            split(prefixes, prefix, " ")
            for (i = 0; i < 256; i++) char[i] = sprintf("%c", i)
        }

        # Removes the escapes of a TXT record (\" \\ \DDD), and puts the joint
        # between its strings. The text is then part[1] to part[parts], and flaw
        # describes what is wrong with it. The text is split at the backslashes:
        # each part begins with the escaped character; if that is a backslash, the
        # part is empty, and the next one has no escape. mawk 1.3.3 crashes on
        # more than about 20000 empty parts.
        function decode(rdata, joint,    i, head, escaped) {
            flaw = ""
            if (split(rdata, part, /\\\\/) > 10000) {
                flaw = "its value has too many backslashes"
                parts = 1
                return
            }
            parts = split(rdata, part, /\\/)
            escaped = 0
            for (i = 1; i <= parts; i++) {
                head = ""
                if (!escaped) {
                    escaped = 1
                } else if (part[i] == "") {
                    head = "\\"
                    escaped = 0
                } else if (part[i] ~ /^[0-9][0-9][0-9]/) {
                    head = substr(part[i], 1, 3) + 0
                    if (head < 32 || head == 127) flaw = "its value has a control character"
                    head = char[head]
                    part[i] = substr(part[i], 4)
                } else {
                    head = substr(part[i], 1, 1)
                    part[i] = substr(part[i], 2)
                }
                gsub(/" "/, joint, part[i])
                part[i] = head part[i]
            }
        }

        # Makes a text safe for a terminal.
        function printable(text) {
            text = substr(text, 1, 300)
            gsub(/[^ -~]/, ".", text)
            return text
        }

        function variable(    i, name, why) {
            name = substr(part[1], 1, index(part[1], "=") - 1)
            why = objection(name)
            if (why != "") {
                print "refuse " printable(substr(name != "" ? name : part[1], 1, 40)) ": " why
                return
            }
            printf "set "
            for (i = 1; i <= parts; i++) printf "%s", part[i]
            printf "\n"
        }

        # Why the variable must not be exported.
        function objection(name,    i) {
            if (name !~ /^[A-Z][A-Z0-9_]*$/) return "not a name of capital letters, digits and _"
            if (flaw != "") return flaw
            for (i in prefix) if (index(name, prefix[i]) == 1) return ""
            return "not one of the prefixes " prefixes
        }

        # The strings of a summary are separated by line feeds.
        function summary(    i, text, strings, string, key, value) {
            for (i = 1; i <= parts; i++) text = text part[i]
            strings = split(text, string, "\n")
            for (i = 1; i <= strings; i++) {
                key = substr(string[i], 1, index(string[i], "=") - 1)
                value = printable(substr(string[i], length(key) + 2))
                if (key == "id" && value ~ /^[A-Za-z0-9_-]+$/) {
                    print "id " value
                    if (tolower(value) == host) print "misnamed"
                }
                if (key == "address" && value ~ /^[0-9A-Fa-f:.]+$|^\[[0-9A-Fa-f:.]+\]/) {
                    if (canonical(value) == canonical(address)) print "mine"
                    if (sub(/^\[/, "", value)) sub(/\].*/, "", value)
                    else if (value !~ /:.*:/) sub(/:.*/, "", value)
                    print "holder " value
                }
                if (key ~ /^(epoch|lease)$/ && value ~ /^(0|[1-9][0-9]*)$/ && length(value) < 16)
                    print key " " value
            }
        }

        # The extended error (RFC 8914) of dig 9.16.10 and later: "18
        # (Prohibited): (text)", without the name if dig does not know the code;
        # the text may be missing, or preceded by its octets.
        /^; EDE: / {
            sub(/^; EDE: [0-9]+[: ]*/, "")
            if (match($0, /^\([^()]*\): /)) $0 = substr($0, RLENGTH + 1)
            sub(/^([0-9a-f][0-9a-f] )+/, "")
            if (/^\(.*\)$/) $0 = substr($0, 2, length($0) - 2)
            print "text " printable($0)
            next
        }
        # That of earlier versions: two octets of code and the text, all in
        # hexadecimal, then once more with dots for what is not ASCII.
        /^; OPT=15: / {
            $0 = substr($0, 11, 2000)
            text = ""
            for (i = 3; $i ~ /^[0-9a-f][0-9a-f]$/; i++) text = text char[hexadecimal($i)]
            if (text == "" && match($0, /\(".*"\)$/)) text = substr($0, RSTART + 4, RLENGTH - 6)
            print "text " printable(text)
            next
        }

        /^;; ->>HEADER<<-/ {
            match($0, /status: [A-Z0-9]+/)
            print "status " substr($0, RSTART + 8, RLENGTH - 8)
            answered = 1
        }
        /^;; flags:[^;]* aa[ ;]/ { print "authority" }
        # Not signed, or by another key: the answer is discarded.
        /^;; (Couldn.t verify signature|WARNING -- Some TSIG)/ {
            print "status an answer without a good signature"
        }
        /^;; flags:[^;]* tc[ ;]/ { print "status a truncated message" }

        # Without an answer, the first message of dig is the cause, in the usual
        # form of its messages or in any other.
        !cause && /^(;; |dig: )/ { cause = $0; sub(/^(;; |dig: )/, "", cause) }
        !words && /[^ \t]/ { words = $0 }
        END {
            if (!answered) print "text " printable(cause != "" ? cause : words != "" ? words : "dig says nothing")
        }

        match($0, /^[^ \t]+[ \t]+[0-9]+[ \t]+IN[ \t]+TXT[ \t]+"/) {
            rdata = substr($0, RLENGTH + 1, length($0) - RLENGTH - 1)
            split(substr($0, 1, RLENGTH), field)
            owner = tolower(field[1])
            if (owner == "_env." place) {
                decode(rdata, "")
                variable()
            } else if ((owner == peer || owner == place) && length(rdata) < 4000) {
                decode(rdata, "\n")
                if (flaw == "") summary()
            }
        }'
}

# Parses $facts, the lines of digest and inquire.
understand() {
    status='' authority='' text='' id='' misnamed='' holder='' mine='' epoch='' lease=''
    change='' trouble=''
    set -f
    IFS=$newline
    for line in $facts; do
        case $line in
            'status '*) status=${line#status } ;;
            authority) authority=yes ;;
            'text '*) text=${line#text } ;;
            'id '*) id=${line#id } ;;
            'holder '*) holder=${line#holder } ;;
            mine) mine=yes ;;
            misnamed) misnamed=yes ;;
            'epoch '*) epoch=${line#epoch } ;;
            'lease '*) lease=${line#lease } ;;
            'service '*) service=${line#service } ;;
            'change '*) change=${line#change } ;;
            'trouble '*) trouble=${line#trouble } ;;
        esac
    done
    unset IFS
    set +f
    lease=${lease:-$usual_lease}
    [ "$status" != NOERROR ] || [ "${epoch:-0}" -le "$latest" ] || latest=$epoch
}

# Sends a query, and lets signals take effect while it waits.
consult() {
    { inquire "$1"; } >"$work/facts" 2>/dev/null &
    asking=$!
    wait "$asking"
    asking=''
    facts=$(cat "$work/facts")
    understand
    [ -z "$change" ] || say "$change"
}

# Whether the answer shows this peer as the holder of its name. If not, sets the
# reason, and whether somebody else is the holder.
holding() {
    lost=''
    useless
    reason=${trouble:-$reason}
    [ -z "$reason" ] || return 1
    case $status in
        NOERROR)
            if [ -n "$misnamed" ]; then
                reason="the host name $host is an ID in $zone, and no name for a host: choose another (docker's --hostname, or PARAM_HOST)"
            elif [ -z "$holder" ] || [ -z "$id" ]; then
                reason="the answer of $service does not tell who holds $host${text:+ ($text)}"
            elif [ -z "$mine" ]; then
                reason="$host is held by $holder, its lease is still running"
                lost=yes
            fi
            ;;
        NXDOMAIN)
            reason="$service knows no $place${text:+ ($text)}: check ROLE, CONSEN or PARAM_ZONE, and the host name"
            ;;
        NOTAUTH)
            reason="$service answers NOTAUTH: it does not know the key${key:+ of $key}, has another secret for it, or its clock differs"
            ;;
        *) reason="$service answers $status${text:+: $text}" ;;
    esac
    [ -z "$reason" ]
}

# Requests the environment. One answer contains everything, including the holder,
# unless a forwarder drops the additional section.
claim() {
    clock
    heard=$now
    consult "_env.$place"
    if [ "$status" = NOERROR ] && [ -z "$holder" ]; then
        consult "$place"
        holding || return 1
        own=$id own_lease=$lease
        consult "_env.$place"
        # Unless it has one after all, perhaps from another server.
        [ -n "$holder" ] || id=$own holder=$address mine=yes lease=$own_lease
    fi
    holding || return 1
    case $newline$facts in
        *"${newline}set "*) ;;
        *)
            reason="$service gives no variable that may be exported (PARAM_PREFIXES: $prefixes)"
            return 1
            ;;
    esac
}

# --- The peer's name ---------------------------------------------------------

# Whether a variable contains the stable name of this peer, $1.
named() {
    printf '%s\n' "$facts" | LC_ALL=C awk -v name="$1" '
        BEGIN { name = tolower(name) }
        /^set / {
            rest = "=" tolower(substr($0, index($0, "=") + 1))
            while (start = index(rest, name)) {
                before = substr(rest, start - 1, 1)
                rest = substr(rest, start + length(name))
                if (before !~ /[^a-z0-9_.-]/ || rest ~ /^\.?[a-z0-9_-]/) continue
                found = 1
                exit
            }
        }
        END { exit !found }'
}

# Resolves name $1 with the system's resolver, as a job that nobody has to wait
# for.
look_up() {
    if ! have getent; then
        set -- "$dig" +time=2 +tries=1 +short -t "$type" -q "$1."
    elif getent ahosts 127.0.0.1 >/dev/null 2>&1; then
        set -- getent ahosts "$1"
    else
        set -- getent hosts "$1" # musl has no ahosts
    fi
    HOME=/dev/null "$@" >"$work/addresses" 2>/dev/null &
    lookup=$!
}

end_lookup() {
    [ -z "$lookup" ] || kill "$lookup" 2>/dev/null
    lookup=''
}

# Whether the system's resolver finds the peer under the name in its environment.
# If not, sets the reason. It waits for a second; a lookup that takes longer is
# awaited the next time, after the lease has been renewed.
resolvable() {
    name=$id.$zone
    named "$name" || return 0
    [ "$name" = "$looked_up" ] || end_lookup
    looked_up=$name
    [ -n "$lookup" ] || look_up "$name"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        alive "$lookup" || break
        { sleep 0.1 || sleep 1; } >/dev/null 2>&1 &
        wait "$!"
    done
    if alive "$lookup"; then
        reason="the system's resolver does not answer for $name"
    else
        wait "$lookup"
        lookup=''
        found=$(LC_ALL=C awk -v address="$address" "$addresses"'
            $1 ~ /[^0-9A-Za-z:.%]/ || ($1 !~ /:/ && $1 ~ /[^0-9.]/) { next }
            canonical($1) == canonical(address) { mine = 1 }
            !seen[$1]++ { found = found (found != "" ? ", " : "") $1 }
            END { print mine ? "mine" : substr(found, 1, 300) }' "$work/addresses")
        case $found in
            mine) return 0 ;;
            '') reason="the system's resolver does not know $name" ;;
            *) reason="the system's resolver has $found for $name, not $address" ;;
        esac
    fi
    reason="$reason: name the parameter service as the DNS server (docker's --dns, dns: in a stack file)"
    [ "$resolve" = warn ] || return 1
    say "warning: $reason"
}

# --- The peer ----------------------------------------------------------------

run_peer() {
    set -f
    IFS=$newline
    for line in $facts; do
        case $line in
            'set '*) export "${line#set }" ;;
        esac
    done
    unset IFS
    set +f
    # A shell starts a job with SIGINT and SIGQUIT ignored. If env(1) cannot undo
    # that, they reach only a peer that handles them.
    undo='env --default-signal=INT,QUIT'
    $undo true 2>/dev/null || undo=''
    set -- peer node start
    [ -z "${PARAM_EXEC-}" ] || set -- sh -c "$PARAM_EXEC"
    # From here on signals take effect. An earlier one may have had no effect, but
    # was recorded (see caught).
    # shellcheck disable=SC2016  # it is the new shell that expands this
    exec $undo sh -c 'read -r status <&9 && exit "$status"; exec "$@" 7>&- 8>&- 9<&-' sh "$@" 9<&9
}

# A process that has ended responds to kill -0 until somebody waits for it.
alive() {
    kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# Renews the lease once, in a shell of its own, whose exit status is the result: 0
# if the lease is renewed, 75 if it has passed to another, and another status for
# each kind of failure. It reports the reason, unless that is already in $told; as
# a job, since its reader may be stuck, and the lease must not be. An incomplete
# answer proves nothing.
renew_lease() {
    own=$id own_epoch=$latest
    facts=$(inquire "$place")
    understand
    if [ -n "$change" ]; then say "$change" & fi
    if holding; then
        if [ "$id" != "$own" ]; then
            lost=yes reason="$host has become $id, but the peer runs as $own"
        elif [ "$own_epoch" -eq 0 ]; then
            : # an older service has no epochs
        elif [ "$latest" -gt "$own_epoch" ]; then
            lost=yes reason="$id has had another holder since (epoch $epoch, the peer has $own_epoch)"
        fi
    fi
    [ -n "$reason" ] || exit 0
    case ${lost:-$status} in
        yes) failure=75 ;;
        '') failure=1 ;;
        NOERROR) failure=2 ;;
        SERVFAIL) failure=3 ;;
        REFUSED) failure=4 ;;
        NXDOMAIN) failure=5 ;;
        *) failure=6 ;;
    esac
    [ "$failure" = "$told" ] || say "lease not renewed: $reason" &
    exit "$failure"
}

# Handles the result of a renewal.
conclude() {
    wait "$renewal"
    told=$?
    renewal=''
    due=$((asked + renew))
    case $told in
        0 | 75) ;;
        *) change_transport ;;
    esac
    case $told$fence in
        0*) heard=$asked ;;
        75warn) ;;
        75*) [ -n "$kill_at" ] || stop_peer "$((now + grace))" "it has lost its lease" ;;
        *strict) due=$now ;;
    esac
}

# stop_peer SECOND REASON: sends SIGTERM at once, and SIGKILL at the given time.
stop_peer() {
    stopped=75 kill_at=$1
    # First of all: the script may end as soon as the peer does.
    say "stopping the peer: $2" &
    telling=$!
    [ "$now" -ge "$kill_at" ] || kill -s TERM "$peer" 2>/dev/null
}

# Stops the peer when its time is over. Its lease starts when the service receives
# the last renewal, which is not before that was sent; and since the script reads
# the clock once a second, it subtracts two seconds.
enforce() {
    if [ "$fence" = strict ]; then
        over=$((heard + lease - 2))
        if [ -n "$kill_at" ]; then
            [ "$kill_at" -le "$over" ] || kill_at=$over
        elif [ "$now" -ge "$((over - grace))" ]; then
            stop_peer "$over" "its lease of $lease s was last renewed $((now - heard)) s ago"
        fi
    fi
    [ -z "$kill_at" ] || [ "$now" -lt "$kill_at" ] || kill -s KILL "$peer" 2>/dev/null
}

# The heartbeat. It checks the peer every second, to end with it even if it is not
# told. A signal to the whole process group must not end it before the peer;
# SIGUSR2 does, but never during a renewal, which could then arrive after the
# leave and undo it.
keep_lease() {
    trap '' HUP INT QUIT TERM USR1
    trap end_keeper USR2
    renewal='' told=0 kill_at='' stopped=0 telling='' due=$((heard + renew))
    # For a SIGUSR2 that was sent before its trap was set.
    alive "$peer" || exit 0
    clock
    enforce
    while pause 1 && clock && alive "$peer"; do
        enforce
        [ -z "$renewal" ] || alive "$renewal" || conclude
        if [ -z "$renewal$kill_at" ] && [ "$now" -ge "$due" ]; then
            asked=$now
            renew_lease &
            renewal=$!
        fi
    done
    end_keeper
}

end_keeper() {
    [ -z "$renewal" ] || wait "$renewal"
    [ -z "$telling" ] || wait "$telling"
    exit "$stopped"
}

# The exit status of job $1, as $outcome. A signal interrupts wait, not the job.
await() {
    while
        wait "$1"
        outcome=$?
        kill -0 "$1"
    do :; done 2>/dev/null
    # If both happened at once, this is the status of the signal, and that of the
    # job is still available.
    wait "$1" 2>/dev/null
    again=$?
    case $again in
        127 | -1) ;; # no: it was had already, or the shell (bash) has lost it
        *) outcome=$again ;;
    esac
}

leave() {
    facts=$(inquire "_leave.$host.$zone")
    understand
    [ -z "$change" ] || say "$change"
    [ "$status" = NOERROR ] ||
        say "did not leave, the lease of $host will run out: ${trouble:-$status${text:+, $text}}"
}

# Before there is a peer, a signal ends the script; afterwards it is forwarded.
# The process that becomes the peer is a fork of this shell, and may drop signals
# as long as it has the traps of this shell, or ignores what a job of a shell
# ignores. So a signal is recorded for it as well, before it is sent. Each signal
# has a trap from the start: process 1 of a container does not even receive a
# signal without one.
# shellcheck disable=SC2317  # it is the traps that call it
caught() {
    [ -n "$peer" ] || exit "$((128 + $2))"
    echo "$((128 + $2))" >&8
    case $peer in
        starting) early="$early $1" ;;
        *) kill -s "$1" "$peer" ;;
    esac
} 2>/dev/null
peer='' early=''
trap 'caught HUP 1' HUP
trap 'caught INT 2' INT
trap 'caught QUIT 3' QUIT
trap 'caught USR1 10' USR1
trap 'caught USR2 12' USR2
trap 'caught TERM 15' TERM

# --- What to query -----------------------------------------------------------

case ${1-} in
    -h | --help) usage; exit 0 ;;
    -*) say "unknown option $1, see start_peer.sh --help"; exit 2 ;;
esac
port=${2:-53}
if [ "$#" -gt 2 ] || ! is_number "$port" || [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
    say "wrong arguments, see start_peer.sh --help"
    exit 2
fi
given=''
set -f
IFS=",$IFS"
for server in ${1-}; do
    case $server in
        '') ;;
        -* | *[!A-Za-z0-9.:_%-]*) say "SERVER is no name or address: $server"; exit 2 ;;
        *) given="$given${given:+ }$server" ;;
    esac
done
unset IFS
set +f
if [ -n "${1-}" ] && [ -z "$given" ]; then
    say "SERVER is no name or address: $1"
    exit 2
fi
service=${given:-the resolver of /etc/resolv.conf}

host=${PARAM_HOST:-$(uname -n)}
zone=${PARAM_ZONE:-${CONSEN:-noops}.fabric.internal}
zone=${zone%.}
place=$host${ROLE:+.$ROLE}.$zone
prefixes=${PARAM_PREFIXES:-CORE_}
timeout=${PARAM_TIMEOUT:-120}
renew=${PARAM_RENEW:-10}
fence=${PARAM_FENCE:-lost}
grace=${PARAM_STOP_GRACE:-10}
usual_lease=${PARAM_LEASE:-30}
key=${PARAM_KEY_FILE-}
resolve=${PARAM_RESOLVE:-require}
socket=${PARAM_DOCKER_SOCKET:-/var/run/docker.sock}
network=${CORE_VM_DOCKER_HOSTCONFIG_NETWORKMODE-}

is_label "$host" ||
    die "host name $host: must be one label of letters, digits, - and _ (set PARAM_HOST, or docker's --hostname)"
is_label "${ROLE:-mixed}" || die "ROLE is no name of a role: $ROLE"
is_domain "$zone" || die "no name of a zone: $zone (PARAM_ZONE, CONSEN)"
is_number "$timeout" || die "PARAM_TIMEOUT is no number of seconds: $timeout"
is_number "$renew" || die "PARAM_RENEW is no number of seconds: $renew"
is_number "$grace" || die "PARAM_STOP_GRACE is no number of seconds: $grace"
is_number "$usual_lease" || die "PARAM_LEASE is no number of seconds: $usual_lease"
case $fence in
    lost | warn) ;;
    strict) [ -r /proc/uptime ] || die "PARAM_FENCE=strict needs the clock of /proc/uptime" ;;
    *) die "PARAM_FENCE is neither lost nor strict nor warn: $fence" ;;
esac
case $prefixes in
    *[!A-Z0-9_\ ]*) die "PARAM_PREFIXES: capital letters, digits and _ only: $prefixes" ;;
esac
case $resolve in
    require | warn) ;;
    *) die "PARAM_RESOLVE is neither require nor warn: $resolve" ;;
esac
[ -z "$key" ] || [ -r "$key" ] || die "cannot read the key: $key (PARAM_KEY_FILE)"
have awk || die "awk is missing"
tools=${PARAM_TOOLS:-/usr/local/lib/start_peer}/bin
dig=$tools/dig
[ -x "$dig" ] || dig=dig
curl=$tools/curl
[ -x "$curl" ] || curl=curl
# shellcheck disable=SC2086  # several words
require "$dig" -v "+subnet came with BIND 9.10" $flags +subnet=192.0.2.1/32
{ work=$(mktemp -d) && true >"$work/servers"; } 2>/dev/null ||
    die "cannot write to ${TMPDIR:-/tmp}: set TMPDIR to a directory that can be written"
exec 7>"$work/servers"
leased='' lookup='' looked_up='' told='' told_before='' transport='' asking='' latest=0
# A query in progress must not arrive after the leave and undo it. Without a lease,
# no further server must be asked for one.
trap 'end_lookup
    if [ -n "$leased" ]; then wait; leave; elif [ -n "$asking" ]; then kill "$asking"; fi
    rm -rf "$work"' EXIT

[ -z "${PARAM_ADDRESS-}" ] || network=''
case $network in
    '' | host | none | bridge | default | container:*) network='' ;;
esac
address=''
[ -z "$network" ] || join_network
address=${PARAM_ADDRESS:-${address:-$(interface_address "${PARAM_IFACE-}")}}
[ -n "$address" ] || die "no address found${PARAM_IFACE:+ on interface $PARAM_IFACE}: set PARAM_ADDRESS or PARAM_IFACE"
is_address "$address" || die "not an address: $address (PARAM_ADDRESS)"
case $address in
    *:*) bits=128 type=AAAA types='AAAA A' like_own=: ;;
    *) bits=32 type=A types='A AAAA' like_own='^[0-9.]*$' ;;
esac

# --- From here to the end of the peer ----------------------------------------

clock
started=$now
until claim && leased=yes && resolvable; do
    [ -z "$lost" ] || leased=''
    [ -z "$misnamed" ] || die "$reason"
    # Before the service is up, another resolver may answer that there is no such
    # name; from a server of the zone, that answer is final.
    case $status$authority in
        NXDOMAINyes | FORMERR*) die "$reason" ;;
    esac
    clock
    [ "$((now - started))" -lt "$timeout" ] || die "giving up after $timeout s: $reason"
    # A question that another server answers, or none, is asked by UDP and TCP in
    # turn, which may fail for two reasons.
    [ "$reason" = "$told" ] || [ "$reason" = "$told_before" ] || say "waiting: $reason"
    told_before=$told told=$reason
    [ -n "$authority" ] || change_transport
    pause 1
done
end_lookup
[ "$fence" != strict ] || [ "$lease" -ge "$((renew + grace + 6))" ] ||
    die "a lease of $lease s is too short for PARAM_FENCE=strict with PARAM_RENEW=$renew and PARAM_STOP_GRACE=$grace: see --help"
# A file to record signals in (see caught), which needs no name; facts exists
# already, so that this cannot fail for lack of space.
exec 8>"$work/facts"
exec 9<"$work/facts"
# From here on there is a lease to leave, whatever happens.
peer=starting
rm -rf "$work"
trap - EXIT

printf '%s\n' "$facts" | sed -n 's/^refuse /start_peer: left out /p' >&2
say "$host is $id at $address in $zone"

run_peer &
peer=$!
for signal in $early; do
    kill -s "$signal" "$peer" 2>/dev/null
done
keep_lease &
keeper=$!

await "$peer"
ended=$outcome
kill -s USR2 "$keeper" 2>/dev/null
await "$keeper"
say "the peer ended with status $ended"
# The lease of a peer that was stopped belongs to another, or is about to.
[ "$outcome" -ne 75 ] || exit 75
leave
exit "$ended"
