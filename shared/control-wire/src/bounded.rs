//! Lists that keep only their first elements: a few bytes on the wire can be many in memory. Further elements are
//! dropped without an error, because the protocol has no way to report one for a list.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

/// Reads the first `MOST` elements of a list and skips the rest.
pub(crate) fn read_at_most<'de, const MOST: usize, T, D>(
    deserializer: D,
) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(List::<MOST, T>(PhantomData))
}

struct List<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < MOST {
            match sequence.next_element()? {
                Some(element) => list.push(element),
                None => return Ok(list),
            }
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Hostinfo, MapRequest, parse_request};

    fn host(member: &str, element: &str, count: usize) -> String {
        format!(r#"{{"{member}":[{}]}}"#, vec![element; count].join(","))
    }

    #[test]
    fn elements_beyond_their_number_are_left_out() {
        let read = |member, count| {
            let host_info = parse_request::<Hostinfo>(host(member, r#""x""#, count).as_bytes());
            host_info.expect("a host")
        };
        assert_eq!(read("RoutableIPs", 1000).routable_ips.len(), 1000);
        assert_eq!(read("RoutableIPs", 10_000).routable_ips.len(), 1000);
        assert_eq!(read("RequestTags", 10_000).request_tags.len(), 100);
        let service = r#"{"Proto":"tcp","Port":1}"#;
        let host_info: Hostinfo =
            parse_request(host("Services", service, 500).as_bytes()).expect("a host");
        assert_eq!(host_info.services.len(), 100);
        let host_info: Hostinfo =
            parse_request(host("sshHostKeys", r#""k""#, 500).as_bytes()).expect("a host");
        assert_eq!(host_info.ssh_host_keys.len(), 100);
        let request: MapRequest =
            parse_request(host("Endpoints", r#""1.2.3.4:5""#, 5000).as_bytes()).expect("a request");
        assert_eq!(request.endpoints.len(), 1000);
    }
}
