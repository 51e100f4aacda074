//! From a room's password to the key that both sides know, and the proof of it.
//!
//! The password itself never travels and is never kept; the key is what the server keeps of it.

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

use crate::id::{RoomName, Secret};

/// Memory of Argon2id in KiB, passes and lanes: the first recommendation of OWASP for a server that
/// answers at once.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// The key of a room's password. Takes some 20 ms on purpose, so that guessing is slow. The password is
/// brought into NFC: it is the same however a keyboard composes its letters.
pub fn key(password: &str, room: &RoomName) -> Secret<32> {
    let (memory, passes, lanes) = COST;
    let password: String = password.nfc().collect();
    let salt = format!("confkit room {room}");
    let mut key = [0; 32];
    let parameters =
        Params::new(memory, passes, lanes, Some(key.len())).expect("the cost is within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(password.as_bytes(), salt.as_bytes(), &mut key)
        .expect("salt and key have lengths that Argon2 takes");
    Secret(key)
}

/// The proof that a password is known, for the challenge `nonce`, without the password.
pub fn proof(key: &Secret<32>, nonce: &Secret<32>) -> Secret<32> {
    Secret(mac(key, nonce).finalize().into_bytes().into())
}

/// Whether `proof` is that of the password behind `key`.
pub fn is_proof(key: &Secret<32>, proof: &Secret<32>, nonce: &Secret<32>) -> bool {
    mac(key, nonce).verify_slice(&proof.0).is_ok()
}

fn mac(key: &Secret<32>, nonce: &Secret<32>) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    mac.chain_update(nonce.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_proved_without_being_told() {
        let room: RoomName = "standup".parse().unwrap();
        let known = key("correct horse", &room);
        let nonce = Secret([3; 32]);
        let shown = proof(&known, &nonce);
        assert!(is_proof(&known, &shown, &nonce));
        assert!(!is_proof(&known, &shown, &Secret([4; 32])), "a proof serves once");
        assert!(!is_proof(&key("wrong", &room), &shown, &nonce));
    }

    #[test]
    fn the_key_is_that_of_the_protocol_and_differs_by_room_and_password() {
        let [a, b]: [RoomName; 2] = ["standup", "lunch"].map(|name| name.parse().unwrap());
        assert_eq!(
            key("correct horse", &a).hex(),
            "ce80dcab33a91186c25ca5bb3de0d8c965e407914f2016487d295f2938576e33"
        );
        assert_ne!(key("correct horse", &a), key("correct horse", &b));
        assert_ne!(key("correct horse", &a), key("correct horse ", &a));
        assert_eq!(key("Zoe\u{308}", &a), key("Zoë", &a));
    }
}
