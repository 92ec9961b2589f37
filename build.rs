//! Compiles `proto/` without a `protoc` on the machine: messages, their JSON form, descriptors.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let descriptors = protox::compile(
        ["pgflight/v1/write.proto", "pgflight/v1/action.proto"],
        ["proto"],
    )?;
    fs::write(
        out_dir.join("pgflight.bin"),
        descriptors.clone().encode_to_vec(),
    )?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.clone().encode_to_vec())?
        .btree_map(["."])
        .build(&[".pgflight.v1"])?;
    prost_build::Config::new()
        .btree_map(["."])
        .enable_type_names()
        .compile_fds(descriptors)?;

    // Flight's own messages come from arrow-flight; reflection needs their description as well.
    let flight = protox::compile(["arrow/flight/protocol/Flight.proto"], ["proto"])?;
    fs::write(out_dir.join("flight.bin"), flight.encode_to_vec())?;
    Ok(())
}
