//! The crate stays free of async runtimes, networking and command lines.

use std::process::Command;

/// Crates of these names, or whose names begin with one and a hyphen or underscore.
const BANNED: [&str; 22] = [
    "async",
    "clap",
    "deadpool",
    "futures",
    "h2",
    "http",
    "hyper",
    "mio",
    "native-tls",
    "openssl",
    "pgflight",
    "postgres",
    "prost",
    "reqwest",
    "ring",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tonic",
    "tower",
    "ureq",
];

#[test]
fn the_tree_has_no_async_network_or_cli_crate() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{lib}"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && tree.contains("arrow_array"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let is_banned = |name: &&str| {
        BANNED.iter().any(|banned| {
            let rest = name.strip_prefix(&banned.replace('-', "_"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    let banned: Vec<&str> = tree.lines().map(str::trim).filter(is_banned).collect();
    assert!(banned.is_empty(), "{banned:?}");
}
