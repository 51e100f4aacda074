//! Where a room is: `conf://host[:port]/room`, as people type it and as it is printed for them.

use std::fmt;
use std::str::FromStr;

use crate::id::{NameError, RoomName};

/// The port without which a server is reached: the letters CONF on a telephone.
pub const PORT: u16 = 2663;

/// A room on a server.
///
/// ```
/// use confkit::session::Address;
/// let address: Address = "conf://[fe80::1]/%E7%8F%AD".parse().unwrap();
/// assert_eq!((address.host.as_str(), address.port, address.room.as_str()), ("fe80::1", 2663, "班"));
/// assert_eq!(address.to_string(), "conf://[fe80::1]/班");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, the latter without brackets, perhaps with a zone.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The room.
    pub room: RoomName,
}

/// What is wrong with an address, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It does not begin with `conf://`.
    #[error("it does not begin with conf://; an address looks like conf://192.168.1.5/standup")]
    Scheme,
    /// A name or a password in it.
    #[error(
        "names and passwords do not belong into it: choose a name with --name; an address looks like conf://192.168.1.5/standup"
    )]
    User,
    /// No host.
    #[error("it names no host; an address looks like conf://192.168.1.5/standup")]
    Host,
    /// An IPv6 address that is not closed or not bracketed.
    #[error("an IPv6 address goes into brackets, as in conf://[2001:db8::5]/standup")]
    Brackets,
    /// The port is not one.
    #[error("the port must be a number from 1 to 65535, as in conf://192.168.1.5:2663/standup")]
    Port,
    /// No room.
    #[error("it names no room; add one, as in conf://{0}/standup")]
    Room(String),
    /// A room name that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A broken percent escape.
    #[error("after % two hex digits are expected; write %25 for the character % itself")]
    Escape,
}

impl FromStr for Address {
    type Err = AddressError;

    /// Spaces and quotation marks around it, a slash behind it and a query (for later versions) do no
    /// harm.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim().trim_matches(['"', '\'']).trim();
        let scheme = text.get(..7).ok_or(AddressError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("conf://") {
            return Err(AddressError::Scheme);
        }
        let rest = &text[7..];
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, room) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority)?;
        let room = room.strip_suffix('/').unwrap_or(room);
        if room.is_empty() {
            return Err(AddressError::Room(authority.into()));
        }
        Ok(Self { host, port, room: decoded(room)?.parse()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conf://")?;
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host.replace('%', "%25"))?,
            false => f.write_str(&self.host)?,
        }
        if self.port != PORT {
            write!(f, ":{}", self.port)?;
        }
        f.write_str("/")?;
        // Other scripts stay readable; what a shell or a URI would take for something else does not.
        for c in self.room.as_str().chars() {
            match c {
                _ if c.is_alphanumeric() || "-._~".contains(c) => write!(f, "{c}")?,
                _ => c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|b| write!(f, "%{b:02X}"))?,
            }
        }
        Ok(())
    }
}

fn host_and_port(authority: &str) -> Result<(String, u16), AddressError> {
    if authority.contains('@') {
        return Err(AddressError::User);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AddressError::Brackets)?;
            match port.strip_prefix(':') {
                None if !port.is_empty() => return Err(AddressError::Brackets),
                port => (host, port),
            }
        }
        None if authority.matches(':').count() > 1 => return Err(AddressError::Brackets),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => PORT,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port > 0).ok_or(AddressError::Port)?
        }
        Some(_) => return Err(AddressError::Port),
    };
    let host = decoded(host)?;
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/' | '\\');
    if host.is_empty() || host.contains(strange) {
        return Err(AddressError::Host);
    }
    Ok((host, port))
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next().unwrap_or(b'?')).to_digit(16);
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(AddressError::Escape) };
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Escape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (String, u16, String) {
        let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        (address.host, address.port, address.room.into())
    }

    #[test]
    fn what_people_type() {
        let own = |h: &str, p, r: &str| (h.to_owned(), p, r.to_owned());
        assert_eq!(parsed("conf://192.168.1.5/standup"), own("192.168.1.5", 2663, "standup"));
        assert_eq!(parsed(" 'CONF://host:99/a%20b/' "), own("host", 99, "a b"));
        assert_eq!(parsed("conf://[::1]:99/班级"), own("::1", 99, "班级"));
        assert_eq!(parsed("conf://[fe80::1%25eth0]/x?later=1"), own("fe80::1%eth0", 2663, "x"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", AddressError::Scheme),
            ("http://host/x", AddressError::Scheme),
            ("conf:///x", AddressError::Host),
            ("conf://user:secret@host/x", AddressError::User),
            ("conf://::1/x", AddressError::Brackets),
            ("conf://[::1/x", AddressError::Brackets),
            ("conf://host:0/x", AddressError::Port),
            ("conf://host:+1/x", AddressError::Port),
            ("conf://host:65536/x", AddressError::Port),
            ("conf://host/%f", AddressError::Escape),
            ("conf://host/%ff", AddressError::Escape),
            ("conf://host/", AddressError::Room("host".into())),
            ("conf://host:9", AddressError::Room("host:9".into())),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), error, "{text}");
        }
        assert!(matches!("conf://host/a%2fb".parse::<Address>(), Err(AddressError::Name(_))));
    }

    proptest! {
        #[test]
        fn an_address_reads_as_it_was_printed(room in "\\PC{1,20}", port in 1_u16..) {
            if let Ok(room) = room.parse::<RoomName>() {
                let address = Address { host: "fe80::1%eth0".into(), port, room };
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Address>();
            let _ = format!("conf://{text}").parse::<Address>();
        }
    }
}
