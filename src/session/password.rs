//! From a room's password to the key that both sides know, and the proof of it.
//!
//! The password itself never travels and is never kept; the key is what the server keeps of it.

use argon2::{Algorithm, Argon2, Params, Version};
use unicode_normalization::UnicodeNormalization;

use crate::id::RoomName;

/// Memory of Argon2id in KiB, passes and lanes: the first recommendation of OWASP for a server that
/// answers at once.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// The key of a room's password. Takes some 20 ms on purpose, so that guessing is slow. The password is
/// brought into NFC: it is the same however a keyboard composes its letters.
pub fn key(password: &str, room: &RoomName) -> [u8; 32] {
    let (memory, passes, lanes) = COST;
    let password: String = password.nfc().collect();
    let salt = format!("confkit room {room}");
    let mut key = [0; 32];
    let parameters =
        Params::new(memory, passes, lanes, Some(key.len())).expect("the cost is within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(password.as_bytes(), salt.as_bytes(), &mut key)
        .expect("salt and key have lengths that Argon2 takes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;

    #[test]
    fn the_key_is_that_of_the_protocol_and_differs_by_room_and_password() {
        let [a, b]: [RoomName; 2] = ["standup", "lunch"].map(|name| name.parse().unwrap());
        assert_eq!(
            hex(&key("correct horse", &a)),
            "ce80dcab33a91186c25ca5bb3de0d8c965e407914f2016487d295f2938576e33"
        );
        assert_ne!(key("correct horse", &a), key("correct horse", &b));
        assert_ne!(key("correct horse", &a), key("correct horse ", &a));
        assert_eq!(key("Zoe\u{308}", &a), key("Zoë", &a));
    }
}
