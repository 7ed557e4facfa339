//! The processor time that other processes have used.

use std::fs;

use anyhow::{Context as _, bail};

/// All of them together, in microseconds: of the program and of the kernel for
/// it, threads that have ended included.
pub fn processor_time(processes: &[u32]) -> anyhow::Result<f64> {
    // SAFETY: it only reads a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if per_second <= 0 {
        bail!("the system does not say how it counts processor time");
    }
    let mut ticks = 0;
    for process in processes {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))
            .with_context(|| format!("the process {process} of the server is gone"))?;
        ticks += ticks_in(&stat).context("/proc has another form than proc(5) says")?;
    }
    Ok(ticks as f64 * 1e6 / per_second as f64)
}

/// The 14th and the 15th field. The second, the name in brackets, may have
/// anything in it.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_no_harm() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 105 0 0 0 23 19 5 6 20 0 1 0 16";
        assert_eq!(ticks_in(stat), Some(23 + 19));
        assert_eq!(ticks_in("7 (a"), None);
    }
}
