//! Datagrams, received and sent many at a time, each way with one system call.
//!
//! Both structures of the kernel's are made once, so that a batch costs nothing
//! but the call.

use std::{io, mem, os::fd::RawFd, ptr};

use libc::{iovec, mmsghdr, sockaddr_in};

/// How many datagrams go into a batch.
pub const BATCH: usize = 64;

/// As large as a datagram may be: more is cut off. An odd number of cache lines,
/// since buffers of a page each would take the same few places in the
/// processor's cache from each other, and make the floor dearer than it is.
pub const OCTETS: usize = 23 * 64;

/// A batch of datagrams, with the address of each where there is need of it.
///
/// The headers point into the other boxes, which are never replaced.
pub struct Batch {
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    octets: Box<[[u8; OCTETS]]>,
    addresses: Box<[sockaddr_in]>,
    addressed: bool,
}

impl Batch {
    /// For a socket that has one peer only.
    #[allow(dead_code, reason = "the floor has many peers")]
    pub fn connected() -> Self {
        Self::new(false)
    }

    /// For a socket with many peers: what is received can be sent back.
    #[allow(dead_code, reason = "the load has one peer")]
    pub fn addressed() -> Self {
        Self::new(true)
    }

    fn new(addressed: bool) -> Self {
        // SAFETY: these are plain numbers and pointers, which may all be zero.
        let (header, address): (mmsghdr, sockaddr_in) = unsafe { mem::zeroed() };
        let vector = iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let mut batch = Self {
            headers: vec![header; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            octets: vec![[0; OCTETS]; BATCH].into(),
            addresses: vec![address; BATCH].into(),
            addressed,
        };
        for place in 0..BATCH {
            batch.vectors[place].iov_base = batch.octets[place].as_mut_ptr().cast();
            let header = &mut batch.headers[place].msg_hdr;
            header.msg_iov = &raw mut batch.vectors[place];
            header.msg_iovlen = 1;
            if addressed {
                header.msg_name = (&raw mut batch.addresses[place]).cast();
            }
        }
        batch
    }

    /// Receives as many as are there; gives how many. Waits for the first if the
    /// flags say nothing else.
    pub fn receive(&mut self, socket: RawFd, flags: libc::c_int) -> io::Result<usize> {
        for (header, vector) in self.headers.iter_mut().zip(&mut self.vectors) {
            vector.iov_len = OCTETS;
            if self.addressed {
                header.msg_hdr.msg_namelen = size_of::<sockaddr_in>() as u32;
            }
        }
        // SAFETY: each header points to one vector and one address of this batch,
        // and each vector to OCTETS octets of it.
        let received = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket, headers, BATCH as u32, flags, ptr::null_mut())
        };
        let received = count(received)?;
        for place in 0..received {
            self.vectors[place].iov_len = self.headers[place].msg_len as usize;
        }
        Ok(received)
    }

    /// The datagram at that place, as it was received or put there.
    pub fn datagram(&mut self, place: usize) -> &mut [u8] {
        let length = self.vectors[place].iov_len;
        &mut self.octets[place][..length]
    }

    /// Puts a datagram there, to be sent.
    #[allow(dead_code, reason = "the floor sends what it receives")]
    pub fn put(&mut self, place: usize, datagram: &[u8]) -> &mut [u8] {
        let length = datagram.len().min(OCTETS);
        self.vectors[place].iov_len = length;
        let octets = &mut self.octets[place][..length];
        octets.copy_from_slice(&datagram[..length]);
        octets
    }

    /// Sends the first so many; gives how many of them the kernel took.
    pub fn send(&mut self, socket: RawFd, datagrams: usize) -> io::Result<usize> {
        let datagrams = datagrams.min(BATCH) as u32;
        // SAFETY: as above, with each vector's length that of its datagram.
        let sent = unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), datagrams, 0) };
        count(sent)
    }
}

/// What such a call gives: a number, or that it has failed.
fn count(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
