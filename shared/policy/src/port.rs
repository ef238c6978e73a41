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
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let ports = |first, last| Ports { first, last };
        assert_eq!(parse("*"), Ok(vec![Ports::ALL]));
        assert_eq!(parse("22,80-90"), Ok(vec![ports(22, 22), ports(80, 90)]));
        assert_eq!(parse("1-65535"), Ok(vec![ports(1, 65535)]));
    }

    #[test]
    fn nonsense_is_said_in_the_words_of_the_language() {
        assert_eq!(
            parse("ssh").unwrap_err(),
            "port range \"ssh\": invalid first integer"
        );
        let zero = "port range \"0\": first port must be >0, or use '*' for wildcard";
        assert_eq!(parse("0").unwrap_err(), zero);
        for wrong in [
            "", "1-", "-1", "70000", "9-8", "1,,2", "+22", "22, 80", " 22", "22 ", "1-+2", "1- 2",
            "*,22",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
