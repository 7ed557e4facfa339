#!/bin/sh
# Copies programs into a folder together with everything that they need: their
# shared libraries and the dynamic loader. They then run on any image of the same
# architecture, whatever its C library is, without changing the image.
#
#   bundle_tools.sh FOLDER PROGRAM...
#
# FOLDER/bin/PROGRAM is a small script that starts the program with the loader and
# the libraries of the folder, wherever the folder has been moved to.
set -eu

fail() {
    printf 'bundle_tools: %s\n' "$*" >&2
    exit 1
}

[ "$#" -ge 2 ] || fail "usage: bundle_tools.sh FOLDER PROGRAM..."
mkdir -p "$1/bin" "$1/lib" "$1/programs"
folder=$(cd "$1" && pwd)
shift

for name; do
    program=$(command -v "$name") || fail "$name is missing"
    listed=$(ldd "$program") || fail "$program: ldd does not list its libraries: $listed"
    case $listed in
        *'not found'*) fail "$program: a library is missing: $listed" ;;
    esac
    # A line is "NAME => PATH (ADDRESS)" for a library, and "PATH (ADDRESS)" for
    # the loader, where PATH is the ELF interpreter of the program. Libraries that
    # the kernel provides have no path.
    loader=$(printf '%s\n' "$listed" | awk '$1 ~ /^\// { print $1; exit }')
    [ -n "$loader" ] || fail "$program names no loader"
    printf '%s\n' "$listed" | awk '
        $2 == "=>" && $3 ~ /^\// { print $3 }
        $1 ~ /^\// { print $1 }' |
        while read -r library; do
            cp -L "$library" "$folder/lib/"
        done
    cp -L "$program" "$folder/programs/$name"
    # The environment belongs to the caller: its library settings are for the
    # caller's own libraries, and so is a configuration of OpenSSL.
    cat >"$folder/bin/$name" <<WRAPPER
#!/bin/sh
folder=\${0%/bin/*}
unset LD_LIBRARY_PATH LD_PRELOAD LD_AUDIT
OPENSSL_CONF=/dev/null
export OPENSSL_CONF
exec "\$folder/lib/${loader##*/}" --library-path "\$folder/lib" "\$folder/programs/$name" "\$@"
WRAPPER
    chmod 755 "$folder/bin/$name"
done

# The C library loads these to look up names (before glibc 2.34).
libc=$(printf '%s\n' "$listed" | awk '$1 ~ /^libc\.so/ { print $3; exit }')
for library in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
    if [ -n "$libc" ] && [ -e "${libc%/*}/$library" ]; then
        cp -L "${libc%/*}/$library" "$folder/lib/"
    fi
done

# None of them may come from outside the folder.
for name; do
    outside=$("$folder/lib/${loader##*/}" --library-path "$folder/lib" --list "$folder/programs/$name" |
        awk -v folder="$folder/" '$2 == "=>" && index($3, folder) != 1')
    [ -z "$outside" ] || fail "$name still needs: $outside"
done
