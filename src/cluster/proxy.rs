//! Which proxy leads to a server: the kubeconfig's `proxy-url`, else `HTTPS_PROXY` with the exceptions of `NO_PROXY`.
//!
//! As for kubectl, the exceptions are about the server, do not touch `proxy-url`, and the variables never lead to a
//! server on this machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Uri;

/// Returns the proxy that the environment names for a server.
pub(super) fn from_environment<'a>(variables: &'a BTreeMap<String, String>, server: &Uri) -> Option<&'a str> {
    let variable = |names: [&str; 2]| {
        names.iter().find_map(|name| variables.get(*name).map(String::as_str).filter(|value| !value.is_empty()))
    };
    let proxy = match server.scheme_str() {
        Some("http") => variable(["HTTP_PROXY", "http_proxy"]),
        _ => variable(["HTTPS_PROXY", "https_proxy"]),
    }?;
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let excepted =
        variable(["NO_PROXY", "no_proxy"]).is_some_and(|list| list.split(',').any(|it| meets(it, &host, port)));
    (!local && !excepted).then_some(proxy)
}

/// Returns the proxy's address; one without a scheme speaks HTTP.
pub(super) fn address(proxy: &str) -> Result<Uri, http::uri::InvalidUri> {
    if proxy.contains("://") { proxy.parse() } else { format!("http://{proxy}").parse() }
}

/// Whether an entry of `NO_PROXY` means this host: `*`, an address, a block of addresses, a name with those under
/// it, `.name` or `*.name` for only those under it, each with a port or without.
fn meets(entry: &str, host: &str, port: u16) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    let address = host.parse::<IpAddr>().ok();
    if let Some((network, length)) = entry.split_once('/') {
        let (Some(address), Ok(network), Ok(length)) = (address, network.parse(), length.parse()) else { return false };
        return within(address, network, length);
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some(entry) = bare(&entry) {
        return address == Some(entry);
    }
    let name = match entry.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
        Some((_, Ok(wanted))) if wanted != port => return false,
        Some((name, Ok(_))) => name,
        _ => entry.as_str(),
    };
    if let Some(entry) = bare(name) {
        return address == Some(entry);
    }
    match name.strip_prefix("*.").or(name.strip_prefix('.')) {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn within(address: IpAddr, network: IpAddr, length: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, server: &str) -> bool {
        let variables = [("HTTPS_PROXY", "proxy.corp:3128"), ("NO_PROXY", no_proxy)];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        from_environment(&variables, &server.parse().unwrap()).is_some()
    }

    #[test]
    fn exceptions_are_about_the_server() {
        assert!(proxied("", "https://api.prod.example:6443"));
        for no_proxy in [
            "*",
            "api.prod.example",
            "example",
            "PROD.example",
            ".prod.example",
            "*.prod.example",
            "other, api.prod.example:6443",
        ] {
            assert!(!proxied(no_proxy, "https://api.prod.example:6443"), "{no_proxy}");
        }
        for no_proxy in ["proxy.corp", "api.prod.example:443", "pi.prod.example", ".api.prod.example", "10.0.0.0/8"] {
            assert!(proxied(no_proxy, "https://api.prod.example:6443"), "{no_proxy}");
        }
    }

    #[test]
    fn addresses_are_met_one_by_one_and_in_blocks() {
        for no_proxy in ["10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "10.1.2.3:6443"] {
            assert!(!proxied(no_proxy, "https://10.1.2.3:6443"), "{no_proxy}");
        }
        for no_proxy in ["10.1.2.30", "11.0.0.0/8", "10.1.2.3:443", "fd00::/8", "10.0.0.0/99"] {
            assert!(proxied(no_proxy, "https://10.1.2.3:6443"), "{no_proxy}");
        }
        assert!(!proxied("fd00::/8", "https://[fd00::1]:6443"));
        assert!(proxied("fd00::/8", "https://[fe80::1]:6443"));
    }

    #[test]
    fn a_server_on_this_machine_is_never_reached_through_the_environments_proxy() {
        for server in ["https://localhost:6443", "https://127.0.0.1", "https://[::1]:6443"] {
            assert!(!proxied("", server), "{server}");
        }
    }
}
