//! Queries, octet by octet: the attackers need many.

use std::net::IpAddr;

pub const A: u16 = 1;
pub const TXT: u16 = 16;
pub const SRV: u16 = 33;

/// A name of test.internal.
pub fn name(host: &str) -> String {
    format!("{host}.test.internal")
}

/// A query with recursion desired and EDNS.
pub fn query(id: u16, name: &str, rtype: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let mut query = Vec::with_capacity(128);
    for word in [id, 0x100, 1, 0, 0, 1] {
        query.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.push(0);
    for word in [rtype, 1] {
        query.extend(word.to_be_bytes());
    }
    let options = options.concat();
    query.push(0);
    for word in [41, 1_232, 0, 0, options.len() as u16] {
        query.extend(word.to_be_bytes());
    }
    query.extend(options);
    query
}

pub fn cookie(cookie: &[u8]) -> Vec<u8> {
    option(10, cookie)
}

/// CLIENT-SUBNET with a full prefix.
pub fn subnet(address: IpAddr) -> Vec<u8> {
    let data = match address {
        IpAddr::V4(address) => [&[0, 1, 32, 0], &address.octets()[..]].concat(),
        IpAddr::V6(address) => [&[0, 2, 128, 0], &address.octets()[..]].concat(),
    };
    option(8, &data)
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let head = [code.to_be_bytes(), (data.len() as u16).to_be_bytes()].concat();
    [&head, data].concat()
}

/// As it is sent by TCP.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}
