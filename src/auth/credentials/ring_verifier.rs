//! Verifies the signatures of JWTs with ring, the only cryptography library of this crate.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature as rs;
use signature::Verifier;

/// Makes jsonwebtoken use ring in the whole process. Later calls do nothing.
pub(super) fn install() {
    // A second call fails, since the provider is already set.
    PROVIDER.install_default().ok();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            method: method(*algorithm)?,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

enum Method {
    Rsa(&'static rs::RsaParameters),
    Other(&'static dyn rs::VerificationAlgorithm),
}

/// Returns the verifier of a public-key algorithm. With a shared secret, every server could also sign tokens.
fn method(algorithm: Algorithm) -> Result<Method> {
    Ok(match algorithm {
        Algorithm::RS256 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Method::Rsa(&rs::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Method::Rsa(&rs::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Method::Rsa(&rs::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Method::Other(&rs::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Method::Other(&rs::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Method::Other(&rs::ED25519),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | _ => {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
    })
}

struct RingVerifier {
    algorithm: Algorithm,
    method: Method,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let verified = match (&self.method, self.key.kind()) {
            (Method::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                rs::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Method::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                rs::UnparsedPublicKey::new(*algorithm, key).verify(message, signature)
            }
            // The key is not of the algorithm's kind.
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
