//! IP protocols (policy section 5.2).

const NAMES: [(&str, u8); 17] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipv4", 4),
    ("ip-in-ip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("sctp", 132),
    ("fc", 133),
    ("icmpv4", 1),
];

/// Reads a protocol's name or number.
pub fn parse(text: &str) -> Result<u8, String> {
    let named = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, number)) = named {
        return Ok(*number);
    }
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain => Ok(number),
        _ => Err(format!("unknown protocol {text:?}")),
    }
}

/// Returns a protocol's name, or its number when it has none.
pub fn name(number: u8) -> String {
    let named = NAMES.iter().find(|(_, known)| *known == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// Says whether rules of a protocol may name ports: TCP, UDP, SCTP.
pub fn has_ports(number: u8) -> bool {
    [6, 17, 132].contains(&number)
}

#[cfg(test)]
mod tests;
