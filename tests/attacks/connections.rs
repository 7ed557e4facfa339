//! Attacks by connections that are kept open.

use std::{io::Write as _, net::Shutdown};

use crate::{
    attacker::{Attacker, drain},
    message::{self, SRV, TXT, framed, query},
};

/// As small as it can be.
const SMALL: usize = 2_048;
const USUAL: usize = 65_536;

/// The live peers: an answer of tens of kilobytes.
fn all_peers() -> Vec<u8> {
    framed(&query(7, &message::name("_grpc._tcp"), SRV, &[]))
}

/// 256 connections with 80 queries each, of which no answer is read.
pub fn unread(attacker: &Attacker) {
    let queries = all_peers().repeat(80);
    let open = || {
        let mut stream = attacker.connect(53, SMALL)?;
        stream.write_all(&queries).ok()?;
        Some(stream)
    };
    attacker.keep_open(256, open, |_| Ok(()));
}

/// Up to 2,000 connections that ask for no more than the service takes, say that they
/// have no more to ask, and read nothing. The service has no reason to keep them, and
/// must not leave what is unread to the kernel.
pub fn finished_unread(attacker: &Attacker) {
    let queries = all_peers().repeat(2);
    let open = || {
        let mut stream = attacker.connect(53, SMALL)?;
        stream.write_all(&queries).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        Some(stream)
    };
    attacker.keep_open(2_000, open, |_| Ok(()));
}

/// 1,024 connections that ask now and then, one in eight an octet at a time.
pub fn slow(attacker: &Attacker) {
    let whole = framed(&query(7, "vp0.test.internal", TXT, &[]));
    let mut turn = 0;
    attacker.keep_open(
        1_024,
        || attacker.connect(53, USUAL),
        |stream| {
            drain(stream)?;
            turn += 1;
            match turn % 8 {
                0 => stream.write_all(&whole[..1]),
                _ => stream.write_all(&whole),
            }
        },
    );
}

/// 256 connections whose handshake of TLS is never finished, with an octet of it now
/// and then.
pub fn unfinished_handshakes(attacker: &Attacker) {
    // The beginning of a ClientHello of 16,000 octets.
    const HELLO: [u8; 9] = [22, 3, 1, 0x3e, 0x80, 1, 0, 0x3e, 0x7c];
    let open = || {
        let mut stream = attacker.connect(853, USUAL)?;
        stream.write_all(&HELLO).ok()?;
        Some(stream)
    };
    attacker.keep_open(256, open, |stream| {
        drain(stream)?;
        stream.write_all(&[3])
    });
}
