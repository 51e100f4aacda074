//! Under which addresses others reach this machine.

use std::net::IpAddr;

/// The addresses of this machine that others can reach, IPv4 before IPv6, without loopback and
/// link-local ones; those of containers and other virtual bridges last.
pub fn reachable() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut found: Vec<(bool, IpAddr)> = interfaces
        .iter()
        .filter(|interface| !interface.is_loopback() && !link_local(interface.ip()))
        .map(|interface| (is_virtual(&interface.name), interface.ip()))
        .collect();
    found.sort_by_key(|(is_virtual, ip)| (*is_virtual, ip.is_ipv6()));
    found.dedup();
    found.into_iter().map(|(_, ip)| ip).collect()
}

/// `169.254.0.0/16` and `fe80::/10`: the latter cannot be typed without a zone that means something
/// only on the machine it is typed on.
fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_virtual(name: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "vmnet", "cni", "podman"].iter().any(|prefix| name.starts_with(prefix))
}
