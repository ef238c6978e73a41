//! Ports (policy section 5.1).

/// Ports from first to last; 0 to 65535 is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

impl Ports {
    /// All ports.
    pub const ALL: Self = Self {
        first: 0,
        last: u16::MAX,
    };
}

/// Reads `*`, or a list of ports and port ranges.
pub fn parse(text: &str) -> Result<Vec<Ports>, String> {
    if text == "*" {
        return Ok(vec![Ports::ALL]);
    }
    text.split(',').map(|item| parse_item(text, item)).collect()
}

fn parse_item(text: &str, item: &str) -> Result<Ports, String> {
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let number = |digits: &str, which: &str| {
        // `parse` would accept a plus sign.
        let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u16>().ok().filter(|_| is_decimal);
        number.ok_or_else(|| format!("port range {text:?}: invalid {which} integer"))
    };
    let (first, last) = (number(first, "first")?, number(last, "last")?);
    if first == 0 {
        return Err(format!(
            "port range {text:?}: first port must be >0, or use '*' for wildcard"
        ));
    }
    if last < first {
        return Err(format!(
            "port range {text:?}: first port must be <= last port"
        ));
    }
    Ok(Ports { first, last })
}

#[cfg(test)]
mod tests;
