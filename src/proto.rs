//! The messages of `proto/pgflight/v1`, generated at build time, and their two wire forms.

#[expect(
    missing_docs,
    clippy::all,
    reason = "generated code; the documentation is in the .proto files"
)]
/// `pgflight.v1`.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/pgflight.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/pgflight.v1.serde.rs"));
}

/// Descriptors for gRPC reflection, as encoded `FileDescriptorSet`s.
pub const DESCRIPTOR_SETS: [&[u8]; 2] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/pgflight.bin")),
    include_bytes!(concat!(env!("OUT_DIR"), "/flight.bin")),
];
