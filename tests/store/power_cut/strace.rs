//! Runs a program under strace, and parses the output.
//!
//! The position of a line is the only clock: strace writes a line when a call
//! begins or ends, one after the other, whichever thread makes the call.

use std::{
    collections::HashMap,
    path::Path,
    process::{Command, Stdio},
};

/// The calls that change files or show something to the world. Those that the
/// model does not support are included so that it can report them.
const CALLS: &str = "trace=execve,open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,read,\
    readv,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync,syncfs,sync_file_range,msync,\
    ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,\
    linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,io_uring_setup,sendto,sendmsg,\
    sendmmsg";

/// Longer than any write.
const LONGEST: &str = "100000000";

/// A command that runs the program under strace, which writes to this file.
/// `faults` are errors to be injected, such as `fdatasync:error=EIO:when=3`.
pub fn command(program: &str, trace: &Path, faults: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-y", "-xx", "--seccomp-bpf", "-s", LONGEST]);
    command.args(["-e", CALLS]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.arg("-o").arg(trace).arg("--").arg(program);
    command.stdin(Stdio::null());
    command
}

/// The process that was started, according to the beginning of the trace.
pub fn process_in(text: &str) -> Option<u32> {
    text.split_once(' ')?.0.parse().ok()
}

/// A system call.
#[derive(Debug, Default)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<String>,
    /// The result; `None` if the call never returned.
    pub result: Option<i64>,
    /// The path of the descriptor that it returned.
    pub opened: Option<Vec<u8>>,
    /// The lines at which it begins and ends.
    pub begin: usize,
    pub end: usize,
}

impl Call {
    pub fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    pub fn number(&self, place: usize) -> i64 {
        let text = &self.arguments[place];
        text.parse()
            .unwrap_or_else(|_| panic!("{} is no number: {}", text, self.name))
    }

    pub fn has_flag(&self, place: usize, flag: &str) -> bool {
        let mut flags = self.arguments[place].split('|');
        flags.any(|it| it == flag)
    }

    /// The bytes of a quoted argument.
    pub fn octets(&self, place: usize) -> Vec<u8> {
        octets_in(&self.arguments[place])
    }

    /// The number of a descriptor, and its path.
    pub fn descriptor(&self, place: usize) -> (i64, Vec<u8>) {
        descriptor(&self.arguments[place])
    }
}

/// The calls in the order in which they ended, followed by those that never did.
pub fn calls(text: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let (thread, line) = line.split_once(' ').unwrap_or((line, ""));
        let line = line.trim_start();
        if line.starts_with("+++") || line.starts_with("---") {
            continue;
        }
        if let Some(resumed) = line.strip_prefix("<... ") {
            let rest = resumed.split_once(" resumed>").map_or("", |(_, rest)| rest);
            if let Some((begin, text)) = unfinished.remove(thread) {
                calls.push(call(&(text + rest), begin, place));
            }
        } else if let Some(begun) = line.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (place, begun.trim_end().to_owned()));
        } else {
            calls.push(call(line, place, place));
        }
    }
    let mut rest: Vec<Call> = unfinished
        .into_values()
        .map(|(begin, text)| call(&text, begin, usize::MAX))
        .collect();
    rest.sort_by_key(|call| call.begin);
    calls.extend(rest);
    calls
}

fn call(line: &str, begin: usize, end: usize) -> Call {
    let (name, rest) = line.split_once('(').unwrap_or((line, ""));
    let (arguments, result) = match rest.rsplit_once(") = ").or(rest.rsplit_once(" = ")) {
        Some((arguments, result)) if end != usize::MAX => (arguments.trim_end(), result),
        _ => (rest, ""),
    };
    let arguments = arguments.trim_end_matches([')', ' ']);
    let given = result.split(' ').next().unwrap_or("");
    let opened = given.contains('<').then(|| descriptor(given).1);
    let given = given.split('<').next().unwrap_or("");
    let result = match given.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => given.parse().ok(),
    };
    Call {
        name: name.to_owned(),
        arguments: arguments_in(arguments),
        result,
        opened,
        begin,
        end,
    }
}

/// Splits at commas outside of brackets and quotes.
fn arguments_in(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut quoted = false;
    let mut arguments = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            '[' | '{' | '(' if !quoted => depth += 1,
            ']' | '}' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(argument) = arguments.last_mut() {
            argument.push(letter);
        }
    }
    arguments.iter().map(|it| it.trim().to_owned()).collect()
}

/// Replaces the beginning of paths in a trace.
pub fn moved(text: &str, from: &Path, to: &str) -> String {
    let from = from.to_string_lossy();
    text.replace(&escape(from.as_bytes()), &escape(to.as_bytes()))
}

fn escape(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|octet| format!("\\x{octet:02x}"))
        .collect()
}

/// All quoted bytes of an argument with several buffers, concatenated.
pub fn octets_in(text: &str) -> Vec<u8> {
    assert!(!text.contains("\"..."), "strace has cut octets off: {text}");
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.flat_map(escaped).collect()
}

pub fn descriptor(text: &str) -> (i64, Vec<u8>) {
    let (number, rest) = text.split_once('<').unwrap_or((text, ""));
    let path = rest.split_once('>').map_or("", |(path, _)| path);
    (number.parse().unwrap_or(-1), escaped(path))
}

/// `\x2f\x74` is two bytes.
fn escaped(text: &str) -> Vec<u8> {
    let pairs = text.split("\\x").skip(1);
    pairs
        .map(|pair| u8::from_str_radix(&pair[..2], 16).expect("hexadecimal digits"))
        .collect()
}

#[test]
fn a_trace_is_read() {
    let text = r#"7 openat(AT_FDCWD<\x2f>, "\x2f\x61", O_WRONLY|O_CREAT, 0666) = 3<\x2f\x61>
7 pwrite64(3<\x2f\x61>, "\x01\x02", 2, 10 <unfinished ...>
8 fsync(3<\x2f\x61>) = -1 EIO (Input/output error) (INJECTED)
7 <... pwrite64 resumed>)  = 2
8 sendmsg(4<\x73>, {msg_iov=[{iov_base="\x05", iov_len=1}, {iov_base="\x06", iov_len=1}]}, 0) = 2
8 fdatasync(3<\x2f\x61> <unfinished ...>
7 +++ killed by SIGKILL +++"#;
    let calls = calls(text);
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(
        names,
        ["openat", "fsync", "pwrite64", "sendmsg", "fdatasync"]
    );
    assert!(calls[0].has_flag(2, "O_CREAT"));
    assert_eq!(
        (calls[0].result, calls[0].opened.as_deref()),
        (Some(3), Some(&b"/a"[..]))
    );
    assert_eq!(calls[1].result, Some(-1));
    assert_eq!((calls[2].octets(1), calls[2].number(3)), (vec![1, 2], 10));
    assert_eq!((calls[2].begin, calls[2].end), (1, 3));
    assert_eq!(calls[3].octets(1), [5, 6]);
    assert_eq!(
        (calls[4].result, calls[4].descriptor(0)),
        (None, (3, b"/a".to_vec()))
    );
    assert_eq!(process_in(text), Some(7));
}
