# shellcheck shell=bash
# Functions of the scripts that make packages, wheels and images of the server. Sourced after common.sh.

# The oldest glibc that the portable program runs on: that of Debian 10, RHEL 8 and Ubuntu 20.04.
OLDEST_GLIBC=2.28

# Prints the version of all that is released. Cargo.toml has it, and scripts/lib/versions.py compares the other places.
release_version() {
    sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml" | head -n 1
}

# Prints the newest version of glibc's symbols that a program needs.
newest_glibc() { # BINARY
    objdump -T "$1" | sed -n 's/.*(\{0,1\}GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1
}

# Prints the program of PGFLIGHT_BIN, or else builds the portable one and prints its path.
shipped_binary() {
    if [ -n "${PGFLIGHT_BIN:-}" ]; then
        printf '%s\n' "$PGFLIGHT_BIN"
        return 0
    fi
    portable_binary
}

# Builds the program against OLDEST_GLIBC, without symbols, and prints its path. Its bytes depend on the sources, the
# locked crates and the toolchains alone, not on where they are.
portable_binary() {
    local venv=$ROOT/target/venvs/release cargo_home=${CARGO_HOME:-$HOME/.cargo} target triple
    command -v cargo >/dev/null || die "needs cargo (https://rustup.rs)"
    make_venv "$venv" "$ROOT/scripts/requirements/release.txt"
    triple=$(rustc -vV | sed -n 's/^host: //p')
    target=$(cargo_target_dir)
    note "building the program for glibc $OLDEST_GLIBC (10 minutes on two cores if nothing is built)"
    (
        cd "$ROOT"
        PATH=$venv/bin:$PATH
        export CARGO_INCREMENTAL=0
        export RUSTFLAGS="--remap-path-prefix=$ROOT=/build --remap-path-prefix=$cargo_home=/cargo"
        export CFLAGS="-ffile-prefix-map=$ROOT=/build -ffile-prefix-map=$cargo_home=/cargo"
        cargo zigbuild --release --locked --bin pgflight --target "$triple.$OLDEST_GLIBC" \
            --config 'profile.release.debug=false' --config 'profile.release.strip="symbols"' >&2
    ) || die "cargo could not build the program"
    printf '%s\n' "$target/$triple/release/pgflight"
}

# Writes the licences and the CycloneDX list of what the program contains into a directory.
third_party() { # DIR
    "$PYTHON" "$ROOT/scripts/lib/sbom.py" "$1" || die "could not list what the program contains"
}
