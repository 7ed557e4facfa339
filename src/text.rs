//! Text for messages.

/// A number with its noun: `1 peer`, `2 peers`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
