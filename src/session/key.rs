//! How a person proves to be the same as before: an Ed25519 key (RFC 8032), docs/protocol.md
//! section 4.1.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::id::{PublicKey, Secret};

/// What is signed begins with this, so that the signature can be used for nothing else.
const CONTEXT: &[u8] = b"confkit 1 admission\n";

/// A person's key. Debug output does not show it.
#[derive(Clone)]
pub struct Key(SigningKey);

impl Key {
    /// The key that grows from 32 random bytes.
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self(SigningKey::from_bytes(&seed.0))
    }

    /// What the others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The answer to a server's challenge on joining `room`.
    pub fn prove(&self, nonce: &Secret<32>, room: &str) -> Secret<64> {
        Secret(self.0.sign(&statement(nonce, room)).to_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public().fingerprint())
    }
}

/// Whether `proof` answers the challenge `nonce` on joining `room`, by the holder of `key`.
pub fn is_proof(key: &PublicKey, proof: &Secret<64>, nonce: &Secret<32>, room: &str) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
    key.verify_strict(&statement(nonce, room), &Signature::from_bytes(&proof.0)).is_ok()
}

fn statement(nonce: &Secret<32>, room: &str) -> Vec<u8> {
    [CONTEXT, &nonce.0, room.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_only_the_holder_of_a_key_can_prove_it() {
        let key = Key::from_seed(&Secret([7; 32]));
        let nonce = Secret([1; 32]);
        let proof = key.prove(&nonce, "standup");
        assert!(is_proof(&key.public(), &proof, &nonce, "standup"));
        assert!(!is_proof(&key.public(), &proof, &Secret([2; 32]), "standup"), "another connection");
        assert!(!is_proof(&key.public(), &proof, &nonce, "other"), "another room");
        let other = Key::from_seed(&Secret([8; 32]));
        assert!(!is_proof(&other.public(), &proof, &nonce, "standup"), "another person");
        assert!(!is_proof(&PublicKey([0xff; 32]), &proof, &nonce, "standup"), "no point of the curve");
    }
}
